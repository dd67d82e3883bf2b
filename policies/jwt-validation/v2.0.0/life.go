package jwtvalidation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"policyengine.dev/policies/jwt-validation/internal/admission"
	"policyengine.dev/policies/jwt-validation/internal/bearer"
	"policyengine.dev/policies/jwt-validation/internal/keysource"
	"policyengine.dev/policies/jwt-validation/internal/refusal"
	"policyengine.dev/policies/jwt-validation/internal/settings"
	"policyengine.dev/sdk/policy"
)

// New refuses, with every problem at once, parameters under which no token could
// pass, or one could that nobody meant to. It does no I/O: keys that are not in the
// parameters are loaded by Start.
func New(p Params, host policy.Host) (*Validator, error) {
	p.setDefaults()
	problems := p.check()
	v := &Validator{
		byName: make(map[string]*issuer, len(p.Issuers)),
		host:   host,
	}
	taken := bearer.HeaderNames(p.TokenFrom)
	scopes := map[error][]string{}
	for n := range p.Issuers {
		i, wrong := newIssuer(&p.Issuers[n], &p, taken, host)
		if len(wrong) > 0 {
			problems = append(problems, settings.Under(fmt.Sprintf("issuers[%d].", n), wrong)...)
			continue
		}
		v.issuers = append(v.issuers, i)
		v.byName[i.name] = i
		v.algorithms |= i.Algorithms
		scopes[i.errScope] = i.scopes.Wanted()
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	v.refused = refusal.Prepare(p.Realm, scopes)
	// After the checks: the cache takes memory. What is known of a token depends only on the
	// parameters. As Go source they tell values of different types apart, which JSON would
	// not, so instances whose parameters differ never share.
	var err error
	v.admitter, err = admission.New(fmt.Sprintf("%#v", p), &p.Request, p.Cache, v.verify, host)
	return v, err
}

// Start loads the keys of all issuers, at the same time, and keeps them up to date
// from then on. It errs where no issuer has keys in the end. Where only some have
// not, their tokens are errors until the background has loaded their keys, and the
// others' are not held up. See [policy.Starter].
func (v *Validator) Start(ctx context.Context) error {
	errs := make([]error, len(v.issuers))
	var wg sync.WaitGroup
	for n, i := range v.issuers {
		wg.Go(func() {
			if err := i.Keys.Start(ctx); err != nil {
				errs[n] = fmt.Errorf("issuer %s: %w", i.name, err)
			}
		})
	}
	wg.Wait()
	if !slices.Contains(errs, nil) {
		return errors.Join(errs...)
	}
	if err := errors.Join(errs...); err != nil {
		v.host.Logger.Warn("The keys of some issuers have not been loaded; their tokens are errors until they are.", "error", err)
	}
	return nil
}

// Adopt takes over the keys of issuers whose URL or file is the same as before. See
// [policy.Adopter].
func (v *Validator) Adopt(old any) {
	before, ok := old.(keysource.Holder)
	if !ok {
		return
	}
	for _, i := range v.issuers {
		i.Keys.Adopt(before.KeySource(i.Place))
	}
}

// KeySource implements [keysource.Holder].
func (v *Validator) KeySource(place string) *keysource.Source {
	for _, i := range v.issuers {
		if i.Place == place {
			return i.Keys
		}
	}
	return nil
}
