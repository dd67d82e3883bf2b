package jwtvalidation

import (
	"time"

	"policyengine.dev/policies/jwt-validation/internal/bearer"
	"policyengine.dev/policies/jwt-validation/internal/claims"
	"policyengine.dev/policies/jwt-validation/internal/keysource"
	"policyengine.dev/sdk/policy"
)

// Params are the policy's parameters: see policy.yaml, whose defaults New gives to
// the zero values too, save those of Leeway and Cache.
type Params struct {
	// Issuers are those whose tokens are let pass, each "iss" once.
	Issuers []IssuerParams `json:"issuers"`
	// TokenFrom is where tokens are looked for.
	TokenFrom []bearer.Source `json:"tokenFrom"`
	// ForwardToken leaves the token in the request that the upstream sees.
	ForwardToken bool `json:"forwardToken"`
	// MaxTokenBytes is the length of the longest token that is looked at.
	MaxTokenBytes int `json:"maxTokenBytes"`
	// Leeway is the clock skew that is put up with.
	Leeway policy.Duration `json:"leeway"`
	// Realm is the realm in challenges.
	Realm string `json:"realm"`
	// Cache bounds what is remembered of verified tokens.
	Cache CacheParams `json:"cache"`
	// UnknownKeys bounds what tokens with an unknown "kid" make happen.
	UnknownKeys UnknownKeysParams `json:"unknownKeys"`
}

// IssuerParams are an issuer, and the rules for its tokens.
type IssuerParams struct {
	// Issuer is what "iss" has to be.
	Issuer string `json:"issuer"`
	// Audiences are what "aud" has to have one of. Without them AnyAudience has
	// to be set.
	Audiences   []string `json:"audiences"`
	AnyAudience bool     `json:"anyAudience"`
	// Algorithms are the names of those that tokens may be signed with.
	Algorithms []string `json:"algorithms"`
	// Types are the accepted "typ" headers; empty accepts any and none.
	Types []string `json:"types"`
	// Keys is where the issuer's keys are.
	Keys keysource.Place `json:"keys"`
	// MaxAge bounds the time since "iat"; 0 does not.
	MaxAge policy.Duration `json:"maxAge"`
	// RequiredClaims are claims that tokens have to have besides.
	RequiredClaims []claims.Requirement `json:"requiredClaims"`
	// Scopes are what tokens have to be good for.
	Scopes ScopeParams `json:"scopes"`
	// Rules have to hold for a token's claims, every one.
	Rules []RuleParams `json:"rules"`
	// ClaimsToHeaders says which headers tell the upstream which claims.
	ClaimsToHeaders []claims.Mapping `json:"claimsToHeaders"`
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
	defaultRefresh       = policy.Duration(5 * time.Minute)
	defaultMaxStale      = policy.Duration(24 * time.Hour)
	defaultMaxTokenBytes = 8 << 10
	maxMaxTokenBytes     = 64 << 10
	maxLeeway            = policy.Duration(5 * time.Minute)
	defaultRealm         = "api"
	defaultInterval      = policy.Duration(30 * time.Second)
	minInterval          = policy.Duration(time.Second)
	defaultWait          = policy.Duration(100 * time.Millisecond)
	maxWait              = policy.Duration(10 * time.Second)
	maxCacheEntries      = 1 << 20
	maxCacheBytes        = 1 << 30
	longest              = policy.Duration(1<<63 - 1)
)

// defaultAlgorithms are the signatures that RFC 7518, section 3.1, recommends.
var defaultAlgorithms = []string{"RS256", "ES256"}

var defaultTokenFrom = []bearer.Source{{Header: "authorization", Scheme: "Bearer"}}

func (p *Params) setDefaults() {
	for i := range p.Issuers {
		p.Issuers[i].setDefaults()
	}
	if len(p.TokenFrom) == 0 {
		p.TokenFrom = defaultTokenFrom
	}
	if p.MaxTokenBytes == 0 {
		p.MaxTokenBytes = defaultMaxTokenBytes
	}
	if p.Realm == "" {
		p.Realm = defaultRealm
	}
	if p.UnknownKeys.Interval == 0 {
		p.UnknownKeys.Interval = defaultInterval
	}
	if p.UnknownKeys.Wait == 0 {
		p.UnknownKeys.Wait = defaultWait
	}
}

func (p *IssuerParams) setDefaults() {
	if len(p.Algorithms) == 0 {
		p.Algorithms = defaultAlgorithms
	}
	if p.Keys.Refresh == 0 {
		p.Keys.Refresh = defaultRefresh
	}
	if p.Keys.MaxStale == 0 {
		p.Keys.MaxStale = max(defaultMaxStale, p.Keys.Refresh)
	}
}
