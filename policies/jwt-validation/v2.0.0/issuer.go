package jwtvalidation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"policyengine.dev/policies/jwt-validation/internal/claims"
	"policyengine.dev/policies/jwt-validation/internal/jose"
	"policyengine.dev/policies/jwt-validation/internal/keysource"
	"policyengine.dev/sdk/policy"
)

// issuer is one issuer, with the rules for its tokens. Safe for concurrent use.
type issuer struct {
	name       string
	algorithms jose.Algorithms
	types      []string
	// place is where keys are loaded from, or empty where they are in the
	// parameters.
	place    string
	keys     *keysource.Source
	rules    *claims.Rules
	scopes   ScopeParams
	cel      *celRules
	mappings []claims.Mapping
	// errScope is the error of a token without the scopes; each issuer's has an
	// answer of its own.
	errScope error

	// every and wait bound loads because of unknown keys.
	every, wait time.Duration
}

// newIssuer returns the issuer of p, or everything that is wrong with it, each
// problem with the field in front.
func newIssuer(p *IssuerParams, all *Params, taken []string, host policy.Host) (*issuer, []error) {
	problems := p.check(taken)
	algorithms, err := jose.ParseAlgorithms(p.Algorithms)
	if err != nil {
		problems = append(problems, fmt.Errorf("algorithms: %w", err))
	}
	keys, keyProblems := p.Keys.Open(host, p.Issuer, algorithms)
	problems = append(problems, under("keys.", keyProblems)...)
	rules, ruleProblems := compileRules(p.Rules, host.Logger.With(slog.String("issuer", p.Issuer)))
	problems = append(problems, under("rules", ruleProblems)...)
	if len(problems) > 0 {
		return nil, problems
	}
	return &issuer{
		name:       p.Issuer,
		algorithms: algorithms,
		types:      p.Types,
		place:      p.Keys.Name(),
		keys:       keys,
		scopes:     p.Scopes,
		cel:        rules,
		mappings:   p.ClaimsToHeaders,
		errScope:   errors.New("a required scope is missing"),
		every:      all.UnknownKeys.Interval.Std(),
		wait:       all.UnknownKeys.Wait.Std(),
		rules: claims.NewRules(p.Issuer, p.Audiences, claims.Rules{
			MaxAge:   p.MaxAge.Std(),
			Leeway:   all.Leeway.Std(),
			Required: p.RequiredClaims,
			Now:      host.Clock.Now,
		}),
	}, nil
}

// key returns the key for a token, and the set that it is of. Where no key has the
// token's "kid", keys from a URL or a file are loaded again, if that is due; a key
// that does not come of it is the client's error and not the policy's, since a
// client can make up as many as it likes.
func (i *issuer) key(ctx context.Context, t *jose.Token, now time.Time) (*jose.Key, *jose.KeySet, error) {
	set, err := i.keys.Keys(now)
	if err != nil {
		return nil, nil, err
	}
	if key := set.Find(t.KeyID, t.Algorithm); key != nil {
		return key, set, nil
	}
	if t.KeyID == "" || set.Knows(t.KeyID) || !i.keys.Renew(ctx, i.every, i.wait) {
		return nil, nil, errKeyUnknown
	}
	if set, err = i.keys.Keys(now); err != nil {
		return nil, nil, err
	}
	if key := set.Find(t.KeyID, t.Algorithm); key != nil {
		return key, set, nil
	}
	return nil, nil, errKeyUnknown
}

// admit returns what becomes of a token with those claims, which take size bytes,
// and whose signature is that of a key in keys.
func (i *issuer) admit(ctx context.Context, all map[string]any, size int, keys *jose.KeySet) (*admission, error) {
	set, err := claims.New(all)
	if err != nil {
		return nil, err
	}
	if err := i.rules.Check(set); err != nil {
		return nil, err
	}
	a := &admission{
		issuer:    i,
		keys:      keys,
		claims:    size,
		until:     i.rules.Until(set),
		principal: policy.Principal{Subject: set.Subject(), Issuer: set.Issuer(), Scopes: set.Scopes(), Claims: all},
	}
	if !i.scopes.heldBy(a.principal.Scopes) {
		return nil, i.errScope
	}
	if !i.cel.hold(ctx, &a.principal) {
		return nil, errRuleFailed
	}
	if a.set, err = claims.Headers(i.mappings, all); err != nil {
		return nil, err
	}
	return a, nil
}

func (s *ScopeParams) heldBy(scopes []string) bool {
	for _, want := range s.All {
		if !slices.Contains(scopes, want) {
			return false
		}
	}
	return len(s.Any) == 0 || slices.ContainsFunc(s.Any, func(want string) bool { return slices.Contains(scopes, want) })
}

// wanted are the scopes that a challenge names.
func (s *ScopeParams) wanted() []string { return append(slices.Clone(s.All), s.Any...) }
