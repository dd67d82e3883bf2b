// Package settings has the parameters that versions of the policy have in common, with
// their defaults and what may be wrong with them.
package settings

import (
	"fmt"
	"time"

	"policyengine.dev/policies/jwt-validation/internal/bearer"
	"policyengine.dev/policies/jwt-validation/internal/claims"
	"policyengine.dev/policies/jwt-validation/internal/keysource"
	"policyengine.dev/sdk/policy"
)

// Issuer are the parameters of an issuer.
type Issuer struct {
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
	// AnyIssuer leaves it to the caller to check "iss". Issuer is a name for logs then. It
	// is no parameter of every version.
	AnyIssuer bool `json:"-"`
	// WithoutExpiry lets tokens pass that have no "exp"; MaxAge has to be set then.
	// It is no parameter of every version.
	WithoutExpiry bool `json:"-"`
	// RequiredClaims are claims that tokens have to have besides.
	RequiredClaims []claims.Requirement `json:"requiredClaims"`
	// ClaimsToHeaders says which headers tell the upstream which claims.
	ClaimsToHeaders []claims.Mapping `json:"claimsToHeaders"`
}

// Request are the parameters of how requests are read and refused.
type Request struct {
	// TokenFrom is where tokens are looked for.
	TokenFrom []bearer.Source `json:"tokenFrom"`
	// ForwardToken leaves the token in the request that the upstream sees.
	ForwardToken bool `json:"forwardToken"`
	// MaxTokenBytes is the length of the longest token that is checked.
	MaxTokenBytes int `json:"maxTokenBytes"`
	// Leeway is the clock skew that is put up with. It has no default here: 0 is
	// a value.
	Leeway policy.Duration `json:"leeway"`
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

// SetDefaults gives zero values the defaults of policy.yaml.
func (p *Issuer) SetDefaults() {
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

// SetDefaults gives zero values the defaults of policy.yaml, save Leeway's.
func (p *Request) SetDefaults() {
	if len(p.TokenFrom) == 0 {
		p.TokenFrom = defaultTokenFrom
	}
	if p.MaxTokenBytes == 0 {
		p.MaxTokenBytes = defaultMaxTokenBytes
	}
	if p.Realm == "" {
		p.Realm = defaultRealm
	}
}

// Check returns what is wrong, save what [Issuer.Trust] finds. taken are the headers
// that tokens come in.
func (p *Issuer) Check(taken []string) (problems []error) {
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if p.Issuer == "" {
		problem("issuer: it is missing")
	}
	if (len(p.Audiences) == 0) != p.AnyAudience {
		problem("audiences, anyAudience: set audiences, or set anyAudience to accept tokens for other services too")
	}
	for i, a := range p.Audiences {
		if a == "" {
			problem("audiences[%d]: it is empty", i)
		}
	}
	if p.MaxAge < 0 {
		problem("maxAge: %s is negative", p.MaxAge)
	}
	if p.WithoutExpiry && p.MaxAge <= 0 {
		problem("allowNoExpiry: requires maxAge, so that every token expires")
	}
	problems = append(problems, Under("requiredClaims", claims.CheckRequirements(p.RequiredClaims))...)
	return append(problems, Under("claimsToHeaders", claims.CheckMappings(p.ClaimsToHeaders, taken))...)
}

// Check returns what is wrong.
func (p *Request) Check() (problems []error) {
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if p.MaxTokenBytes < 1 || p.MaxTokenBytes > maxMaxTokenBytes {
		problem("maxTokenBytes: %d is not between 1 and %d", p.MaxTokenBytes, maxMaxTokenBytes)
	}
	if p.Leeway < 0 || p.Leeway > maxLeeway {
		problem("leeway: %s is not between 0s and %s", p.Leeway, maxLeeway)
	}
	if !Quotable(p.Realm) {
		problem("realm: it may have printable ASCII characters only, and no quotation marks and backslashes")
	}
	return append(problems, Under("tokenFrom", bearer.Check(p.TokenFrom))...)
}

// Under puts the field in front of problems within it.
func Under(field string, problems []error) []error {
	for i, err := range problems {
		problems[i] = fmt.Errorf("%s%w", field, err)
	}
	return problems
}

// Quotable reports whether s can stand in a quoted-string (RFC 9110, section 5.6.4)
// as it is.
func Quotable(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
