package jwtvalidation

import (
	"context"
	"time"

	"policyengine.dev/policies/jwt-validation/internal/bearer"
	"policyengine.dev/policies/jwt-validation/internal/claims"
	"policyengine.dev/policies/jwt-validation/internal/jose"
	"policyengine.dev/policies/jwt-validation/internal/keysource"
	"policyengine.dev/policies/jwt-validation/internal/refusal"
	"policyengine.dev/policies/jwt-validation/internal/settings"
	"policyengine.dev/sdk/policy"
)

// Policy is jwt-validation v1.0.0.
var Policy = policy.Define(New)

// Validator verifies tokens of one issuer. Safe for concurrent use.
type Validator struct {
	places   []bearer.Place
	forward  bool
	maxBytes int
	trust    *settings.Trust
	refused  *refusal.Answers
	now      func() time.Time
}

// Start loads the issuer's keys and keeps them up to date from then on. Until that
// has succeeded once, every request is an error. See [policy.Starter].
func (v *Validator) Start(ctx context.Context) error { return v.trust.Keys.Start(ctx) }

// Adopt takes over the keys of the instance before, where they come from the same URL
// or file. See [policy.Adopter].
func (v *Validator) Adopt(old any) {
	if before, ok := old.(keysource.Holder); ok {
		v.trust.Keys.Adopt(before.KeySource(v.trust.Place))
	}
}

// KeySource implements [keysource.Holder].
func (v *Validator) KeySource(place string) *keysource.Source {
	if place != v.trust.Place {
		return nil
	}
	return v.trust.Keys
}

// OwnedRequestHeaders are those of claimsToHeaders. See [policy.HeaderOwner].
func (v *Validator) OwnedRequestHeaders() []string { return claims.HeaderNames(v.trust.Mappings) }

// OnRequestHeaders lets the request pass, with the token's subject as its
// principal, or answers 400, 401 or 403. An error means that there are no keys to
// verify a token with, and never that there is something about the token.
func (v *Validator) OnRequestHeaders(_ context.Context, req *policy.RequestContext) (policy.RequestAction, error) {
	m, err := v.admit(req)
	if err == nil {
		return m, nil
	}
	if r := v.refused.For(err); r != nil {
		return r, nil
	}
	return nil, err
}

// admit returns what is done to a request with a good token.
func (v *Validator) admit(req *policy.RequestContext) (*policy.RequestMutation, error) {
	token, at, err := bearer.Find(req, v.places)
	if err != nil {
		return nil, err
	}
	set, err := v.verify(token)
	if err != nil {
		return nil, err
	}
	headers, err := claims.Headers(v.trust.Mappings, set.All())
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
		v.places[at].Strip(req, m)
	}
	return m, nil
}

// verify returns the claims of a token that is the issuer's and good now.
func (v *Validator) verify(token string) (*claims.Set, error) {
	if len(token) > v.maxBytes {
		return nil, refusal.ErrTooLarge
	}
	t, err := jose.Parse(token, v.trust.Algorithms)
	if err != nil {
		return nil, err
	}
	if err := v.trust.CheckHeader(&t); err != nil {
		return nil, err
	}
	keys, err := v.trust.Keys.Keys(v.now())
	if err != nil {
		return nil, err
	}
	key := keys.Find(t.KeyID, t.Algorithm)
	if key == nil {
		return nil, refusal.ErrKeyUnknown
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
	return set, v.trust.Rules.Check(set)
}
