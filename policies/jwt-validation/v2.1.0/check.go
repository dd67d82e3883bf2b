package jwtvalidation

import (
	"fmt"

	"policyengine.dev/policies/jwt-validation/internal/settings"
	"policyengine.dev/sdk/policy"
)

// check returns what is wrong with what is not an issuer's own.
func (p *Params) check() (problems []error) {
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if len(p.Issuers) == 0 {
		problem("issuers: at least one is needed")
	}
	problems = append(problems, p.checkNames()...)
	number := func(field string, n, low, high int) {
		if n < low || n > high {
			problem("%s: %d is not between %d and %d", field, n, low, high)
		}
	}
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
	duration("cache.ttl", p.Cache.TTL, 0, longest)
	duration("unknownKeys.interval", p.UnknownKeys.Interval, minInterval, longest)
	duration("unknownKeys.wait", p.UnknownKeys.Wait, 0, maxWait)
	return append(problems, p.Request.Check()...)
}

// checkNames returns the issuers that tokens could not tell apart.
func (p *Params) checkNames() (problems []error) {
	first, count := map[string]int{}, 0
	for i := range p.Issuers {
		of := &p.Issuers[i]
		for _, name := range of.names() {
			if j, ok := first[name]; ok {
				problems = append(problems, fmt.Errorf("issuers[%d].issuer: it is that of issuers[%d] already", i, j))
				break
			}
			first[name] = i
			count++
		}
		for j := range p.Issuers[:i] {
			if of.AnyTenant && p.Issuers[j].AnyTenant && overlap(of.IssuerPattern, p.Issuers[j].IssuerPattern) {
				problems = append(problems, fmt.Errorf("issuers[%d].issuerPattern: one issuer can fit it and that of issuers[%d]", i, j))
			}
		}
	}
	if count > maxIssuers {
		problems = append(problems, fmt.Errorf("issuers: there are %d, each listed tenant counted; %d are the most", count, maxIssuers))
	}
	return problems
}

// names are the issuers that p stands for, each a whole name; a pattern for any tenant has
// one that no token can have.
func (p *IssuerParams) names() []string {
	if p.IssuerPattern == "" || p.AnyTenant {
		return []string{p.Issuer.Issuer + p.IssuerPattern}
	}
	var names []string
	for _, tenant := range p.Tenants {
		names = append(names, expand(p.IssuerPattern, tenant))
	}
	return names
}

// check returns what is wrong with the scopes.
func (s *ScopeParams) check() []error {
	return append(settings.Under(".all", checkScopes(s.All)), settings.Under(".any", checkScopes(s.Any))...)
}

// checkScopes holds scopes to RFC 6749, section 3.3.
func checkScopes(scopes []string) (problems []error) {
	for i, s := range scopes {
		ok := s != "" && settings.Quotable(s)
		for _, c := range s {
			ok = ok && c != ' '
		}
		if !ok {
			problems = append(problems, fmt.Errorf("[%d]: %q is not a scope: it has printable ASCII characters only, and no spaces, quotation marks and backslashes", i, s))
		}
	}
	return problems
}
