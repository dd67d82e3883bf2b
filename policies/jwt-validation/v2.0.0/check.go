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
	first := map[string]int{}
	for i := range p.Issuers {
		if j, ok := first[p.Issuers[i].Issuer.Issuer]; ok {
			problem("issuers[%d].issuer: it is that of issuers[%d] already", i, j)
			continue
		}
		first[p.Issuers[i].Issuer.Issuer] = i
	}
	problems = append(problems, settings.Under("cache.", p.Cache.Check())...)
	problems = append(problems, settings.Under("unknownKeys.", p.UnknownKeys.Check())...)
	return append(problems, p.Request.Check()...)
}
