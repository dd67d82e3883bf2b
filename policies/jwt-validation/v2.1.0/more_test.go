package jwtvalidation_test

import (
	"strings"
	"testing"
	"time"

	"policyengine.dev/policies/jwt-validation/internal/jwttest"
	"policyengine.dev/policies/jwt-validation/internal/refusal"
	jwtvalidation "policyengine.dev/policies/jwt-validation/v2.1.0"
	"policyengine.dev/sdk/policytest"
)

// In optional mode a request without a token passes without a principal and without the
// headers that the policy owns; one with a bad token, or with anything in a token's place,
// is refused nevertheless.
func TestOptional(t *testing.T) {
	p := build(t, base(m{"optional": true, "claimsToHeaders": []any{m{"claim": "sub", "header": "x-user"}},
		"tokenFrom": []any{m{"header": "authorization", "scheme": "Bearer"}, m{"header": "x-token"}, m{"query": "token"}, m{"cookie": "session"}}}, jwttest.RSA()))
	token := signed("RS256", jwttest.RSA(), good)
	for _, c := range []struct {
		name, target string
		headers      []string
		reason       string // "" where it passes
	}{
		{"nothing", "/", []string{"x-user", "forged"}, ""},
		{"credentials of another scheme", "/", []string{"authorization", "Basic YTpi", "x-user", "forged"}, ""},
		{"other parameters and cookies", "/?a=b", []string{"cookie", "a=b"}, ""},
		{"a bad token", "/", []string{"authorization", "Bearer x"}, refusal.ReasonMalformed},
		{"an expired token", "/", []string{"authorization", "Bearer " + signed("RS256", jwttest.RSA(), jwttest.Claims(good, "exp", now-1))}, refusal.ReasonExpired},
		{"a token of a stranger", "/", []string{"authorization", "Bearer " + signed("RS256", jwttest.RSA2().WithID("rsa"), good)}, refusal.ReasonSignatureInvalid},
		{"two tokens", "/?token=" + token, []string{"authorization", "Bearer " + token}, refusal.ReasonSeveral},
		{"the scheme alone", "/", []string{"authorization", "Bearer"}, refusal.ReasonMalformed},
		{"an empty header", "/", []string{"x-token", ""}, refusal.ReasonMalformed},
		{"a header that another server reads", "/", []string{"x_token", token}, refusal.ReasonMalformed},
		{"an empty parameter", "/?token=", nil, refusal.ReasonMalformed},
		{"a parameter that another server reads", "/?a;token=" + token, nil, refusal.ReasonMalformed},
		{"an empty cookie", "/", []string{"cookie", "session="}, refusal.ReasonMalformed},
		{"a cookie that another server reads", "/", []string{"cookie", `a="x; Session=` + token + `"`}, refusal.ReasonMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := p.Send(t, policytest.Request{Target: c.target, Headers: policytest.Headers(c.headers...)})
			if c.reason != "" {
				x.WantRejected(t, 401+map[string]int{refusal.ReasonSeveral: -1}[c.reason], c.reason)
				return
			}
			x.WantPassed(t)
			if x.Request.Principal() != nil || x.Request.Headers().Has("x-user") {
				t.Errorf("the principal is %+v, x-user is %q", x.Request.Principal(), x.Request.Header("x-user"))
			}
		})
	}
	x := p.Send(t, policytest.Request{Headers: policytest.Headers("authorization", "Bearer "+token)})
	if x.WantPassed(t); x.Request.Header("x-user") != "alice" {
		t.Errorf("a good token gives x-user %q", x.Request.Header("x-user"))
	}
}

// Tokens without exp pass only where that is allowed, until maxAge after iat, and are not
// remembered for longer.
func TestWithoutExpiry(t *testing.T) {
	token := func(changes ...any) string {
		return signed("RS256", jwttest.RSA(), jwttest.Claims(good, append([]any{"exp", jwttest.Absent}, changes...)...))
	}
	p := build(t, base(m{"allowNoExpiry": true, "maxAge": "1m"}, jwttest.RSA()))
	p.Send(t, bearing(token())).WantPassed(t)
	p.Send(t, bearing(token("iat", jwttest.Absent))).WantRejected(t, 401, refusal.ReasonClaimMissing)
	p.Send(t, bearing(token("exp", now-1))).WantRejected(t, 401, refusal.ReasonExpired)
	p.Host.Clock.Advance(time.Minute)
	p.Send(t, bearing(token())).WantPassed(t)
	p.Host.Clock.Advance(time.Second)
	p.Send(t, bearing(token())).WantRejected(t, 401, refusal.ReasonTooOld)
	build(t, base(m{"maxAge": "1m"}, jwttest.RSA())).Send(t, bearing(token())).WantRejected(t, 401, refusal.ReasonClaimMissing)
}

// Ed25519 and EdDSA are two names of one algorithm, of which each has to be allowed.
func TestEd25519(t *testing.T) {
	key := jwttest.Ed25519()
	for _, c := range []struct {
		allowed, alg, jwk string
		reason            string
	}{
		{"Ed25519", "Ed25519", "", ""}, {"EdDSA", "EdDSA", "", ""},
		{"Ed25519", "EdDSA", "", refusal.ReasonAlgorithmNotAllowed}, {"EdDSA", "Ed25519", "", refusal.ReasonAlgorithmNotAllowed},
		{"Ed25519", "Ed25519", "Ed25519", ""},
	} {
		p := build(t, base(m{"algorithms": []string{c.allowed}}, key.For(c.jwk)))
		x := p.Send(t, bearing(signed(c.alg, key, good)))
		if c.reason == "" {
			x.WantPassed(t)
		} else {
			x.WantRejected(t, 401, c.reason)
		}
	}
	// A key that is labelled as a key for the one name is not for the other.
	err := policytest.NewError(t, jwtvalidation.Policy, encode(t, base(m{"algorithms": []string{"EdDSA"}}, key.For("Ed25519"))))
	if !strings.Contains(err.Error(), "a key for Ed25519, but algorithms has only EdDSA") {
		t.Error(err)
	}
}

// Claims are told as text, as JSON or as base64url.
func TestEncodings(t *testing.T) {
	claims := jwttest.Claims(good, "list", []any{"a,b", "ü", 7}, "object", m{"b": []any{true, nil}, "a": "x\r\ny"}, "text", "alice", "none", nil, "empty", []any{})
	mapping := func(claim, header, encoding string) m {
		return m{"claim": claim, "header": header, "encoding": encoding}
	}
	p := build(t, base(m{"maxTokenBytes": 65536, "claimsToHeaders": []any{
		mapping("list", "x-list", "json"), mapping("list", "x-list-64", "base64url"), mapping("object", "x-object", "json"), mapping("object", "x-object-64", "base64url"),
		mapping("text", "x-text", "text"), mapping("text", "x-text-json", "json"), mapping("none", "x-none", "json"), mapping("empty", "x-empty", "base64url"),
	}}, jwttest.RSA()))
	x := p.Send(t, bearing(signed("RS256", jwttest.RSA(), claims)))
	x.WantPassed(t)
	for header, want := range map[string]string{
		"x-list": `["a,b","\u00fc",7]`, "x-list-64": "WyJhLGIiLCJcdTAwZmMiLDdd", "x-object": `{"a":"x\r\ny","b":[true,null]}`,
		"x-object-64": "eyJhIjoieFxyXG55IiwiYiI6W3RydWUsbnVsbF19", "x-text": "alice", "x-text-json": `"alice"`, "x-none": "", "x-empty": "",
	} {
		if got := x.Request.Header(header); got != want {
			t.Errorf("%s: %s, want %s", header, got, want)
		}
	}
	text := build(t, base(m{"claimsToHeaders": []any{mapping("object", "x-object", "text")}}, jwttest.RSA()))
	text.Send(t, bearing(signed("RS256", jwttest.RSA(), claims))).WantRejected(t, 401, refusal.ReasonClaimUnprintable)
	p.Send(t, bearing(signed("RS256", jwttest.RSA(), jwttest.Claims(claims, "text", strings.Repeat("ü", 3000))))).WantRejected(t, 401, refusal.ReasonClaimUnprintable)
}
