package jwtvalidation

import (
	"errors"

	"policyengine.dev/policies/jwt-validation/internal/bearer"
	"policyengine.dev/policies/jwt-validation/internal/refusal"
	"policyengine.dev/policies/jwt-validation/internal/settings"
	"policyengine.dev/sdk/policy"
)

// Params are the policy's parameters: see policy.yaml, whose defaults New gives to
// the zero values too, save Leeway's.
type Params struct {
	settings.Issuer
	settings.Request
}

// New refuses, with every problem at once, parameters under which no token could
// pass, or one could that nobody meant to. It does no I/O: keys that are not in the
// parameters are loaded by Start.
func New(p Params, host policy.Host) (*Validator, error) {
	p.Issuer.SetDefaults()
	p.Request.SetDefaults()
	problems := p.Request.Check()
	trust, issuerProblems := p.Trust(host, p.Leeway, bearer.HeaderNames(p.TokenFrom))
	if err := errors.Join(append(problems, issuerProblems...)...); err != nil {
		return nil, err
	}
	return &Validator{
		places:   bearer.Places(p.TokenFrom),
		forward:  p.ForwardToken,
		maxBytes: p.MaxTokenBytes,
		trust:    trust,
		refused:  refusal.Prepare(p.Realm, nil),
		now:      host.Clock.Now,
	}, nil
}
