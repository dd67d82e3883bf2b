package settings

import (
	"fmt"

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
