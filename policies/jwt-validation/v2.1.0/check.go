package jwtvalidation

import (
	"fmt"

	"policyengine.dev/policies/jwt-validation/internal/settings"
)

// check returns what is wrong with what is not an issuer's own.
func (p *Params) check() (problems []error) {
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if len(p.Issuers) == 0 {
		problem("issuers: at least one is needed")
	}
	problems = append(problems, p.checkNames()...)
	problems = append(problems, settings.Under("cache.", p.Cache.Check())...)
	problems = append(problems, settings.Under("unknownKeys.", p.UnknownKeys.Check())...)
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
