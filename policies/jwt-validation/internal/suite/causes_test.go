package suite_test

import (
	"fmt"
	"strings"
	"testing"

	"policyengine.dev/policies/jwt-validation/internal/jwttest"
	"policyengine.dev/policies/jwt-validation/internal/refusal"
	"policyengine.dev/sdk/policytest"
)

// The operator is told what was wrong with a token where the reason does not say it, the
// client is not, and nobody is told what was in the token.
func TestCauses(t *testing.T) {
	type m = map[string]any
	key := jwttest.P256()
	header := func(text string) string { return jwttest.Sign("ES256", key.Private, text, `{}`) }
	payload := func(text string) string {
		return jwttest.Sign("ES256", key.Private, `{"alg":"ES256","kid":"p256"}`, `{"iss":"`+issuer+`",`+text)
	}
	token := func(changes ...any) string { return signed("ES256", key, jwttest.Claims(good, changes...)) }
	whole := token()
	const malformed, unprintable, missing, mismatch = refusal.ReasonMalformed, refusal.ReasonClaimUnprintable, refusal.ReasonClaimMissing, refusal.ReasonClaimMismatch
	name := m{"claimsToHeaders": []m{{"claim": []string{"user", "name"}, "header": "x-name"}}}
	for _, c := range []struct {
		params m
		token  string
		reason string
		cause  string
	}{
		{nil, "SECRET", malformed, "the token: it does not have three parts between dots"},
		{nil, "SECRET.a", malformed, "the token: it does not have three parts between dots"},
		{nil, "SEC*RET", malformed, "the token: it is not canonical base64url"},
		{nil, whole + "=", malformed, "the signature: it is not canonical base64url"},
		{nil, "SECRET==." + strings.SplitN(whole, ".", 2)[1], malformed, "the header: it is not canonical base64url"},
		{nil, header(`SECRET`), malformed, "the header: it is not one JSON object"},
		{nil, header(`{"kid":"SECRET"}`), malformed, `the header: "alg" is missing, or not a string`},
		{nil, header(`{"alg":"ES256","alg":"SECRET"}`), malformed, "the header: an object has a member twice"},
		{nil, header(`{"alg":"ES256","kid":["SECRET"]}`), malformed, `the header: "kid" is not a string`},
		{nil, header(`{"alg":"ES256","typ":{"SECRET":1}}`), malformed, `the header: "typ" is not a string`},
		{nil, payload(`"SECRET":}`), malformed, "the claims: it is not one JSON object"},
		{nil, payload(`"SECRET":1,"SECRET":2}`), malformed, "the claims: an object has a member twice"},
		{nil, payload("\"a\":\"SECRET\xff\"}"), malformed, "the claims: a string is not valid UTF-8"},
		{nil, payload(`"a":1e999}`), malformed, "the claims: a number is too large"},
		{nil, payload(`"a":` + strings.Repeat(`[`, 17) + strings.Repeat(`]`, 17) + `}`), malformed, "the claims: it is nested too deeply"},
		{nil, token("exp", "SECRET"), malformed, "the claim exp: it is not a number of seconds between 1970 and 9999"},
		{nil, token("nbf", -7), malformed, "the claim nbf: it is not a number of seconds between 1970 and 9999"},
		{nil, token("iat", 1e15), malformed, "the claim iat: it is not a number of seconds between 1970 and 9999"},
		{nil, token("sub", []string{"SECRET"}), malformed, "the claim sub: it is not a string"},
		{nil, token("aud", 7), malformed, "the claim aud: it is neither a string nor a list of strings"},
		{nil, token("exp", jwttest.Absent), missing, "the claim exp: it is missing"},
		{m{"maxAge": "1m"}, token("iat", jwttest.Absent), missing, "the claim iat: it is missing"},
		{m{"requiredClaims": []m{{"claim": []string{"a", "b"}}}}, token("a", m{"SECRET": 1}), missing, "the claim a.b: it is missing"},
		{m{"requiredClaims": []m{{"claim": "tier", "oneOf": []string{"gold"}}}}, token("tier", "SECRET"), mismatch, "the claim tier: it has none of the accepted values"},
		{name, token("user", m{"name": "SECRET\n"}), unprintable, "the claim user.name: it has control characters, or white space at its ends"},
		{name, token("user", m{"name": m{"SECRET": 1}}), unprintable, "the claim user.name: it is an object, or has one or a list within a list"},
		{name, token("user", m{"name": []string{"a,SECRET"}}), unprintable, "the claim user.name: an element of its list is empty or has a comma"},
		{nil, token("exp", now-1), refusal.ReasonExpired, ""},
	} {
		t.Run(fmt.Sprint(c.reason, ", ", c.cause), func(t *testing.T) {
			each(t, func(t *testing.T, v version) {
				p := v.build(t, v.params(c.params, key))
				ir := p.Send(t, bearing(c.token)).Immediate
				if ir == nil {
					t.Fatal("it passed")
				}
				if ir.Reason != c.reason || ir.Cause != c.cause {
					t.Errorf("%s, %q; want %s, %q", ir.Reason, ir.Cause, c.reason, c.cause)
				}
				if strings.Contains(ir.Cause+p.Host.Logs.String(), "SECRET") {
					t.Errorf("the token is told: %q, %s", ir.Cause, p.Host.Logs)
				}
				if answer := fmt.Sprint(ir.Headers, string(ir.Body)); c.cause != "" && strings.Contains(answer, c.cause) {
					t.Errorf("the client is told: %s", answer)
				}
			})
		})
	}
}

// An answer that is prepared is not changed by one that has its own cause.
func TestCausesAreOfOneAnswer(t *testing.T) {
	each(t, func(t *testing.T, v version) {
		p := v.build(t, v.params(nil, jwttest.P256()))
		first := p.Send(t, bearing("a.b")).Immediate
		second := p.Send(t, bearing("a*b")).Immediate
		if first.Cause == second.Cause || p.Send(t, policytest.Request{}).Immediate.Cause != "" {
			t.Errorf("causes %q and %q", first.Cause, second.Cause)
		}
	})
}
