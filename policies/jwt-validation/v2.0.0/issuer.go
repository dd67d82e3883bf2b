package jwtvalidation

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"policyengine.dev/policies/jwt-validation/internal/claims"
	"policyengine.dev/policies/jwt-validation/internal/jose"
	"policyengine.dev/policies/jwt-validation/internal/refusal"
	"policyengine.dev/policies/jwt-validation/internal/settings"
	"policyengine.dev/sdk/policy"
)

// issuer is one issuer, with the rules for its tokens. Safe for concurrent use.
type issuer struct {
	*settings.Trust
	name   string
	scopes ScopeParams
	cel    *celRules
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
	problems = append(problems, settings.Under("scopes", p.Scopes.check())...)
	rules, ruleProblems := compileRules(p.Rules, host.Logger.With(slog.String("issuer", p.Issuer.Issuer)))
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

// key returns the key for a token, and the set that it is of. Where no key has the
// token's "kid", keys from a URL or a file are loaded again, if that is due; a key
// that does not come of it is the client's error and not the policy's, since a
// client can make up as many as it likes.
func (i *issuer) key(ctx context.Context, t *jose.Token, now time.Time) (*jose.Key, *jose.KeySet, error) {
	set, err := i.Keys.Keys(now)
	if err != nil {
		return nil, nil, err
	}
	if key := set.Find(t.KeyID, t.Algorithm); key != nil {
		return key, set, nil
	}
	if t.KeyID == "" || set.Knows(t.KeyID) || !i.Keys.Renew(ctx, i.every, i.wait) {
		return nil, nil, refusal.ErrKeyUnknown
	}
	if set, err = i.Keys.Keys(now); err != nil {
		return nil, nil, err
	}
	if key := set.Find(t.KeyID, t.Algorithm); key != nil {
		return key, set, nil
	}
	return nil, nil, refusal.ErrKeyUnknown
}

// admit returns what becomes of a token with those claims, which take size bytes,
// and whose signature is that of a key in keys.
func (i *issuer) admit(ctx context.Context, all map[string]any, size int, keys *jose.KeySet) (*admission, error) {
	set, err := claims.New(all)
	if err != nil {
		return nil, err
	}
	if err := i.Rules.Check(set); err != nil {
		return nil, err
	}
	a := &admission{
		issuer:    i,
		keys:      keys,
		claims:    size,
		until:     i.Rules.Until(set),
		principal: policy.Principal{Subject: set.Subject(), Issuer: set.Issuer(), Scopes: set.Scopes(), Claims: all},
	}
	if !i.scopes.heldBy(a.principal.Scopes) {
		return nil, i.errScope
	}
	if err := i.cel.check(ctx, &a.principal); err != nil {
		return nil, err
	}
	if a.set, err = claims.Headers(i.Mappings, all); err != nil {
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
