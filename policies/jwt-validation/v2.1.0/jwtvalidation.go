package jwtvalidation

import (
	"context"
	"errors"
	"time"

	"policyengine.dev/policies/jwt-validation/internal/bearer"
	"policyengine.dev/policies/jwt-validation/internal/claims"
	"policyengine.dev/policies/jwt-validation/internal/jose"
	"policyengine.dev/policies/jwt-validation/internal/refusal"
	"policyengine.dev/policies/jwt-validation/internal/tokencache"
	"policyengine.dev/sdk/policy"
)

// Policy is jwt-validation v2.1.0.
var Policy = policy.Define(New)

// Validator verifies tokens of several issuers. Safe for concurrent use.
type Validator struct {
	places   []bearer.Place
	forward  bool
	maxBytes int
	// algorithms are those that any issuer allows.
	algorithms jose.Algorithms
	issuers    []*issuer
	byName     map[string]*issuer
	// patterns are the issuers whose tenants are not listed.
	patterns []*issuer
	optional bool
	cache    *tokencache.Cache[*admission]
	ttl      time.Duration
	host     policy.Host
	refused  *refusal.Answers

	hits, misses policy.Counter
}

// OwnedRequestHeaders are those of every issuer's claimsToHeaders. See [policy.HeaderOwner].
func (v *Validator) OwnedRequestHeaders() []string {
	var names []string
	for _, i := range v.issuers {
		names = append(names, claims.HeaderNames(i.Mappings)...)
	}
	return names
}

// OnRequestHeaders lets the request pass, with the token's subject as its
// principal, or answers 400, 401 or 403. Where tokens are optional a request without one
// passes as it is. An error means that there are no keys of
// the token's issuer to verify it with, and never that there is something about the
// token.
func (v *Validator) OnRequestHeaders(ctx context.Context, req *policy.RequestContext) (policy.RequestAction, error) {
	m, err := v.admit(ctx, req)
	if err == nil {
		return m, nil
	}
	if v.optional && errors.Is(err, bearer.ErrNone) {
		if !bearer.Traces(req, v.places) {
			return nil, nil
		}
		err = refusal.ErrTraces
	}
	if r := v.refused.For(err); r != nil {
		return r, nil
	}
	return nil, err
}

// admit returns what is done to a request with a good token.
func (v *Validator) admit(ctx context.Context, req *policy.RequestContext) (*policy.RequestMutation, error) {
	token, at, err := bearer.Find(req, v.places)
	if err != nil {
		return nil, err
	}
	if len(token) > v.maxBytes {
		return nil, refusal.ErrTooLarge
	}
	now := v.host.Clock.Now()
	hash := v.cache.Hash(token)
	a, ok := v.cache.Get(hash, token, now)
	if ok && a.stands(now) {
		v.hits.Add(1)
		return a.answer(v, req, at), nil
	}
	v.misses.Add(1)
	if a, err = v.verify(ctx, token, now); err != nil {
		return nil, err
	}
	a.prepare(v, at)
	v.remember(hash, token, a, now)
	return a.answer(v, req, at), nil
}

// verify returns what becomes of a token that is an issuer's and good now.
func (v *Validator) verify(ctx context.Context, token string, now time.Time) (*admission, error) {
	t, err := jose.Parse(token, v.algorithms)
	if err != nil {
		return nil, err
	}
	// The issuer that the token says it is of: the signature, and the claims
	// once they have been verified, have to prove it.
	name, _ := t.Unverified("iss")
	i := v.issuer(name)
	if i == nil {
		return nil, claims.ErrIssuer
	}
	if err := i.CheckHeader(&t); err != nil {
		return nil, err
	}
	key, keys, err := i.Key(ctx, &t, now, i.every, i.wait)
	if err != nil {
		return nil, err
	}
	if err := t.Verify(key); err != nil {
		return nil, err
	}
	all, size, err := t.Claims()
	if err != nil {
		return nil, err
	}
	return i.admit(ctx, all, size, keys)
}

// issuer returns the issuer of that name, or nil. Nothing is fetched for a name that is
// none: the keys of all issuers are loaded by Start, and renewed, whatever requests say.
func (v *Validator) issuer(name string) *issuer {
	if i := v.byName[name]; i != nil {
		return i
	}
	for _, i := range v.patterns {
		if _, ok := i.pattern.tenant(name); ok {
			return i
		}
	}
	return nil
}

// remember keeps a in the cache, not beyond the token's time or the cache's own.
func (v *Validator) remember(hash tokencache.Hash, token string, a *admission, now time.Time) {
	if v.cache == nil {
		return
	}
	until := now.Add(v.ttl)
	if a.until.Before(until) {
		until = a.until
	}
	v.cache.Put(hash, token, a, a.size(), now, until)
}
