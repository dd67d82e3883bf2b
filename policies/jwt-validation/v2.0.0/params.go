package jwtvalidation

import (
	"time"

	"policyengine.dev/policies/jwt-validation/internal/settings"
	"policyengine.dev/sdk/policy"
)

// Params are the policy's parameters: see policy.yaml, whose defaults New gives to
// the zero values too, save those of Leeway and Cache.
type Params struct {
	// Issuers are those whose tokens are let pass, each "iss" once.
	Issuers []IssuerParams `json:"issuers"`
	settings.Request
	// Cache bounds what is remembered of verified tokens.
	Cache CacheParams `json:"cache"`
	// UnknownKeys bounds what tokens with an unknown "kid" make happen.
	UnknownKeys UnknownKeysParams `json:"unknownKeys"`
}

// IssuerParams are an issuer, and the rules for its tokens.
type IssuerParams struct {
	settings.Issuer
	// Scopes are what tokens have to be good for.
	Scopes ScopeParams `json:"scopes"`
	// Rules have to hold for a token's claims, every one.
	Rules []RuleParams `json:"rules"`
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
	longest         = policy.Duration(1<<63 - 1)
)

func (p *Params) setDefaults() {
	for i := range p.Issuers {
		p.Issuers[i].SetDefaults()
	}
	p.Request.SetDefaults()
	if p.UnknownKeys.Interval == 0 {
		p.UnknownKeys.Interval = defaultInterval
	}
	if p.UnknownKeys.Wait == 0 {
		p.UnknownKeys.Wait = defaultWait
	}
}
