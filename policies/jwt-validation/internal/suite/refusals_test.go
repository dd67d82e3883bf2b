package suite_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"policyengine.dev/policies/jwt-validation/internal/jwttest"
	"policyengine.dev/policies/jwt-validation/internal/refusal"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policytest"
)

// Each way to be refused has its status, its reason, and its challenge.
func TestRefusals(t *testing.T) {
	each(t, func(t *testing.T, v version) {
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
			{"no token", nil, policytest.Request{}, 401, refusal.ReasonMissing, challenge},
			{"another scheme", nil, policytest.Request{Headers: policytest.Headers("authorization", "Basic YTpi")}, 401, refusal.ReasonMissing, challenge},
			{"another realm", m{"realm": "payments, v2"}, policytest.Request{}, 401, refusal.ReasonMissing, `Bearer realm="payments, v2"`},
			{"two authorization headers", nil, policytest.Request{Headers: policytest.Headers("authorization", "Bearer "+token(), "Authorization", "Bearer "+token())},
				400, refusal.ReasonSeveral, challenge + `, error="invalid_request"`},
			{"a token in two places", m{"tokenFrom": []m{{"header": "authorization", "scheme": "Bearer"}, {"query": "t"}}},
				policytest.Request{Target: "/?t=" + token(), Headers: policytest.Headers("authorization", "Bearer "+token())},
				400, refusal.ReasonSeveral, challenge + `, error="invalid_request"`},
			{"a token that is too long", m{"maxTokenBytes": len(token()) - 1}, bearing(token()), 401, refusal.ReasonTooLarge, invalid},
			{"a token that is far too long", nil, bearing(strings.Repeat("x.", 1<<20)), 401, refusal.ReasonTooLarge, invalid},
			{"no JWT", nil, bearing("opaque"), 401, refusal.ReasonMalformed, invalid},
			{"two tokens in one header", nil, bearing(token() + ", Bearer " + token()), 400, refusal.ReasonSeveral, challenge + `, error="invalid_request"`},
			{"a JWE", nil, bearing("eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.AAAA.AAAA.AAAA.AAAA"), 401, refusal.ReasonEncrypted, invalid},
			{"crit", nil, bearing(header(m{"crit": []string{"exp"}, "exp": 1})), 401, refusal.ReasonCriticalHeader, invalid},
			{"b64", nil, bearing(header(m{"b64": false})), 401, refusal.ReasonCriticalHeader, invalid},
			{"another typ", m{"types": []string{"at+jwt"}}, bearing(header(m{"typ": "JWT"})), 401, refusal.ReasonTypeMismatch, invalid},
			{"no typ", m{"types": []string{"at+jwt"}}, bearing(token()), 401, refusal.ReasonTypeMismatch, invalid},
			{"an algorithm that is not allowed", m{"algorithms": []string{"RS512", "ES256"}}, bearing(token()), 401, refusal.ReasonAlgorithmNotAllowed, invalid},
			{"the public key as a shared secret", nil, bearing(jwttest.Sign("HS256", []byte(rsa.PEM()), `{"alg":"HS256","kid":"rsa"}`, `{}`)), 401, refusal.ReasonAlgorithmNotAllowed, invalid},
			{"an unknown kid", nil, bearing(header(m{"kid": "other"})), 401, refusal.ReasonKeyUnknown, invalid},
			{"no kid among several keys", nil, bearing(header(m{"kid": jwttest.Absent})), 401, refusal.ReasonKeyUnknown, invalid},
			{"a key of the token's own", nil, bearing(jwttest.Token{Claims: good, Header: m{"jwk": json.RawMessage(jwttest.RSA2().JWK()), "jku": "https://evil.example", "x5u": "https://evil.example"}}.Signed("RS256", jwttest.RSA2().WithID("rsa"))),
				401, refusal.ReasonSignatureInvalid, invalid},
			{"another key", nil, bearing(signed("RS256", jwttest.RSA2().WithID("rsa"), good)), 401, refusal.ReasonSignatureInvalid, invalid},
			{"no signature", nil, bearing(token()[:strings.LastIndexByte(token(), '.')+1]), 401, refusal.ReasonSignatureInvalid, invalid},
			{"a payload that is not an object", nil, bearing(jwttest.Sign("RS256", rsa.Private, `{"alg":"RS256","kid":"rsa"}`, `[]`)), 401, v.noIssuer, invalid},
			{"a payload that is broken after the issuer", nil, bearing(jwttest.Sign("RS256", rsa.Private, `{"alg":"RS256","kid":"rsa"}`, `{"iss":"`+issuer+`",`)), 401, refusal.ReasonMalformed, invalid},
			{"a claim twice", nil, bearing(jwttest.Sign("RS256", rsa.Private, `{"alg":"RS256","kid":"rsa"}`, `{"iss":"`+issuer+`","iss":"y"}`)), 401, refusal.ReasonMalformed, invalid},
			{"a claim of a wrong type", nil, bearing(token("exp", "tomorrow")), 401, refusal.ReasonMalformed, invalid},
			{"another issuer", nil, bearing(token("iss", "https://login.example.com")), 401, refusal.ReasonIssuerUnknown, invalid},
			{"no issuer", nil, bearing(token("iss", jwttest.Absent)), 401, refusal.ReasonIssuerUnknown, invalid},
			{"another audience", nil, bearing(token("aud", []string{"x", "y"})), 401, refusal.ReasonAudienceMismatch, invalid},
			{"no audience", nil, bearing(token("aud", jwttest.Absent)), 401, refusal.ReasonAudienceMismatch, invalid},
			{"expired", nil, bearing(token("exp", now)), 401, refusal.ReasonExpired, invalid},
			{"expired before the leeway", m{"leeway": "10s"}, bearing(token("exp", now-10)), 401, refusal.ReasonExpired, invalid},
			{"no expiry", nil, bearing(token("exp", jwttest.Absent)), 401, refusal.ReasonClaimMissing, invalid},
			{"not valid yet", nil, bearing(token("nbf", now+1)), 401, refusal.ReasonNotYetValid, invalid},
			{"issued in the future", nil, bearing(token("iat", now+1)), 401, refusal.ReasonNotYetValid, invalid},
			{"too old", m{"maxAge": "5m"}, bearing(token("iat", now-301)), 401, refusal.ReasonTooOld, invalid},
			{"of unknown age", m{"maxAge": "5m"}, bearing(token("iat", jwttest.Absent)), 401, refusal.ReasonClaimMissing, invalid},
			{"a required claim is missing", m{"requiredClaims": []m{{"claim": "tenant"}}}, bearing(token()), 401, refusal.ReasonClaimMissing, invalid},
			{"a required claim has another value", m{"requiredClaims": []m{{"claim": []string{"a", "b"}, "oneOf": []any{1, "x"}}}}, bearing(token("a", m{"b": "y"})),
				403, refusal.ReasonClaimMismatch, challenge + `, error="insufficient_scope"`},
			{"a claim that no header can carry", m{"claimsToHeaders": []m{{"claim": "name", "header": "x-name"}}}, bearing(token("name", "a\r\nx-admin: true")),
				401, refusal.ReasonClaimUnprintable, invalid},
		} {
			t.Run(c.name, func(t *testing.T) {
				x := v.build(t, v.params(c.params, rsa, jwttest.RSA2(), jwttest.P256())).Send(t, c.request)
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
	})
}

// What is wrong within a token is told to nobody who could not have signed it.
func TestClaimsAreNotToldToForgers(t *testing.T) {
	each(t, func(t *testing.T, v version) {
		p := v.build(t, v.params(nil, jwttest.RSA()))
		for _, changes := range [][]any{{"exp", now - 1}, {"aud", "x"}, {"exp", "x"}, {"nbf", now + 1}} {
			forged := signed("RS256", jwttest.RSA2().WithID("rsa"), jwttest.Claims(good, changes...))
			p.Send(t, bearing(forged)).WantRejected(t, 401, refusal.ReasonSignatureInvalid)
		}
	})
}
