package jwtvalidation

import (
	"policyengine.dev/policies/jwt-validation/internal/authorization"
	"policyengine.dev/policies/jwt-validation/internal/claims"
	"policyengine.dev/policies/jwt-validation/internal/keysource"
	"policyengine.dev/policies/jwt-validation/internal/settings"
)

// Params are the policy's parameters: see policy.yaml, whose defaults New gives to
// the zero values too, save those of Leeway and Cache.
type Params struct {
	// Issuers are those whose tokens are let pass, each "iss" once.
	Issuers []IssuerParams `json:"issuers"`
	settings.Request
	// Optional lets requests without a token pass, without a principal.
	Optional bool `json:"optional"`
	// Cache bounds what is remembered of verified tokens.
	Cache settings.Cache `json:"cache"`
	// UnknownKeys bounds what tokens with an unknown "kid" make happen.
	UnknownKeys settings.UnknownKeys `json:"unknownKeys"`
}

// IssuerParams are an issuer, and the rules for its tokens.
type IssuerParams struct {
	settings.Issuer
	// IssuerPattern stands instead of Issuer: an https URL with {tenant} as one segment
	// of its path. Tenants are those that are let in; AnyTenant lets all of them in.
	IssuerPattern string   `json:"issuerPattern"`
	Tenants       []string `json:"tenants"`
	AnyTenant     bool     `json:"anyTenant"`
	// TenantClaim is the name under which the tenant is among the claims.
	TenantClaim string `json:"tenantClaim"`
	// AllowNoExpiry lets tokens pass that have no "exp"; MaxAge has to be set then.
	AllowNoExpiry   bool            `json:"allowNoExpiry"`
	Keys            KeysParams      `json:"keys"`
	ClaimsToHeaders []MappingParams `json:"claimsToHeaders"`
	// Scopes are what tokens have to be good for.
	Scopes authorization.Scopes `json:"scopes"`
	// Rules have to hold for a token's claims, every one.
	Rules []authorization.Rule `json:"rules"`
}

// KeysParams say where keys are.
type KeysParams struct {
	keysource.Place
	// Discovery finds the address of the keys by the issuer's own document. Hosts are
	// hosts in addition to the issuer's that they may be on.
	Discovery bool     `json:"discovery"`
	Hosts     []string `json:"hosts"`
	// TLS is how the server is known and what it is shown.
	TLS keysource.TLS `json:"tls"`
}

// MappingParams is a claim, the header that tells it, and how.
type MappingParams struct {
	claims.Mapping
	Encoding claims.Encoding `json:"encoding"`
}

// The limits of policy.yaml.
const (
	// maxIssuers bounds the issuers, each tenant that is listed counted as one.
	maxIssuers         = 256
	defaultTenantClaim = "tenant"
)

func (p *Params) setDefaults() {
	for i := range p.Issuers {
		i := &p.Issuers[i]
		i.Issuer.Keys = i.Keys.Place
		i.SetDefaults()
		i.Keys.Place = i.Issuer.Keys
		if i.TenantClaim == "" {
			i.TenantClaim = defaultTenantClaim
		}
	}
	p.Request.SetDefaults()
	p.UnknownKeys.SetDefaults()
}
