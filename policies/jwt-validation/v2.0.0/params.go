package jwtvalidation

import (
	"policyengine.dev/policies/jwt-validation/internal/authorization"
	"policyengine.dev/policies/jwt-validation/internal/settings"
)

// Params are the policy's parameters: see policy.yaml, whose defaults New gives to
// the zero values too, save those of Leeway and Cache.
type Params struct {
	// Issuers are those whose tokens are let pass, each "iss" once.
	Issuers []IssuerParams `json:"issuers"`
	settings.Request
	// Cache bounds what is remembered of verified tokens.
	Cache settings.Cache `json:"cache"`
	// UnknownKeys bounds what tokens with an unknown "kid" make happen.
	UnknownKeys settings.UnknownKeys `json:"unknownKeys"`
}

// IssuerParams are an issuer, and the rules for its tokens.
type IssuerParams struct {
	settings.Issuer
	// Scopes are what tokens have to be good for.
	Scopes authorization.Scopes `json:"scopes"`
	// Rules have to hold for a token's claims, every one.
	Rules []authorization.Rule `json:"rules"`
}

func (p *Params) setDefaults() {
	for i := range p.Issuers {
		p.Issuers[i].SetDefaults()
	}
	p.Request.SetDefaults()
	p.UnknownKeys.SetDefaults()
}
