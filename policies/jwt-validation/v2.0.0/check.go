package jwtvalidation

import (
	"fmt"

	"policyengine.dev/policies/jwt-validation/internal/bearer"
	"policyengine.dev/policies/jwt-validation/internal/claims"
	"policyengine.dev/sdk/policy"
)

// check returns what is wrong with what is not an issuer's own.
func (p *Params) check() (problems []error) {
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if len(p.Issuers) == 0 {
		problem("issuers: at least one is needed")
	}
	first := map[string]int{}
	for i := range p.Issuers {
		if j, ok := first[p.Issuers[i].Issuer]; ok {
			problem("issuers[%d].issuer: it is that of issuers[%d] already", i, j)
			continue
		}
		first[p.Issuers[i].Issuer] = i
	}
	number := func(field string, n, low, high int) {
		if n < low || n > high {
			problem("%s: %d is not between %d and %d", field, n, low, high)
		}
	}
	number("maxTokenBytes", p.MaxTokenBytes, 1, maxMaxTokenBytes)
	number("cache.entries", p.Cache.Entries, 0, maxCacheEntries)
	number("cache.bytes", p.Cache.Bytes, 0, maxCacheBytes)
	duration := func(field string, d, low, high policy.Duration) {
		switch {
		case d < low:
			problem("%s: %s is less than %s", field, d, low)
		case d > high:
			problem("%s: %s is more than %s", field, d, high)
		}
	}
	duration("leeway", p.Leeway, 0, maxLeeway)
	duration("cache.ttl", p.Cache.TTL, 0, longest)
	duration("unknownKeys.interval", p.UnknownKeys.Interval, minInterval, longest)
	duration("unknownKeys.wait", p.UnknownKeys.Wait, 0, maxWait)
	if !quotable(p.Realm) {
		problem("realm: it may have printable ASCII characters only, and no quotation marks and backslashes")
	}
	return append(problems, under("tokenFrom", bearer.Check(p.TokenFrom))...)
}

// check returns what is wrong with an issuer, save what making it shows. taken are
// the headers that tokens come in.
func (p *IssuerParams) check(taken []string) (problems []error) {
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
	if p.MaxAge < 0 {
		problem("maxAge: %s is negative", p.MaxAge)
	}
	problems = append(problems, under("scopes.all", checkScopes(p.Scopes.All))...)
	problems = append(problems, under("scopes.any", checkScopes(p.Scopes.Any))...)
	problems = append(problems, under("requiredClaims", claims.CheckRequirements(p.RequiredClaims))...)
	return append(problems, under("claimsToHeaders", claims.CheckMappings(p.ClaimsToHeaders, taken))...)
}

// checkScopes holds scopes to RFC 6749, section 3.3.
func checkScopes(scopes []string) (problems []error) {
	for i, s := range scopes {
		ok := s != "" && quotable(s)
		for _, c := range s {
			ok = ok && c != ' '
		}
		if !ok {
			problems = append(problems, fmt.Errorf("[%d]: %q is not a scope: it has printable ASCII characters only, and no spaces, quotation marks and backslashes", i, s))
		}
	}
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
