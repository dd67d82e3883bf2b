package settings

import (
	"context"
	"fmt"
	"time"

	"policyengine.dev/policies/jwt-validation/internal/claims"
	"policyengine.dev/policies/jwt-validation/internal/jose"
	"policyengine.dev/policies/jwt-validation/internal/keysource"
	"policyengine.dev/policies/jwt-validation/internal/refusal"
	"policyengine.dev/sdk/policy"
)

// Trust is what an issuer's tokens are verified with. Safe for concurrent use.
type Trust struct {
	Algorithms jose.Algorithms
	// Place is where keys are loaded from; empty for keys in the parameters.
	Place    string
	Keys     *keysource.Source
	Rules    *claims.Rules
	Mappings []claims.Mapping

	types []string
}

// Trust returns what the issuer's tokens are verified with, or everything that is wrong
// with p. It does no I/O.
func (p *Issuer) Trust(host policy.Host, leeway policy.Duration, taken []string) (*Trust, []error) {
	problems := p.Check(taken)
	algorithms, err := jose.ParseAlgorithms(p.Algorithms)
	if err != nil {
		problems = append(problems, fmt.Errorf("algorithms: %w", err))
	}
	keys, keyProblems := p.Keys.Open(host, p.Issuer, algorithms)
	problems = append(problems, Under("keys.", keyProblems)...)
	if len(problems) > 0 {
		return nil, problems
	}
	expected := p.Issuer
	if p.AnyIssuer {
		expected = ""
	}
	return &Trust{
		Algorithms: algorithms,
		Place:      p.Keys.Name(),
		Keys:       keys,
		Mappings:   p.ClaimsToHeaders,
		types:      p.Types,
		Rules: claims.NewRules(expected, p.Audiences, claims.Rules{
			MaxAge:        p.MaxAge.Std(),
			Leeway:        leeway.Std(),
			WithoutExpiry: p.WithoutExpiry,
			Required:      p.RequiredClaims,
			Now:           host.Clock.Now,
		}),
	}, nil
}

// CheckHeader refuses a token of an algorithm or a type that is not the issuer's.
func (t *Trust) CheckHeader(token *jose.Token) error {
	switch {
	case !t.Algorithms.Has(token.Algorithm):
		return jose.ErrAlgorithm
	case len(t.types) > 0 && !jose.TypeIs(token.Type, t.types):
		return refusal.ErrType
	}
	return nil
}

// Key returns the key for a token, and the set that it is of. Where no key has the
// token's "kid", keys from a URL or a file are loaded again, if that is due; a key
// that does not come of it is the client's error and not the policy's, since a
// client can make up as many as it likes.
func (t *Trust) Key(ctx context.Context, token *jose.Token, now time.Time, every, wait time.Duration) (*jose.Key, *jose.KeySet, error) {
	set, err := t.Keys.Keys(now)
	if err != nil {
		return nil, nil, err
	}
	if key := set.Find(token.KeyID, token.Algorithm); key != nil {
		return key, set, nil
	}
	if token.KeyID == "" || set.Knows(token.KeyID) || !t.Keys.Renew(ctx, every, wait) {
		return nil, nil, refusal.ErrKeyUnknown
	}
	if set, err = t.Keys.Keys(now); err != nil {
		return nil, nil, err
	}
	if key := set.Find(token.KeyID, token.Algorithm); key != nil {
		return key, set, nil
	}
	return nil, nil, refusal.ErrKeyUnknown
}
