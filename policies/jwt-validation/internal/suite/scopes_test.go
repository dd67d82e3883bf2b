package suite_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"policyengine.dev/policies/jwt-validation/internal/jwttest"
	"policyengine.dev/policies/jwt-validation/internal/refusal"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policytest"
)

// Scopes and rules refuse a token, and say so in the challenge and as the cause.
func TestScopesAndRules(t *testing.T) {
	eachWithIssuers(t, func(t *testing.T, v version) {
		type m = map[string]any
		token := func(changes ...any) string { return signed("RS256", jwttest.RSA(), jwttest.Claims(good, changes...)) }
		const challenge = `Bearer realm="api"`
		for _, c := range []struct {
			name      string
			params    m
			request   policytest.Request
			status    int
			reason    string
			challenge string
		}{
			{"a missing scope", m{"scopes": m{"all": []string{"read", "admin"}}}, bearing(token()),
				403, refusal.ReasonScopeInsufficient, challenge + `, error="insufficient_scope", scope="read admin"`},
			{"none of the scopes", m{"scopes": m{"all": []string{"read"}, "any": []string{"x", "rea"}}}, bearing(token()),
				403, refusal.ReasonScopeInsufficient, challenge + `, error="insufficient_scope", scope="read x rea"`},
			{"no scopes at all", m{"scopes": m{"any": []string{"read"}}}, bearing(token("scope", jwttest.Absent)),
				403, refusal.ReasonScopeInsufficient, challenge + `, error="insufficient_scope", scope="read"`},
			{"a rule that does not hold", m{"rules": []m{{"expression": "auth.subject == 'bob'"}}}, bearing(token()),
				403, refusal.ReasonRuleFailed, challenge + `, error="insufficient_scope"`},
			{"one rule of two that does not hold", m{"rules": []m{{"expression": "true"}, {"expression": "'admin' in auth.scopes"}}}, bearing(token()),
				403, refusal.ReasonRuleFailed, challenge + `, error="insufficient_scope"`},
			{"a rule without a value", m{"rules": []m{{"expression": "auth.claims.tenant == 'x'"}}}, bearing(token()),
				403, refusal.ReasonRuleFailed, challenge + `, error="insufficient_scope"`},
			{"a rule without a value, which would hold if it had one", m{"rules": []m{{"expression": "auth.claims.tenant != 'x'"}}}, bearing(token()),
				403, refusal.ReasonRuleFailed, challenge + `, error="insufficient_scope"`},
			{"a rule over a value of another type", m{"rules": []m{{"expression": "auth.claims.sub < 3.0"}}}, bearing(token()),
				403, refusal.ReasonRuleFailed, challenge + `, error="insufficient_scope"`},
		} {
			t.Run(c.name, func(t *testing.T) {
				x := v.build(t, v.params(c.params, jwttest.RSA())).Send(t, c.request)
				x.WantRejected(t, c.status, c.reason)
				if x.Immediate == nil {
					return
				}
				want := policytest.Headers("content-type", policy.ProblemContentType, "www-authenticate", c.challenge)
				if d := cmp.Diff(want, x.Immediate.Headers); d != "" {
					t.Errorf("headers (-want +got)\n%s", d)
				}
				if c.reason == refusal.ReasonRuleFailed && x.Immediate.Cause != "the rule rules[0] does not hold" && x.Immediate.Cause != "the rule rules[1] does not hold" {
					t.Errorf("the cause is %q", x.Immediate.Cause)
				}
			})
		}
	})
}

func TestScopesAndRulesThatHold(t *testing.T) {
	eachWithIssuers(t, func(t *testing.T, v version) {
		type m = map[string]any
		token := func(changes ...any) string { return signed("RS256", jwttest.RSA(), jwttest.Claims(good, changes...)) }
		for _, c := range []struct {
			name    string
			params  m
			request policytest.Request
		}{
			{"a scope in scp", m{"scopes": m{"all": []string{"admin"}}}, bearing(token("scp", []string{"admin"}))},
			{"one of the scopes", m{"scopes": m{"all": []string{"read"}, "any": []string{"x", "write"}}}, bearing(token())},
			{"rules that hold", m{"rules": []m{{"expression": "auth.issuer.startsWith('https://login.') && auth.subject == 'alice'"}, {"name": "tenant", "expression": "'read' in auth.scopes && has(auth.claims.tenant) && auth.claims.tenant.id == 7.0"}}},
				bearing(token("tenant", m{"id": 7}))},
		} {
			t.Run(c.name, func(t *testing.T) {
				v.build(t, v.params(c.params, jwttest.RSA())).Send(t, c.request).WantPassed(t)
			})
		}
	})
}

// Parameters that no policy can be made of are refused by New with the field in
// front, all at once, those included that the schema sees too.
func TestParamsOfIssuers(t *testing.T) {
	eachWithIssuers(t, func(t *testing.T, v version) {
		type m = map[string]any
		for _, c := range []struct {
			name   string
			params m
			want   []string
		}{
			{"no issuers", m{"issuers": []m{}}, []string{"issuers: at least one is needed"}},
			{"nothing, everywhere", m{"issuers": []m{{}, {"issuer": "x"}}, "maxTokenBytes": -1}, []string{
				"maxTokenBytes: -1 is not between",
				"issuers[0].issuer: it is missing", "issuers[0].audiences, anyAudience: set audiences", "issuers[0].keys.inline, file, url: give exactly one",
				"issuers[1].audiences, anyAudience: set audiences", "issuers[1].keys.inline, file, url: give exactly one"}},
			{"an issuer twice", m{"issuers": []m{issuerOf("a", nil, jwttest.RSA()), issuerOf("b", nil, jwttest.RSA()), issuerOf("a", nil, jwttest.RSA())}},
				[]string{"issuers[2].issuer: it is that of issuers[0] already"}},
			{"scopes that are none", m{"scopes": m{"all": []string{"", "a b"}, "any": []string{`a"b`}}}, []string{
				`issuers[0].scopes.all[0]: "" is not a scope`, `issuers[0].scopes.all[1]: "a b"`, "issuers[0].scopes.any[0]: "}},
			{"a rule that is no CEL", m{"rules": []m{{"expression": "true"}, {"expression": "auth.subject =="}}}, []string{"issuers[0].rules[1].expression: "}},
			{"a rule that is no condition", m{"rules": []m{{"expression": "auth.subject"}}}, []string{"issuers[0].rules[0].expression: ", "string"}},
			{"a rule that reads the request", m{"rules": []m{{"expression": "request.path == '/' && auth.subject == 'x'"}}}, []string{"issuers[0].rules[0].expression: ", "it can read auth.* only"}},
			{"a rule that reads an attribute", m{"rules": []m{{"expression": "attributes['source.address'] == '1'"}}}, []string{"issuers[0].rules[0].expression: ", "it can read auth.* only"}},
			{"a cache of negative size", m{"cache": m{"entries": -1, "bytes": -1, "ttl": "-1s"}}, []string{"cache.entries: -1", "cache.bytes: -1", "cache.ttl: -1s"}},
			{"a cache that is too large", m{"cache": m{"entries": 1<<20 + 1, "bytes": 1<<30 + 1}}, []string{"cache.entries: ", "cache.bytes: "}},
			{"loads at any rate", m{"unknownKeys": m{"interval": "1ms", "wait": "11s"}}, []string{"unknownKeys.interval: 1ms is less than 1s", "unknownKeys.wait: 11s is more than 10s"}},
		} {
			t.Run(c.name, func(t *testing.T) {
				_, err := v.builder.Build([]byte(encode(t, v.params(c.params, jwttest.RSA()))), hostOf(t))
				for _, want := range c.want {
					if err == nil || !strings.Contains(err.Error(), want) {
						t.Errorf("%v, want %q in it", err, want)
					}
				}
			})
		}
	})
}
