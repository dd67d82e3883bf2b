package suite_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"policyengine.dev/policies/jwt-validation/internal/jwttest"
)

// Two account numbers that have the same double are two accounts: in required claims,
// from the parameters as they are written, and in headers.
func TestLargeNumbers(t *testing.T) {
	const mine, other = "9007199254740993", "9007199254740992"
	each(t, func(t *testing.T, v version) {
		for _, account := range []string{mine, other} {
			p := v.build(t, v.params(map[string]any{
				"requiredClaims":  []any{map[string]any{"claim": "acct", "oneOf": []any{json.Number(mine)}}},
				"claimsToHeaders": []any{map[string]any{"claim": "acct", "header": "x-account"}},
			}, jwttest.P256()))
			x := p.Send(t, bearing(signed("ES256", jwttest.P256(), jwttest.Claims(good, "acct", json.Number(account)))))
			if account != mine {
				x.WantRejected(t, 403, "JWT_CLAIM_MISMATCH")
				continue
			}
			x.WantPassed(t)
			if got := x.Request.Header("x-account"); got != mine {
				t.Errorf("the upstream sees the account %s", got)
			}
		}
	})
}

// So are they in rules.
func TestLargeNumbersInRules(t *testing.T) {
	v := versions[1]
	for _, c := range []struct {
		rule, account string
		passes        bool
	}{
		{"auth.claims.acct == 9007199254740993", "9007199254740993", true},
		{"auth.claims.acct == 9007199254740993", "9007199254740992", false},
		{"auth.claims.acct == 9007199254740992", "9007199254740993", false},
		{"auth.claims.acct != 9007199254740993", "9007199254740993", false},
		{"auth.claims.acct != 9007199254740993", "9007199254740992", true},
		{"auth.claims.acct in [1, 9007199254740993]", "9007199254740993", true},
		{"auth.claims.acct in [1, 9007199254740993]", "9007199254740992", false},
		{"auth.claims.acct == 18446744073709551615u", "18446744073709551615", true},
		{"auth.claims.acct == 18446744073709551615u", "18446744073709551616", false},
		{"auth.claims.acct == 7", "7", true},
		{"auth.claims.acct == 7.0", "7", true},
	} {
		t.Run(c.rule+" with "+c.account, func(t *testing.T) {
			p := v.build(t, v.params(map[string]any{"rules": []any{map[string]any{"expression": c.rule}}}, jwttest.P256()))
			x := p.Send(t, bearing(signed("ES256", jwttest.P256(), jwttest.Claims(good, "acct", json.Number(c.account)))))
			if c.passes {
				x.WantPassed(t)
			} else {
				x.WantRejected(t, 403, "JWT_RULE_FAILED")
			}
		})
	}
	// What stands for several numbers is refused in a rule.
	_, err := v.builder.Build([]byte(encode(t, v.params(map[string]any{"rules": []any{
		map[string]any{"expression": "auth.claims.acct == 9007199254740993.0"}}}, jwttest.P256()))), hostOf(t))
	if err == nil {
		t.Error("a rule with a number that stands for several is taken")
	}
	t.Log(fmt.Sprint(err))
}
