package suite_test

import (
	"encoding/json"
	"strings"
	"testing"

	"policyengine.dev/policies/jwt-validation/internal/jwttest"
	"policyengine.dev/policies/jwt-validation/internal/refusal"
	"policyengine.dev/sdk/policytest"
)

// New gives zero values the defaults of policy.yaml, so that a tool that calls it
// directly gets the same policy.
func TestDefaults(t *testing.T) {
	each(t, func(t *testing.T, v version) {
		minimal := encode(t, v.shape(map[string]any{"issuer": issuer, "audiences": []string{audience},
			"keys": map[string]any{"inline": []any{map[string]any{"jwk": json.RawMessage(jwttest.RSA().JWK())}}}}))
		direct, err := v.builder.Build([]byte(minimal), hostOf(t))
		if err != nil {
			t.Fatal(err)
		}
		filledIn := policytest.New(t, v.builder, minimal, policytest.WithDefinition(v.file))
		leftOut := *filledIn
		leftOut.Instance = direct
		for name, p := range map[string]*policytest.Policy{"filled in": filledIn, "left out": &leftOut} {
			t.Run(name, func(t *testing.T) {
				p.Send(t, bearing(signed("RS256", jwttest.RSA(), good))).WantPassed(t)
				p.Send(t, bearing(signed("RS512", jwttest.RSA(), good))).WantRejected(t, 401, refusal.ReasonAlgorithmNotAllowed)
				p.Send(t, bearing(strings.Repeat("x", 8193))).WantRejected(t, 401, refusal.ReasonTooLarge)
				p.Send(t, bearing(strings.Repeat("x", 8192))).WantRejected(t, 401, refusal.ReasonMalformed)
				if got := p.Send(t, policytest.Request{}).Immediate.Headers[1].Value; got != `Bearer realm="api"` {
					t.Errorf("the challenge is %s", got)
				}
			})
		}
	})
}

// Parameters that no policy can be made of are refused by New with the field in
// front, all at once, those included that the schema sees too.
func TestParams(t *testing.T) {
	each(t, func(t *testing.T, v version) {
		type m = map[string]any
		for _, c := range []struct {
			name   string
			params m
			want   []string
		}{
			{"nothing", m{"issuer": "", "audiences": []string{}, "keys": m{}}, []string{
				"issuer: it is missing", "audiences, anyAudience: set audiences", "keys.inline, file, url: give exactly one"}},
			{"audiences, and any", m{"anyAudience": true}, []string{"audiences, anyAudience: "}},
			{"an empty audience", m{"audiences": []string{"a", ""}}, []string{"audiences[1]: it is empty"}},
			{"an algorithm that signs nothing", m{"algorithms": []string{"none"}}, []string{`algorithms: "none" is not an algorithm`}},
			{"a shared secret", m{"algorithms": []string{"HS256"}}, []string{`algorithms: "HS256" is not an algorithm`}},
			{"a key that no algorithm fits", m{"algorithms": []string{"ES256"}}, []string{"keys.inline[0]: a key for RS256"}},
			{"a key in plain text", m{"keys": m{"url": "http://example.com/"}}, []string{`keys.url: the scheme is "http"`}},
			{"too long a token", m{"maxTokenBytes": 65537}, []string{"maxTokenBytes: 65537 is not between 1 and 65536"}},
			{"a negative length", m{"maxTokenBytes": -1}, []string{"maxTokenBytes: -1 is not between"}},
			{"too much leeway", m{"leeway": "5m1s"}, []string{"leeway: 5m1s is not between 0s and 5m0s"}},
			{"a negative leeway", m{"leeway": "-1s"}, []string{"leeway: -1s is not between"}},
			{"a negative age", m{"maxAge": "-1s"}, []string{"maxAge: -1s is negative"}},
			{"a realm with a quotation mark", m{"realm": `a", error="b`}, []string{"realm: "}},
			{"a realm with a line break", m{"realm": "a\r\nb: c"}, []string{"realm: "}},
			{"a place twice", m{"tokenFrom": []m{{"query": "t"}, {"query": "t"}}}, []string{"tokenFrom[1]: the same place"}},
			{"a header that is not to be changed", m{"claimsToHeaders": []m{{"claim": "sub", "header": "host"}}}, []string{`claimsToHeaders[0].header: "host"`}},
			{"a claim in the token's place", m{"claimsToHeaders": []m{{"claim": "sub", "header": "authorization"}}}, []string{`claimsToHeaders[0].header: "authorization"`}},
			{"a required claim without a name", m{"requiredClaims": []m{{"oneOf": []any{m{}}}}}, []string{"requiredClaims[0].claim: it is missing", "requiredClaims[0].oneOf[0]"}},
			{"an unknown field", m{"typo": 1}, []string{`unknown field "typo"`}},
		} {
			t.Run(c.name, func(t *testing.T) {
				_, err := v.builder.Build([]byte(encode(t, v.params(c.params, jwttest.RSA()))), hostOf(t))
				for _, want := range c.want {
					want = v.at(want)
					if err == nil || !strings.Contains(err.Error(), want) {
						t.Errorf("%v, want %q in it", err, want)
					}
				}
			})
		}
	})
}
