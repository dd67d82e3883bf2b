package jwtvalidation_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"policyengine.dev/policies/jwt-validation/internal/jwttest"
	jwtvalidation "policyengine.dev/policies/jwt-validation/v2.0.0"
	"policyengine.dev/sdk/definition"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const issuer, audience = "https://login.example.com/", "https://api.example.com"

// now is where policytest's clock stands.
var now = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Unix()

// good are the claims of a token that is let pass.
var good = map[string]any{"iss": issuer, "sub": "alice", "aud": audience, "exp": now + 60, "nbf": now, "iat": now, "scope": "read write"}

var described = sync.OnceValue(func() *definition.Definition {
	src, err := os.ReadFile("policy.yaml")
	if err != nil {
		panic(err)
	}
	d, err := definition.Parse("policies/jwt-validation/v2.0.0/policy.yaml", src)
	if err != nil {
		panic(err)
	}
	return d
})

// base are parameters for tokens of good's issuer, signed with keys: those in more
// that are the issuer's own go there.
func base(more map[string]any, keys ...jwttest.Key) map[string]any {
	p := map[string]any{"leeway": "0s"}
	i := issuerOf(issuer, nil, keys...)
	for name, value := range more {
		switch name {
		case "issuers", "tokenFrom", "forwardToken", "maxTokenBytes", "leeway", "realm", "cache", "unknownKeys", "typo":
			p[name] = value
		default:
			i[name] = value
		}
	}
	if p["issuers"] == nil {
		p["issuers"] = []any{i}
	}
	return p
}

// issuerOf are the parameters of an issuer with keys.
func issuerOf(name string, more map[string]any, keys ...jwttest.Key) map[string]any {
	inline := make([]any, len(keys))
	for i, k := range keys {
		inline[i] = map[string]any{"jwk": json.RawMessage(k.JWK())}
	}
	p := map[string]any{
		"issuer": name, "audiences": []string{audience},
		"algorithms": []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"},
		"keys":       map[string]any{"inline": inline},
	}
	maps.Copy(p, more)
	return p
}

func build(t testing.TB, p map[string]any, opts ...policytest.Option) *policytest.Policy {
	t.Helper()
	return policytest.New(t, jwtvalidation.Policy, encode(t, p), opts...)
}

func encode(t testing.TB, p map[string]any) string {
	t.Helper()
	raw, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// bearing is a request with the token in the authorization header.
func bearing(token string) policytest.Request {
	return policytest.Request{Headers: policytest.Headers("authorization", "Bearer "+token)}
}

func signed(alg string, k jwttest.Key, claims map[string]any) string {
	return jwttest.Token{Claims: claims}.Signed(alg, k)
}

// Every algorithm passes with its key, from wherever keys come, and sets the
// principal.
func TestEveryAlgorithmAndSource(t *testing.T) {
	for alg, k := range jwttest.Algorithms() {
		server := jwttest.NewServer(t, k)
		file := filepath.Join(t.TempDir(), "jwks.json")
		if err := os.WriteFile(file, []byte(jwttest.JWKS(k)), 0o600); err != nil {
			t.Fatal(err)
		}
		for from, keys := range map[string]map[string]any{
			"a JWK":  {"inline": []any{map[string]any{"jwk": json.RawMessage(k.JWK())}}},
			"PEM":    {"inline": []any{map[string]any{"pem": k.PEM(), "kid": k.ID, "algorithm": alg}}},
			"a file": {"file": file},
			"a URL":  {"url": server.URL},
		} {
			t.Run(alg+" from "+from, func(t *testing.T) {
				p := build(t, base(map[string]any{"keys": keys, "algorithms": []string{alg}}), policytest.WithHost(server.Host()))
				x := p.Send(t, bearing(signed(alg, k, good)))
				x.WantPassed(t)
				want := &policy.Principal{Subject: "alice", Issuer: issuer, Scopes: []string{"read", "write"}, Claims: map[string]any{
					"iss": issuer, "sub": "alice", "aud": audience, "exp": float64(now + 60), "nbf": float64(now), "iat": float64(now), "scope": "read write"}}
				if d := cmp.Diff(want, x.Request.Principal()); d != "" {
					t.Errorf("principal (-want +got)\n%s", d)
				}
				if x.Request.Headers().Has("authorization") {
					t.Error("the token goes on to the upstream")
				}
				// Another key of another type, under the same kid.
				for otherAlg, other := range jwttest.Algorithms() {
					if other.ID != k.ID {
						p.Send(t, bearing(signed(otherAlg, other.WithID(k.ID), good))).WantRejected(t, 401, jwtvalidation.ReasonAlgorithmNotAllowed)
					}
				}
			})
		}
	}
}

// The published tokens, with the key of each.
func TestPublishedVectors(t *testing.T) {
	for name, v := range map[string]struct {
		token, key string
		status     int
		reason     string
	}{
		"RFC 7515 A.2 RS256":                        {jwttest.RFC7515RS256, jwttest.RFC7515RS256Key, 0, ""},
		"RFC 7515 A.3 ES256":                        {jwttest.RFC7515ES256, jwttest.RFC7515ES256Key, 0, ""},
		"RFC 7515 A.4 ES512, whose payload is text": {jwttest.RFC7515ES512, jwttest.RFC7515ES512Key, 401, jwtvalidation.ReasonIssuerUnknown},
		"RFC 8037 A.4 EdDSA, whose payload is text": {jwttest.RFC8037EdDSA, jwttest.RFC8037EdDSAKey, 401, jwtvalidation.ReasonIssuerUnknown},
		"RFC 7519 3.1 HS256":                        {jwttest.RFC7519HS256, jwttest.RFC7515RS256Key, 401, jwtvalidation.ReasonAlgorithmNotAllowed},
		"RFC 7519 6.1 none":                         {jwttest.RFC7519None, jwttest.RFC7515RS256Key, 401, jwtvalidation.ReasonAlgorithmNotAllowed},
	} {
		t.Run(name, func(t *testing.T) {
			p := build(t, base(map[string]any{"issuer": "joe", "audiences": []string{}, "anyAudience": true,
				"keys": map[string]any{"inline": []any{map[string]any{"jwk": json.RawMessage(v.key)}}}}))
			x := p.Send(t, bearing(v.token))
			if v.status != 0 {
				x.WantRejected(t, v.status, v.reason)
				return
			}
			x.WantPassed(t)
			if got := x.Request.Principal(); got == nil || got.Issuer != "joe" || got.Claims["http://example.com/is_root"] != true {
				t.Errorf("the principal is %+v", got)
			}
		})
	}
}

// Each way to be refused has its status, its reason, and its challenge.
func TestRefusals(t *testing.T) {
	type m = map[string]any
	rsa := jwttest.RSA()
	token := func(changes ...any) string { return signed("RS256", rsa, jwttest.Claims(good, changes...)) }
	header := func(h m) string { return jwttest.Token{Header: h, Claims: good}.Signed("RS256", rsa) }
	const challenge = `Bearer realm="api"`
	const invalid = challenge + `, error="invalid_token"`
	for _, c := range []struct {
		name      string
		params    m
		request   policytest.Request
		status    int
		reason    string
		challenge string
	}{
		{"no token", nil, policytest.Request{}, 401, jwtvalidation.ReasonMissing, challenge},
		{"another scheme", nil, policytest.Request{Headers: policytest.Headers("authorization", "Basic YTpi")}, 401, jwtvalidation.ReasonMissing, challenge},
		{"another realm", m{"realm": "payments, v2"}, policytest.Request{}, 401, jwtvalidation.ReasonMissing, `Bearer realm="payments, v2"`},
		{"two authorization headers", nil, policytest.Request{Headers: policytest.Headers("authorization", "Bearer "+token(), "Authorization", "Bearer "+token())},
			400, jwtvalidation.ReasonSeveral, challenge + `, error="invalid_request"`},
		{"a token in two places", m{"tokenFrom": []m{{"header": "authorization", "scheme": "Bearer"}, {"query": "t"}}},
			policytest.Request{Target: "/?t=" + token(), Headers: policytest.Headers("authorization", "Bearer "+token())},
			400, jwtvalidation.ReasonSeveral, challenge + `, error="invalid_request"`},
		{"a token that is too long", m{"maxTokenBytes": len(token()) - 1}, bearing(token()), 401, jwtvalidation.ReasonTooLarge, invalid},
		{"a token that is far too long", nil, bearing(strings.Repeat("x.", 1<<20)), 401, jwtvalidation.ReasonTooLarge, invalid},
		{"no JWT", nil, bearing("opaque"), 401, jwtvalidation.ReasonMalformed, invalid},
		{"two tokens in one header", nil, bearing(token() + ", Bearer " + token()), 400, jwtvalidation.ReasonSeveral, challenge + `, error="invalid_request"`},
		{"a JWE", nil, bearing("eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.AAAA.AAAA.AAAA.AAAA"), 401, jwtvalidation.ReasonEncrypted, invalid},
		{"crit", nil, bearing(header(m{"crit": []string{"exp"}, "exp": 1})), 401, jwtvalidation.ReasonCriticalHeader, invalid},
		{"b64", nil, bearing(header(m{"b64": false})), 401, jwtvalidation.ReasonCriticalHeader, invalid},
		{"another typ", m{"types": []string{"at+jwt"}}, bearing(header(m{"typ": "JWT"})), 401, jwtvalidation.ReasonTypeMismatch, invalid},
		{"no typ", m{"types": []string{"at+jwt"}}, bearing(token()), 401, jwtvalidation.ReasonTypeMismatch, invalid},
		{"an algorithm that is not allowed", m{"algorithms": []string{"RS512", "ES256"}}, bearing(token()), 401, jwtvalidation.ReasonAlgorithmNotAllowed, invalid},
		{"the public key as a shared secret", nil, bearing(jwttest.Sign("HS256", []byte(rsa.PEM()), `{"alg":"HS256","kid":"rsa"}`, `{}`)), 401, jwtvalidation.ReasonAlgorithmNotAllowed, invalid},
		{"an unknown kid", nil, bearing(header(m{"kid": "other"})), 401, jwtvalidation.ReasonKeyUnknown, invalid},
		{"no kid among several keys", nil, bearing(header(m{"kid": jwttest.Absent})), 401, jwtvalidation.ReasonKeyUnknown, invalid},
		{"a key of the token's own", nil, bearing(jwttest.Token{Claims: good, Header: m{"jwk": json.RawMessage(jwttest.RSA2().JWK()), "jku": "https://evil.example", "x5u": "https://evil.example"}}.Signed("RS256", jwttest.RSA2().WithID("rsa"))),
			401, jwtvalidation.ReasonSignatureInvalid, invalid},
		{"another key", nil, bearing(signed("RS256", jwttest.RSA2().WithID("rsa"), good)), 401, jwtvalidation.ReasonSignatureInvalid, invalid},
		{"no signature", nil, bearing(token()[:strings.LastIndexByte(token(), '.')+1]), 401, jwtvalidation.ReasonSignatureInvalid, invalid},
		{"a payload that is no object", nil, bearing(jwttest.Sign("RS256", rsa.Private, `{"alg":"RS256","kid":"rsa"}`, `[]`)), 401, jwtvalidation.ReasonIssuerUnknown, invalid},
		{"a payload that is broken after the issuer", nil, bearing(jwttest.Sign("RS256", rsa.Private, `{"alg":"RS256","kid":"rsa"}`, `{"iss":"`+issuer+`",`)), 401, jwtvalidation.ReasonMalformed, invalid},
		{"a claim twice", nil, bearing(jwttest.Sign("RS256", rsa.Private, `{"alg":"RS256","kid":"rsa"}`, `{"iss":"`+issuer+`","iss":"y"}`)), 401, jwtvalidation.ReasonMalformed, invalid},
		{"a claim of a wrong type", nil, bearing(token("exp", "tomorrow")), 401, jwtvalidation.ReasonMalformed, invalid},
		{"another issuer", nil, bearing(token("iss", "https://login.example.com")), 401, jwtvalidation.ReasonIssuerUnknown, invalid},
		{"no issuer", nil, bearing(token("iss", jwttest.Absent)), 401, jwtvalidation.ReasonIssuerUnknown, invalid},
		{"another audience", nil, bearing(token("aud", []string{"x", "y"})), 401, jwtvalidation.ReasonAudienceMismatch, invalid},
		{"no audience", nil, bearing(token("aud", jwttest.Absent)), 401, jwtvalidation.ReasonAudienceMismatch, invalid},
		{"expired", nil, bearing(token("exp", now)), 401, jwtvalidation.ReasonExpired, invalid},
		{"expired before the leeway", m{"leeway": "10s"}, bearing(token("exp", now-10)), 401, jwtvalidation.ReasonExpired, invalid},
		{"no expiry", nil, bearing(token("exp", jwttest.Absent)), 401, jwtvalidation.ReasonClaimMissing, invalid},
		{"not valid yet", nil, bearing(token("nbf", now+1)), 401, jwtvalidation.ReasonNotYetValid, invalid},
		{"issued in the future", nil, bearing(token("iat", now+1)), 401, jwtvalidation.ReasonNotYetValid, invalid},
		{"too old", m{"maxAge": "5m"}, bearing(token("iat", now-301)), 401, jwtvalidation.ReasonTooOld, invalid},
		{"of unknown age", m{"maxAge": "5m"}, bearing(token("iat", jwttest.Absent)), 401, jwtvalidation.ReasonClaimMissing, invalid},
		{"a required claim is missing", m{"requiredClaims": []m{{"claim": "tenant"}}}, bearing(token()), 401, jwtvalidation.ReasonClaimMissing, invalid},
		{"a required claim has another value", m{"requiredClaims": []m{{"claim": []string{"a", "b"}, "oneOf": []any{1, "x"}}}}, bearing(token("a", m{"b": "y"})),
			403, jwtvalidation.ReasonClaimMismatch, challenge + `, error="insufficient_scope"`},
		{"a missing scope", m{"scopes": m{"all": []string{"read", "admin"}}}, bearing(token()),
			403, jwtvalidation.ReasonScopeInsufficient, challenge + `, error="insufficient_scope", scope="read admin"`},
		{"none of the scopes", m{"scopes": m{"all": []string{"read"}, "any": []string{"x", "rea"}}}, bearing(token()),
			403, jwtvalidation.ReasonScopeInsufficient, challenge + `, error="insufficient_scope", scope="read x rea"`},
		{"no scopes at all", m{"scopes": m{"any": []string{"read"}}}, bearing(token("scope", jwttest.Absent)),
			403, jwtvalidation.ReasonScopeInsufficient, challenge + `, error="insufficient_scope", scope="read"`},
		{"a rule that does not hold", m{"rules": []m{{"expression": "auth.subject == 'bob'"}}}, bearing(token()),
			403, jwtvalidation.ReasonRuleFailed, challenge + `, error="insufficient_scope"`},
		{"one rule of two that does not hold", m{"rules": []m{{"expression": "true"}, {"expression": "'admin' in auth.scopes"}}}, bearing(token()),
			403, jwtvalidation.ReasonRuleFailed, challenge + `, error="insufficient_scope"`},
		{"a rule without a value", m{"rules": []m{{"expression": "auth.claims.tenant == 'x'"}}}, bearing(token()),
			403, jwtvalidation.ReasonRuleFailed, challenge + `, error="insufficient_scope"`},
		{"a rule without a value, which would hold if it had one", m{"rules": []m{{"expression": "auth.claims.tenant != 'x'"}}}, bearing(token()),
			403, jwtvalidation.ReasonRuleFailed, challenge + `, error="insufficient_scope"`},
		{"a rule over a value of another type", m{"rules": []m{{"expression": "auth.claims.sub < 3.0"}}}, bearing(token()),
			403, jwtvalidation.ReasonRuleFailed, challenge + `, error="insufficient_scope"`},
		{"a claim that no header can carry", m{"claimsToHeaders": []m{{"claim": "name", "header": "x-name"}}}, bearing(token("name", "a\r\nx-admin: true")),
			401, jwtvalidation.ReasonClaimUnprintable, invalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := build(t, base(c.params, rsa, jwttest.RSA2(), jwttest.P256())).Send(t, c.request)
			x.WantRejected(t, c.status, c.reason)
			if x.Immediate == nil {
				return
			}
			want := policytest.Headers("content-type", policy.ProblemContentType, "www-authenticate", c.challenge)
			if d := cmp.Diff(want, x.Immediate.Headers); d != "" {
				t.Errorf("headers (-want +got)\n%s", d)
			}
			var problem struct{ Reason string }
			if err := json.Unmarshal(x.Immediate.Body, &problem); err != nil || problem.Reason != c.reason {
				t.Errorf("the body is %s", x.Immediate.Body)
			}
			if x.Request.Principal() != nil {
				t.Error("there is a principal")
			}
		})
	}
}

// What is wrong within a token is told to nobody who could not have signed it.
func TestClaimsAreNotToldToForgers(t *testing.T) {
	p := build(t, base(nil, jwttest.RSA()))
	for _, changes := range [][]any{{"exp", now - 1}, {"aud", "x"}, {"exp", "x"}, {"nbf", now + 1}} {
		forged := signed("RS256", jwttest.RSA2().WithID("rsa"), jwttest.Claims(good, changes...))
		p.Send(t, bearing(forged)).WantRejected(t, 401, jwtvalidation.ReasonSignatureInvalid)
	}
}

// What is let pass although it is near what is not.
func TestPasses(t *testing.T) {
	type m = map[string]any
	rsa := jwttest.RSA()
	token := func(changes ...any) string { return signed("RS256", rsa, jwttest.Claims(good, changes...)) }
	header := func(h m) string { return jwttest.Token{Header: h, Claims: good}.Signed("RS256", rsa) }
	for _, c := range []struct {
		name    string
		params  m
		request policytest.Request
	}{
		{"the scheme in another case", nil, policytest.Request{Headers: policytest.Headers("Authorization", "BEARER "+token())}},
		{"a token of the longest length", m{"maxTokenBytes": len(token())}, bearing(token())},
		{"a typ", nil, bearing(header(m{"typ": "anything"}))},
		{"the right typ", m{"types": []string{"JWT", "at+jwt"}}, bearing(header(m{"typ": "application/AT+JWT"}))},
		{"no kid and one key of the type", nil, bearing(header(m{"kid": jwttest.Absent}))},
		{"expired within the leeway", m{"leeway": "10s"}, bearing(token("exp", now-9))},
		{"issued within the leeway", m{"leeway": "10s"}, bearing(token("iat", now+10, "nbf", now+10))},
		{"one second left", nil, bearing(token("exp", now+1))},
		{"several audiences", nil, bearing(token("aud", []string{"x", audience}))},
		{"any audience", m{"audiences": []string{}, "anyAudience": true}, bearing(token("aud", jwttest.Absent))},
		{"young enough", m{"maxAge": "5m"}, bearing(token("iat", now-300))},
		{"a required claim", m{"requiredClaims": []m{{"claim": "roles", "oneOf": []string{"admin"}}}}, bearing(token("roles", []string{"user", "admin"}))},
		{"a scope in scp", m{"scopes": m{"all": []string{"admin"}}}, bearing(token("scp", []string{"admin"}))},
		{"one of the scopes", m{"scopes": m{"all": []string{"read"}, "any": []string{"x", "write"}}}, bearing(token())},
		{"rules that hold", m{"rules": []m{{"expression": "auth.issuer.startsWith('https://login.') && auth.subject == 'alice'"}, {"name": "tenant", "expression": "'read' in auth.scopes && has(auth.claims.tenant) && auth.claims.tenant.id == 7.0"}}},
			bearing(token("tenant", m{"id": 7}))},
		{"in a query parameter", m{"tokenFrom": []m{{"query": "t"}}}, policytest.Request{Target: "/?t=" + token()}},
		{"in a cookie", m{"tokenFrom": []m{{"cookie": "t"}}}, policytest.Request{Headers: policytest.Headers("cookie", "t="+token())}},
		{"in a header of its own", m{"tokenFrom": []m{{"header": "X-Token"}}}, policytest.Request{Headers: policytest.Headers("x-token", token())}},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := build(t, base(c.params, rsa, jwttest.P256())).Send(t, c.request)
			x.WantPassed(t)
			if x.Request.Principal() == nil {
				t.Error("there is no principal")
			}
		})
	}
}

// The token does not go on to the upstream, unless that is asked for.
func TestToken(t *testing.T) {
	token := signed("RS256", jwttest.RSA(), good)
	places := map[string]any{"tokenFrom": []any{
		map[string]any{"header": "authorization", "scheme": "Bearer"}, map[string]any{"query": "t"}, map[string]any{"cookie": "t"}}}
	for name, c := range map[string]struct {
		request policytest.Request
		target  string
		changes []string
	}{
		"a header":          {bearing(token), "/", []string{"remove authorization"}},
		"a query parameter": {policytest.Request{Target: "/p?a=1&t=" + token + "&b=2"}, "/p?a=1&b=2", nil},
		"a cookie":          {policytest.Request{Headers: policytest.Headers("cookie", "a=1; t="+token+"; b=2")}, "/", []string{"set cookie: a=1; b=2"}},
		"the only cookie":   {policytest.Request{Headers: policytest.Headers("cookie", "t="+token)}, "/", []string{"remove cookie"}},
	} {
		t.Run(name, func(t *testing.T) {
			x := build(t, base(places, jwttest.RSA())).Send(t, c.request)
			x.WantPassed(t)
			if got := x.RequestChanges(); !slices.Equal(got, c.changes) || x.Request.Target() != c.target {
				t.Errorf("%q, target %q; want %q, %q", got, x.Request.Target(), c.changes, c.target)
			}
			places := jwttest.Claims(places, "forwardToken", true)
			x = build(t, base(places, jwttest.RSA())).Send(t, c.request)
			x.WantPassed(t)
			if got := x.RequestChanges(); len(got) > 0 || strings.Contains(c.target, "t=") != strings.Contains(x.Request.Target(), "b=2&t=") {
				t.Errorf("with forwardToken: %q, target %q", got, x.Request.Target())
			}
		})
	}
}

// Claims reach the upstream as headers, and a client's own headers never do.
func TestClaimsToHeaders(t *testing.T) {
	p := build(t, base(map[string]any{"forwardToken": true, "claimsToHeaders": []any{
		map[string]any{"claim": "sub", "header": "X-User"},
		map[string]any{"claim": []string{"realm", "roles"}, "header": "x-roles"},
		map[string]any{"claim": "https://example.com/level", "header": "x-level"},
	}}, jwttest.RSA()))
	spoof := policytest.Headers("x-user", "root", "x-user", "root2", "X-Roles", "admin", "x-level", "9", "x-other", "stays")
	for name, c := range map[string]struct {
		claims map[string]any
		want   []string
	}{
		"all of them": {jwttest.Claims(good, "realm", map[string]any{"roles": []string{"a", "b"}}, "https://example.com/level", 3),
			[]string{"set x-user: alice", "set x-roles: a,b", "set x-level: 3"}},
		"none of them": {jwttest.Claims(good, "sub", jwttest.Absent), []string{"remove x-user", "remove x-roles", "remove x-level"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := bearing(signed("RS256", jwttest.RSA(), c.claims))
			r.Headers = append(r.Headers, spoof...)
			x := p.Send(t, r)
			x.WantPassed(t)
			got, want := x.RequestChanges(), slices.Clone(c.want)
			slices.Sort(got)
			slices.Sort(want)
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
}

// Without keys nothing is let pass and nothing is refused: it is an error; and a bad
// token is refused as ever.
func TestBeforeKeysAreThere(t *testing.T) {
	server := jwttest.NewServer(t, jwttest.RSA())
	server.Fail(500)
	h := server.Host()
	p := build(t, base(map[string]any{"keys": map[string]any{"url": server.URL}}), policytest.WithHost(h), policytest.WithoutStart())
	if server.Requests() != 0 {
		t.Error("New does I/O")
	}
	token := signed("RS256", jwttest.RSA(), good)
	if err := p.SendError(t, bearing(token)); strings.Contains(err.Error(), token) {
		t.Error("the token is in the error")
	}
	starter := p.Instance.(policy.Starter)
	if err := starter.Start(t.Context()); err == nil {
		t.Fatal("Start has succeeded")
	}
	_ = p.SendError(t, bearing(token))
	p.Send(t, bearing("x")).WantRejected(t, 401, jwtvalidation.ReasonMalformed)
	p.Send(t, policytest.Request{}).WantRejected(t, 401, jwtvalidation.ReasonMissing)

	server.Serve(jwttest.JWKS(jwttest.RSA()))
	if err := starter.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.Send(t, bearing(token)).WantPassed(t)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	p.Send(t, bearing(token)).WantPassed(t) // requests that are still under way
}

// Requests at the same time do not get each other's claims.
func TestConcurrentUse(t *testing.T) {
	p := build(t, base(nil, jwttest.RSA(), jwttest.P256()))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 20 {
				sub := fmt.Sprint(i, "/", j)
				x := p.Send(t, bearing(signed("ES256", jwttest.P256(), jwttest.Claims(good, "sub", sub))))
				x.WantPassed(t)
				if got := x.Request.Principal(); got == nil || got.Subject != sub {
					t.Errorf("the principal is %+v, want %s", got, sub)
				}
			}
		})
	}
	wg.Wait()
}

func TestExamples(t *testing.T) {
	for _, e := range described().Examples {
		t.Run(e.Name, func(t *testing.T) {
			policytest.New(t, jwtvalidation.Policy, string(e.Params), policytest.WithoutStart())
		})
	}
	if got := jwtvalidation.Policy.Phases(); got != described().Phases {
		t.Errorf("policy.yaml says %s, the type implements %s", described().Phases, got)
	}
}

// New gives zero values the defaults of policy.yaml, so that a tool that calls it
// directly gets the same policy.
func TestDefaults(t *testing.T) {
	minimal := fmt.Sprintf(`{"issuers": [{"issuer": %q, "audiences": [%q], "keys": {"inline": [{"jwk": %s}]}}]}`, issuer, audience, jwttest.RSA().JWK())
	direct, err := jwtvalidation.Policy.Build([]byte(minimal), policytest.NewHost().Policy())
	if err != nil {
		t.Fatal(err)
	}
	filledIn := policytest.New(t, jwtvalidation.Policy, minimal)
	leftOut := *filledIn
	leftOut.Instance = direct
	for name, p := range map[string]*policytest.Policy{"filled in": filledIn, "left out": &leftOut} {
		t.Run(name, func(t *testing.T) {
			p.Send(t, bearing(signed("RS256", jwttest.RSA(), good))).WantPassed(t)
			p.Send(t, bearing(signed("RS512", jwttest.RSA(), good))).WantRejected(t, 401, jwtvalidation.ReasonAlgorithmNotAllowed)
			p.Send(t, bearing(strings.Repeat("x", 8193))).WantRejected(t, 401, jwtvalidation.ReasonTooLarge)
			p.Send(t, bearing(strings.Repeat("x", 8192))).WantRejected(t, 401, jwtvalidation.ReasonMalformed)
			if got := p.Send(t, policytest.Request{}).Immediate.Headers[1].Value; got != `Bearer realm="api"` {
				t.Errorf("the challenge is %s", got)
			}
		})
	}
}

// Parameters that no policy can be made of are refused by New with the field in
// front, all at once, those included that the schema sees too.
func TestParams(t *testing.T) {
	type m = map[string]any
	for _, c := range []struct {
		name   string
		params m
		want   []string
	}{
		{"no issuers", m{"issuers": []m{}}, []string{"issuers: at least one is needed"}},
		{"nothing, everywhere", m{"issuers": []m{{}, {"issuer": "x"}}, "maxTokenBytes": -1}, []string{
			"maxTokenBytes: -1 is not between",
			"issuers[0].issuer: it is missing", "issuers[0].audiences, anyAudience: give the audiences", "issuers[0].keys.inline, file, url: give exactly one",
			"issuers[1].audiences, anyAudience: give the audiences", "issuers[1].keys.inline, file, url: give exactly one"}},
		{"an issuer twice", m{"issuers": []m{issuerOf("a", nil, jwttest.RSA()), issuerOf("b", nil, jwttest.RSA()), issuerOf("a", nil, jwttest.RSA())}},
			[]string{"issuers[2].issuer: it is that of issuers[0] already"}},
		{"audiences, and any", m{"anyAudience": true}, []string{"issuers[0].audiences, anyAudience: "}},
		{"an empty audience", m{"audiences": []string{"a", ""}}, []string{"issuers[0].audiences[1]: it is empty"}},
		{"an algorithm that signs nothing", m{"algorithms": []string{"none"}}, []string{`issuers[0].algorithms: "none" is not an algorithm`}},
		{"a shared secret", m{"algorithms": []string{"HS256"}}, []string{`issuers[0].algorithms: "HS256" is not an algorithm`}},
		{"a key that no algorithm fits", m{"algorithms": []string{"ES256"}}, []string{"issuers[0].keys.inline[0]: a key for RS256"}},
		{"a key in plain text", m{"keys": m{"url": "http://example.com/"}}, []string{`issuers[0].keys.url: the scheme is "http"`}},
		{"a negative age", m{"maxAge": "-1s"}, []string{"issuers[0].maxAge: -1s is negative"}},
		{"a required claim without a name", m{"requiredClaims": []m{{"oneOf": []any{m{}}}}}, []string{"issuers[0].requiredClaims[0].claim: it is missing", "issuers[0].requiredClaims[0].oneOf[0]"}},
		{"scopes that are none", m{"scopes": m{"all": []string{"", "a b"}, "any": []string{`a"b`}}}, []string{
			`issuers[0].scopes.all[0]: "" is not a scope`, `issuers[0].scopes.all[1]: "a b"`, "issuers[0].scopes.any[0]: "}},
		{"a rule that is no CEL", m{"rules": []m{{"expression": "true"}, {"expression": "auth.subject =="}}}, []string{"issuers[0].rules[1].expression: "}},
		{"a rule that is no condition", m{"rules": []m{{"expression": "auth.subject"}}}, []string{"issuers[0].rules[0].expression: ", "string"}},
		{"a rule that reads the request", m{"rules": []m{{"expression": "request.path == '/' && auth.subject == 'x'"}}}, []string{"issuers[0].rules[0].expression: ", "it can read auth.* only"}},
		{"a rule that reads an attribute", m{"rules": []m{{"expression": "attributes['source.address'] == '1'"}}}, []string{"issuers[0].rules[0].expression: ", "it can read auth.* only"}},
		{"a header that is not to be changed", m{"claimsToHeaders": []m{{"claim": "sub", "header": "host"}}}, []string{`issuers[0].claimsToHeaders[0].header: "host"`}},
		{"a claim in the token's place", m{"claimsToHeaders": []m{{"claim": "sub", "header": "authorization"}}}, []string{`issuers[0].claimsToHeaders[0].header: "authorization"`}},
		{"too long a token", m{"maxTokenBytes": 65537}, []string{"maxTokenBytes: 65537 is not between 1 and 65536"}},
		{"too much leeway", m{"leeway": "5m1s"}, []string{"leeway: 5m1s is more than 5m0s"}},
		{"a negative leeway", m{"leeway": "-1s"}, []string{"leeway: -1s is less than 0s"}},
		{"a realm with a quotation mark", m{"realm": `a", error="b`}, []string{"realm: "}},
		{"a realm with a line break", m{"realm": "a\r\nb: c"}, []string{"realm: "}},
		{"a place twice", m{"tokenFrom": []m{{"query": "t"}, {"query": "t"}}}, []string{"tokenFrom[1]: the same place"}},
		{"a cache of negative size", m{"cache": m{"entries": -1, "bytes": -1, "ttl": "-1s"}}, []string{"cache.entries: -1", "cache.bytes: -1", "cache.ttl: -1s"}},
		{"a cache that is too large", m{"cache": m{"entries": 1<<20 + 1, "bytes": 1<<30 + 1}}, []string{"cache.entries: ", "cache.bytes: "}},
		{"loads at any rate", m{"unknownKeys": m{"interval": "1ms", "wait": "11s"}}, []string{"unknownKeys.interval: 1ms is less than 1s", "unknownKeys.wait: 11s is more than 10s"}},
		{"an unknown field", m{"typo": 1}, []string{`unknown field "typo"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := jwtvalidation.Policy.Build([]byte(encode(t, base(c.params, jwttest.RSA()))), policytest.NewHost().Policy())
			for _, want := range c.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%v, want %q in it", err, want)
				}
			}
		})
	}
}

func TestCases(t *testing.T) { policytest.Cases(t, jwtvalidation.Policy, "testdata/cases.yaml") }
