package jwtvalidation

import (
	"context"
	"fmt"
	"log/slog"

	"policyengine.dev/policies/jwt-validation/internal/refusal"
	"policyengine.dev/sdk/expr"
	"policyengine.dev/sdk/policy"
)

// celRules are an issuer's claim rules. Immutable.
type celRules struct {
	rules  []celRule
	logger *slog.Logger
}

type celRule struct {
	name    string
	program *expr.Program
	broken  brokenRule
}

// onlyAuth has rules read the token and nothing else, since their answer is
// remembered with it.
func onlyAuth() []expr.Option {
	const why = "a claim rule is decided once for a token, and holds for every request with it; it can read auth.* only"
	var options []expr.Option
	for _, s := range []expr.Scope{expr.ScopeRequest, expr.ScopeResponse, expr.ScopeRoute, expr.ScopeMetadata, expr.ScopeAttributes} {
		options = append(options, expr.Deny(s, why))
	}
	return options
}

// compileRules returns the rules, or what is wrong with them, each problem with the
// index in front.
func compileRules(params []RuleParams, logger *slog.Logger) (*celRules, []error) {
	all := &celRules{logger: logger}
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
		all.rules = append(all.rules, celRule{name, program, brokenRule{name}})
	}
	return all, problems
}

// check returns an error, [refusal.ErrRule], unless every rule holds for the caller. A
// rule that has no value for it does not hold; that is no error of the policy's: what a
// rule cannot decide comes from the token, and no onError is to let it pass.
func (c *celRules) check(ctx context.Context, who *policy.Principal) error {
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
