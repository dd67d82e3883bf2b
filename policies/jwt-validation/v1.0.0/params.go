package jwtvalidation

import (
	"errors"
	"fmt"
	"time"

	"policyengine.dev/policies/jwt-validation/internal/bearer"
	"policyengine.dev/policies/jwt-validation/internal/claims"
	"policyengine.dev/policies/jwt-validation/internal/jose"
	"policyengine.dev/policies/jwt-validation/internal/keysource"
	"policyengine.dev/sdk/policy"
)

// Params are the policy's parameters: see policy.yaml, whose defaults New gives to
// the zero values too, save Leeway's.
type Params struct {
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
	// TokenFrom is where tokens are looked for.
	TokenFrom []bearer.Source `json:"tokenFrom"`
	// ForwardToken leaves the token in the request that the upstream sees.
	ForwardToken bool `json:"forwardToken"`
	// MaxTokenBytes is the length of the longest token that is looked at.
	MaxTokenBytes int `json:"maxTokenBytes"`
	// Leeway is the clock skew that is put up with.
	Leeway policy.Duration `json:"leeway"`
	// MaxAge bounds the time since "iat"; 0 does not.
	MaxAge policy.Duration `json:"maxAge"`
	// RequiredClaims are claims that tokens have to have besides.
	RequiredClaims []claims.Requirement `json:"requiredClaims"`
	// ClaimsToHeaders says which headers tell the upstream which claims.
	ClaimsToHeaders []claims.Mapping `json:"claimsToHeaders"`
	// Realm is the realm in challenges.
	Realm string `json:"realm"`
}

// The defaults and limits of policy.yaml.
const (
	defaultRefresh       = policy.Duration(5 * time.Minute)
	defaultMaxStale      = policy.Duration(24 * time.Hour)
	defaultMaxTokenBytes = 8 << 10
	maxMaxTokenBytes     = 64 << 10
	maxLeeway            = policy.Duration(5 * time.Minute)
	defaultRealm         = "api"
)

// defaultAlgorithms are the signatures that RFC 7518, section 3.1, recommends.
var defaultAlgorithms = []string{"RS256", "ES256"}

var defaultTokenFrom = []bearer.Source{{Header: "authorization", Scheme: "Bearer"}}

func (p *Params) setDefaults() {
	if len(p.Algorithms) == 0 {
		p.Algorithms = defaultAlgorithms
	}
	if len(p.TokenFrom) == 0 {
		p.TokenFrom = defaultTokenFrom
	}
	if p.Keys.Refresh == 0 {
		p.Keys.Refresh = defaultRefresh
	}
	if p.Keys.MaxStale == 0 {
		p.Keys.MaxStale = max(defaultMaxStale, p.Keys.Refresh)
	}
	if p.MaxTokenBytes == 0 {
		p.MaxTokenBytes = defaultMaxTokenBytes
	}
	if p.Realm == "" {
		p.Realm = defaultRealm
	}
}

// New refuses, with every problem at once, parameters under which no token could
// pass, or one could that nobody meant to. It does no I/O: keys that are not in the
// parameters are loaded by Start.
func New(p Params, host policy.Host) (*Validator, error) {
	p.setDefaults()
	problems := p.check()
	algorithms, err := jose.ParseAlgorithms(p.Algorithms)
	if err != nil {
		problems = append(problems, fmt.Errorf("algorithms: %w", err))
	}
	keys, keyProblems := p.Keys.Open(host, p.Issuer, algorithms)
	problems = append(problems, under("keys.", keyProblems)...)
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return &Validator{
		sources:    bearer.Places(p.TokenFrom),
		forward:    p.ForwardToken,
		maxBytes:   p.MaxTokenBytes,
		algorithms: algorithms,
		types:      p.Types,
		place:      p.Keys.Name(),
		keys:       keys,
		mappings:   p.ClaimsToHeaders,
		refused:    prepareRefusals(p.Realm),
		now:        host.Clock.Now,
		rules: claims.NewRules(p.Issuer, p.Audiences, claims.Rules{
			MaxAge:   p.MaxAge.Std(),
			Leeway:   p.Leeway.Std(),
			Required: p.RequiredClaims,
			Now:      host.Clock.Now,
		}),
	}, nil
}

func (p *Params) check() (problems []error) {
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if p.Issuer == "" {
		problem("issuer: it is missing")
	}
	if (len(p.Audiences) == 0) != p.AnyAudience {
		problem("audiences, anyAudience: give the audiences, or say that any will do (a token for another service will, then)")
	}
	for i, a := range p.Audiences {
		if a == "" {
			problem("audiences[%d]: it is empty", i)
		}
	}
	if p.MaxTokenBytes < 1 || p.MaxTokenBytes > maxMaxTokenBytes {
		problem("maxTokenBytes: %d is not between 1 and %d", p.MaxTokenBytes, maxMaxTokenBytes)
	}
	if p.Leeway < 0 || p.Leeway > maxLeeway {
		problem("leeway: %s is not between 0s and %s", p.Leeway, maxLeeway)
	}
	if p.MaxAge < 0 {
		problem("maxAge: %s is negative", p.MaxAge)
	}
	if !quotable(p.Realm) {
		problem("realm: it may have printable ASCII characters only, and no quotation marks and backslashes")
	}
	problems = append(problems, under("tokenFrom", bearer.Check(p.TokenFrom))...)
	problems = append(problems, under("requiredClaims", claims.CheckRequirements(p.RequiredClaims))...)
	problems = append(problems, under("claimsToHeaders", claims.CheckMappings(p.ClaimsToHeaders, bearer.HeaderNames(p.TokenFrom)))...)
	return problems
}

// under puts the field in front of problems within it.
func under(field string, problems []error) []error {
	for i, err := range problems {
		problems[i] = fmt.Errorf("%s%w", field, err)
	}
	return problems
}

// quotable reports whether s can stand in a quoted-string (RFC 9110, section 5.6.4)
// as it is.
func quotable(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
