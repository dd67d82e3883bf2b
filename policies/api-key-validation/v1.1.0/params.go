package apikeyvalidation

import (
	"fmt"
	"path"
	"slices"
	"time"

	"policyengine.dev/policies/api-key-validation/internal/place"
	"policyengine.dev/sdk/policy"
)

// Params are the policy's parameters: see policy.yaml.
type Params struct {
	// Header, Query and Cookie name where the key is; one of them at least. With
	// Scheme the key follows that word in Header.
	Header policy.HeaderName `json:"header"`
	Scheme string            `json:"scheme"`
	Query  string            `json:"query"`
	Cookie string            `json:"cookie"`
	// Keys are the keys themselves; KeysFrom says where they are instead.
	Keys     []Key     `json:"keys"`
	KeysFrom *KeysFrom `json:"keysFrom"`
	// Peppers are the secrets of keys that are known by an HMAC.
	Peppers []policy.Secret `json:"peppers"`
	Scopes  ScopeParams     `json:"scopes"`
	// ForwardKey leaves the key in the request that the upstream sees.
	ForwardKey bool `json:"forwardKey"`
	// IDHeader is the header that tells the upstream the key's id; empty for none.
	IDHeader policy.HeaderName `json:"idHeader"`
}

// KeysFrom is where keys are; one of both is set.
type KeysFrom struct {
	File      string `json:"file"`
	Directory string `json:"directory"`
}

// ScopeParams are the scopes that a key has to have: every one of All, and one of Any
// where there are some.
type ScopeParams struct {
	All []string `json:"all"`
	Any []string `json:"any"`
}

// Key is one API key that is let in. One of SHA256 and HMACSHA256 is set.
type Key struct {
	// ID names the key's owner. It is not a secret, and several keys may have it.
	ID string `json:"id"`
	// SHA256 is the hash of the key, 64 hexadecimal digits.
	SHA256 string `json:"sha256"`
	// HMACSHA256 is the HMAC of the key under a pepper, 64 hexadecimal digits.
	HMACSHA256 string `json:"hmacSha256"`
	// Scopes are what the key is good for.
	Scopes []string `json:"scopes"`
	// Labels are claims of the principal.
	Labels map[string]string `json:"labels"`
	// NotBefore and Expires bound the time in which the key is good: from NotBefore
	// on, and before Expires. Zero sets no bound.
	NotBefore time.Time `json:"notBefore"`
	Expires   time.Time `json:"expires"`
}

// Bounds of policy.yaml.
const (
	maxIDLength    = 128
	maxScopes      = 64
	maxScopeLength = 256
	maxLabels      = 32
	maxLabelName   = 128
	maxLabelValue  = 1024
	maxPeppers     = 4
)

func (p *Params) places() place.Params {
	return place.Params{Header: string(p.Header), Scheme: p.Scheme, Query: p.Query, Cookie: p.Cookie}
}

// check returns what is wrong with everything but the keys.
func (p *Params) check() (problems []error) {
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if p.Header == "" && p.Query == "" && p.Cookie == "" {
		problem("header, query, cookie: give at least one of them, so that the key can be found")
	}
	if p.Scheme != "" && p.Header == "" {
		problem("scheme: it goes with header")
	}
	problems = append(problems, p.places().Check()...)
	if p.Cookie != "" && p.Header == "cookie" {
		problem("header: use the cookie parameter instead of the header cookie")
	}
	if (len(p.Keys) > 0) == (p.KeysFrom != nil) {
		problem("keys, keysFrom: give exactly one of them")
	}
	if p.KeysFrom != nil && (p.KeysFrom.File == "") == (p.KeysFrom.Directory == "") {
		problem("keysFrom: give file or directory, one of them")
	}
	if len(p.Peppers) > maxPeppers {
		problem("peppers: there are %d, more than %d", len(p.Peppers), maxPeppers)
	}
	for i, s := range p.Peppers {
		if s.IsZero() {
			problem("peppers[%d]: it is empty", i)
		}
		if text, ok := s.Inline(); ok && len(text) < minPepper {
			problem("peppers[%d]: it has less than %d bytes, so that it could be guessed", i, minPepper)
		}
	}
	problems = append(problems, checkScopes("scopes.all", p.Scopes.All)...)
	problems = append(problems, checkScopes("scopes.any", p.Scopes.Any)...)
	return append(problems, p.checkIDHeader()...)
}

func (p *Params) checkIDHeader() (problems []error) {
	if p.IDHeader == "" {
		return nil
	}
	if err := policy.CheckHeaderEdit(string(p.IDHeader)); err != nil {
		problems = append(problems, fmt.Errorf("idHeader: %q %w", p.IDHeader, err))
	}
	taken := []string{string(p.Header)}
	if p.Cookie != "" {
		taken = append(taken, "cookie")
	}
	if slices.ContainsFunc(taken, func(h string) bool { return policy.AlikeHeaderNames(string(p.IDHeader), h) }) {
		problems = append(problems, fmt.Errorf("idHeader: %q is the header of the key", p.IDHeader))
	}
	return problems
}

// checkScopes holds scopes to RFC 6749, section 3.3.
func checkScopes(field string, scopes []string) (problems []error) {
	for i, s := range scopes {
		if !validScope(s) {
			problems = append(problems, fmt.Errorf("%s[%d]: it is not a scope: 1 to %d printable ASCII characters, without spaces, quotation marks and backslashes", field, i, maxScopeLength))
		}
	}
	return problems
}

func validScope(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return s != "" && len(s) <= maxScopeLength
}

// heldBy reports whether scopes have every one of All, and one of Any.
func (s *ScopeParams) heldBy(scopes []string) bool {
	for _, want := range s.All {
		if !slices.Contains(scopes, want) {
			return false
		}
	}
	return len(s.Any) == 0 || slices.ContainsFunc(s.Any, func(want string) bool { return slices.Contains(scopes, want) })
}

// name tells the place of the keys from others.
func (k *KeysFrom) name() string {
	if k.Directory != "" {
		return "directory " + path.Clean(k.Directory)
	}
	return "file " + path.Clean(k.File)
}
