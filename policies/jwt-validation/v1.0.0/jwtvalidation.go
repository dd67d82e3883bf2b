package jwtvalidation

import (
	"context"
	"time"

	"policyengine.dev/policies/jwt-validation/internal/bearer"
	"policyengine.dev/policies/jwt-validation/internal/claims"
	"policyengine.dev/policies/jwt-validation/internal/jose"
	"policyengine.dev/policies/jwt-validation/internal/keysource"
	"policyengine.dev/sdk/policy"
)

// Policy is jwt-validation v1.0.0.
var Policy = policy.Define(New)

// Validator verifies tokens of one issuer. Safe for concurrent use.
type Validator struct {
	sources    []bearer.Place
	forward    bool
	maxBytes   int
	algorithms jose.Algorithms
	types      []string
	place      string // of keys
	keys       *keysource.Source
	rules      *claims.Rules
	mappings   []claims.Mapping
	now        func() time.Time
	// refused has the answer to each error that is the client's.
	refused map[error]*policy.ImmediateResponse
}

// Start loads the issuer's keys and keeps them up to date from then on. Until that
// has succeeded once, every request is an error. See [policy.Starter].
func (v *Validator) Start(ctx context.Context) error { return v.keys.Start(ctx) }

// Adopt takes over the keys of the instance before, where they come from the same URL
// or file. See [policy.Adopter].
func (v *Validator) Adopt(old any) {
	if before, ok := old.(keysource.Holder); ok {
		v.keys.Adopt(before.KeySource(v.place))
	}
}

// KeySource implements [keysource.Holder].
func (v *Validator) KeySource(place string) *keysource.Source {
	if place != v.place {
		return nil
	}
	return v.keys
}

// Close ends what keeps the keys up to date.
func (v *Validator) Close() error {
	v.keys.Close()
	return nil
}

// OwnedRequestHeaders are those of claimsToHeaders. See [policy.HeaderOwner].
func (v *Validator) OwnedRequestHeaders() []string { return claims.HeaderNames(v.mappings) }

// OnRequestHeaders lets the request pass, with the token's subject as its
// principal, or answers 400, 401 or 403. An error means that there are no keys to
// verify a token with, and never that there is something about the token.
func (v *Validator) OnRequestHeaders(_ context.Context, req *policy.RequestContext) (policy.RequestAction, error) {
	m, err := v.admit(req)
	if err == nil {
		return m, nil
	}
	if r, ok := v.refused[err]; ok {
		return r, nil
	}
	return nil, err
}

// admit returns what is done to a request with a good token.
func (v *Validator) admit(req *policy.RequestContext) (*policy.RequestMutation, error) {
	token, at, err := bearer.Find(req, v.sources)
	if err != nil {
		return nil, err
	}
	set, err := v.verify(token)
	if err != nil {
		return nil, err
	}
	headers, err := claims.Headers(v.mappings, set.All())
	if err != nil {
		return nil, err
	}
	m := &policy.RequestMutation{
		Headers: policy.HeaderMutation{Set: headers},
		Principal: &policy.Principal{
			Subject: set.Subject(),
			Issuer:  set.Issuer(),
			Scopes:  set.Scopes(),
			Claims:  set.All(),
		},
	}
	if !v.forward {
		v.sources[at].Strip(req, m)
	}
	return m, nil
}

// verify returns the claims of a token that is the issuer's and good now.
func (v *Validator) verify(token string) (*claims.Set, error) {
	if len(token) > v.maxBytes {
		return nil, errTooLarge
	}
	t, err := jose.Parse(token, v.algorithms)
	if err != nil {
		return nil, err
	}
	if len(v.types) > 0 && !jose.TypeIs(t.Type, v.types) {
		return nil, errType
	}
	keys, err := v.keys.Keys(v.now())
	if err != nil {
		return nil, err
	}
	key := keys.Find(t.KeyID, t.Algorithm)
	if key == nil {
		return nil, errKeyUnknown
	}
	if err := t.Verify(key); err != nil {
		return nil, err
	}
	all, _, err := t.Claims()
	if err != nil {
		return nil, err
	}
	set, err := claims.New(all)
	if err != nil {
		return nil, err
	}
	return set, v.rules.Check(set)
}
