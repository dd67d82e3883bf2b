package jwtvalidation

import (
	"time"

	"policyengine.dev/policies/jwt-validation/internal/claims"
	"policyengine.dev/policies/jwt-validation/internal/keysource"
	"policyengine.dev/policies/jwt-validation/internal/settings"
	"policyengine.dev/sdk/policy"
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
	Cache CacheParams `json:"cache"`
	// UnknownKeys bounds what tokens with an unknown "kid" make happen.
	UnknownKeys UnknownKeysParams `json:"unknownKeys"`
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
	Scopes ScopeParams `json:"scopes"`
	// Rules have to hold for a token's claims, every one.
	Rules []RuleParams `json:"rules"`
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

// ScopeParams are the scopes that a token has to have: every one of All, and one of
// Any where there are some.
type ScopeParams struct {
	All []string `json:"all"`
	Any []string `json:"any"`
}

// RuleParams is a rule in CEL.
type RuleParams struct {
	// Name is for logs; it may be empty.
	Name string `json:"name"`
	// Expression is a condition that reads auth.subject, auth.issuer,
	// auth.scopes and auth.claims of the token.
	Expression string `json:"expression"`
}

// CacheParams bound the cache of verified tokens. Where Entries, Bytes or TTL is 0
// nothing is remembered.
type CacheParams struct {
	// Entries and Bytes are the number of tokens, and about how much memory
	// they may take with their claims.
	Entries int `json:"entries"`
	Bytes   int `json:"bytes"`
	// TTL is for how long a token is remembered at most.
	TTL policy.Duration `json:"ttl"`
}

// UnknownKeysParams bound the loads of key sets that requests cause.
type UnknownKeysParams struct {
	// Interval is the shortest time between the start of any load of an
	// issuer's set and that of one which a request causes.
	Interval policy.Duration `json:"interval"`
	// Wait is for how long a request waits for such a load.
	Wait policy.Duration `json:"wait"`
}

// The defaults and limits of policy.yaml.
const (
	defaultInterval = policy.Duration(30 * time.Second)
	minInterval     = policy.Duration(time.Second)
	defaultWait     = policy.Duration(100 * time.Millisecond)
	maxWait         = policy.Duration(10 * time.Second)
	maxCacheEntries = 1 << 20
	maxCacheBytes   = 1 << 30
	// maxIssuers bounds the issuers, each tenant that is listed counted as one.
	maxIssuers         = 256
	defaultTenantClaim = "tenant"
	longest            = policy.Duration(1<<63 - 1)
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
	if p.UnknownKeys.Interval == 0 {
		p.UnknownKeys.Interval = defaultInterval
	}
	if p.UnknownKeys.Wait == 0 {
		p.UnknownKeys.Wait = defaultWait
	}
}
