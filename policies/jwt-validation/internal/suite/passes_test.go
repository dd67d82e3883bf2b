package suite_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"policyengine.dev/policies/jwt-validation/internal/jwttest"
	"policyengine.dev/policies/jwt-validation/internal/refusal"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policytest"
)

// Every algorithm passes with its key, from wherever keys come, and sets the
// principal.
func TestEveryAlgorithmAndSource(t *testing.T) {
	each(t, func(t *testing.T, v version) {
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
					p := v.build(t, v.params(map[string]any{"keys": keys, "algorithms": []string{alg}}), policytest.WithHost(server.Host()))
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
							p.Send(t, bearing(signed(otherAlg, other.WithID(k.ID), good))).WantRejected(t, 401, refusal.ReasonAlgorithmNotAllowed)
						}
					}
				})
			}
		}
	})
}

// The published tokens, with the key of each.
func TestPublishedVectors(t *testing.T) {
	each(t, func(t *testing.T, v version) {
		for name, c := range map[string]struct {
			token, key string
			status     int
			reason     string
		}{
			"RFC 7515 A.2 RS256":                        {jwttest.RFC7515RS256, jwttest.RFC7515RS256Key, 0, ""},
			"RFC 7515 A.3 ES256":                        {jwttest.RFC7515ES256, jwttest.RFC7515ES256Key, 0, ""},
			"RFC 7515 A.4 ES512, whose payload is text": {jwttest.RFC7515ES512, jwttest.RFC7515ES512Key, 401, v.noIssuer},
			"RFC 8037 A.4 EdDSA, whose payload is text": {jwttest.RFC8037EdDSA, jwttest.RFC8037EdDSAKey, 401, v.noIssuer},
			"RFC 7519 3.1 HS256":                        {jwttest.RFC7519HS256, jwttest.RFC7515RS256Key, 401, refusal.ReasonAlgorithmNotAllowed},
			"RFC 7519 6.1 none":                         {jwttest.RFC7519None, jwttest.RFC7515RS256Key, 401, refusal.ReasonAlgorithmNotAllowed},
		} {
			t.Run(name, func(t *testing.T) {
				p := v.build(t, v.params(map[string]any{"issuer": "joe", "audiences": []string{}, "anyAudience": true,
					"keys": map[string]any{"inline": []any{map[string]any{"jwk": json.RawMessage(c.key)}}}}))
				x := p.Send(t, bearing(c.token))
				if c.status != 0 {
					x.WantRejected(t, c.status, c.reason)
					return
				}
				x.WantPassed(t)
				if got := x.Request.Principal(); got == nil || got.Issuer != "joe" || got.Claims["http://example.com/is_root"] != true {
					t.Errorf("the principal is %+v", got)
				}
			})
		}
	})
}

// What is let pass although it is near what is not.
func TestPasses(t *testing.T) {
	each(t, func(t *testing.T, v version) {
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
			{"in a query parameter", m{"tokenFrom": []m{{"query": "t"}}}, policytest.Request{Target: "/?t=" + token()}},
			{"in a cookie", m{"tokenFrom": []m{{"cookie": "t"}}}, policytest.Request{Headers: policytest.Headers("cookie", "t="+token())}},
			{"in its own header", m{"tokenFrom": []m{{"header": "X-Token"}}}, policytest.Request{Headers: policytest.Headers("x-token", token())}},
		} {
			t.Run(c.name, func(t *testing.T) {
				x := v.build(t, v.params(c.params, rsa, jwttest.P256())).Send(t, c.request)
				x.WantPassed(t)
				if x.Request.Principal() == nil {
					t.Error("there is no principal")
				}
			})
		}
	})
}

// The token does not go on to the upstream, unless that is asked for.
func TestToken(t *testing.T) {
	each(t, func(t *testing.T, v version) {
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
				x := v.build(t, v.params(places, jwttest.RSA())).Send(t, c.request)
				x.WantPassed(t)
				if got := x.RequestChanges(); !slices.Equal(got, c.changes) || x.Request.Target() != c.target {
					t.Errorf("%q, target %q; want %q, %q", got, x.Request.Target(), c.changes, c.target)
				}
				places := jwttest.Claims(places, "forwardToken", true)
				x = v.build(t, v.params(places, jwttest.RSA())).Send(t, c.request)
				x.WantPassed(t)
				if got := x.RequestChanges(); len(got) > 0 || strings.Contains(c.target, "t=") != strings.Contains(x.Request.Target(), "b=2&t=") {
					t.Errorf("with forwardToken: %q, target %q", got, x.Request.Target())
				}
			})
		}
	})
}

// Claims reach the upstream as headers, and a client's own headers never do.
func TestClaimsToHeaders(t *testing.T) {
	each(t, func(t *testing.T, v version) {
		p := v.build(t, v.params(map[string]any{"forwardToken": true, "claimsToHeaders": []any{
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
	})
}

// Requests at the same time do not get each other's claims.
func TestConcurrentUse(t *testing.T) {
	each(t, func(t *testing.T, v version) {
		p := v.build(t, v.params(nil, jwttest.RSA(), jwttest.P256()))
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
	})
}
