package authorization

import (
	"context"
	"fmt"
	"log/slog"

	"policyengine.dev/policies/jwt-validation/internal/refusal"
	"policyengine.dev/sdk/expr"
	"policyengine.dev/sdk/policy"
)

// Rule is a rule in CEL.
type Rule struct {
	// Name is for logs; it may be empty.
	Name string `json:"name"`
	// Expression is a condition that reads auth.subject, auth.issuer, auth.scopes and
	// auth.claims of the token.
	Expression string `json:"expression"`
}

// Rules are the rules of an issuer for the claims of its tokens. Immutable.
type Rules struct {
	rules  []rule
	logger *slog.Logger
}

type rule struct {
	name    string
	program *expr.Program
	broken  brokenRule
}

// onlyAuth has rules read only the token, since their answer is remembered with it.
func onlyAuth() []expr.Option {
	const why = "a claim rule is decided once for a token, and holds for every request with it; it can read auth.* only"
	var options []expr.Option
	for _, s := range []expr.Scope{expr.ScopeRequest, expr.ScopeResponse, expr.ScopeRoute, expr.ScopeMetadata, expr.ScopeAttributes} {
		options = append(options, expr.Deny(s, why))
	}
	return options
}

// Compile returns the rules, or what is wrong with them, each problem with the index in
// front.
func Compile(params []Rule, logger *slog.Logger) (*Rules, []error) {
	all := &Rules{logger: logger}
	var problems []error
	for i, p := range params {
		program, err := expr.Compile(p.Expression, onlyAuth()...)
		if err != nil {
			problems = append(problems, fmt.Errorf("[%d].expression: %w", i, err))
			continue
		}
		name := p.Name
		if name == "" {
			name = fmt.Sprintf("rules[%d]", i)
		}
		all.rules = append(all.rules, rule{name, program, brokenRule{name}})
	}
	return all, problems
}

// Check returns an error, [refusal.ErrRule], unless every rule holds for the caller. A rule
// that has no value for the caller does not hold. That is not an error of the policy: the
// token is the cause, and no onError may let it pass.
func (c *Rules) Check(ctx context.Context, who *policy.Principal) error {
	if len(c.rules) == 0 {
		return nil
	}
	in := &expr.Static{Principal: &expr.Principal{Subject: who.Subject, Issuer: who.Issuer, Scopes: who.Scopes, Claims: who.Claims}}
	for i := range c.rules {
		holds, err := c.rules[i].program.Eval(in)
		if err != nil || !holds {
			c.logger.LogAttrs(ctx, slog.LevelDebug, "A claim rule does not hold for a token.", slog.String("rule", c.rules[i].name), slog.Any("error", err))
			return &c.rules[i].broken
		}
	}
	return nil
}

// brokenRule says which rule does not hold.
type brokenRule struct{ name string }

func (e *brokenRule) Error() string { return "the rule " + e.name + " does not hold" }
func (e *brokenRule) Unwrap() error { return refusal.ErrRule }
