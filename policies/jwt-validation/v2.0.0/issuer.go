package jwtvalidation

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"policyengine.dev/policies/jwt-validation/internal/admission"
	"policyengine.dev/policies/jwt-validation/internal/authorization"
	"policyengine.dev/policies/jwt-validation/internal/claims"
	"policyengine.dev/policies/jwt-validation/internal/jose"
	"policyengine.dev/policies/jwt-validation/internal/settings"
	"policyengine.dev/sdk/policy"
)

// issuer is one issuer, with the rules for its tokens. Safe for concurrent use.
type issuer struct {
	*settings.Trust
	name   string
	scopes authorization.Scopes
	cel    *authorization.Rules
	// errScope is the error of a token without the scopes; each issuer's has an
	// answer of its own.
	errScope error

	// every and wait bound loads because of unknown keys.
	every, wait time.Duration
}

// newIssuer returns the issuer of p, or everything that is wrong with it, each
// problem with the field in front.
func newIssuer(p *IssuerParams, all *Params, taken []string, host policy.Host) (*issuer, []error) {
	trust, problems := p.Trust(host, all.Leeway, taken)
	problems = append(problems, settings.Under("scopes", p.Scopes.Check())...)
	rules, ruleProblems := authorization.Compile(p.Rules, host.Logger.With(slog.String("issuer", p.Issuer.Issuer)))
	problems = append(problems, settings.Under("rules", ruleProblems)...)
	if len(problems) > 0 {
		return nil, problems
	}
	return &issuer{
		Trust:    trust,
		name:     p.Issuer.Issuer,
		scopes:   p.Scopes,
		cel:      rules,
		errScope: errors.New("a required scope is missing"),
		every:    all.UnknownKeys.Interval.Std(),
		wait:     all.UnknownKeys.Wait.Std(),
	}, nil
}

// admit returns what becomes of a token with those claims, which take size bytes,
// and whose signature is that of a key in keys.
func (i *issuer) admit(ctx context.Context, all map[string]any, size int, keys *jose.KeySet) (*admission.Token, error) {
	set, err := claims.New(all)
	if err != nil {
		return nil, err
	}
	if err := i.Rules.Check(set); err != nil {
		return nil, err
	}
	a := &admission.Token{
		Source:     i.Keys,
		Keys:       keys,
		ClaimBytes: size,
		Until:      i.Rules.Until(set),
		Principal:  policy.Principal{Subject: set.Subject(), Issuer: set.Issuer(), Scopes: set.Scopes(), Claims: all},
	}
	if !i.scopes.HeldBy(a.Principal.Scopes) {
		return nil, i.errScope
	}
	if err := i.cel.Check(ctx, &a.Principal); err != nil {
		return nil, err
	}
	if a.Set, err = claims.Headers(i.Mappings, all); err != nil {
		return nil, err
	}
	return a, nil
}
