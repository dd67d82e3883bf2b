package jwtvalidation

import (
	"context"
	"time"

	"policyengine.dev/policies/jwt-validation/internal/admission"
	"policyengine.dev/policies/jwt-validation/internal/claims"
	"policyengine.dev/policies/jwt-validation/internal/jose"
	"policyengine.dev/policies/jwt-validation/internal/refusal"
	"policyengine.dev/sdk/policy"
)

// Policy is jwt-validation v2.0.0.
var Policy = policy.Define(New)

// Validator verifies tokens of several issuers. Safe for concurrent use.
type Validator struct {
	admitter *admission.Admitter
	// algorithms are those that any issuer allows.
	algorithms jose.Algorithms
	issuers    []*issuer
	byName     map[string]*issuer
	host       policy.Host
	refused    *refusal.Answers
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
// principal, or answers 400, 401 or 403. An error means that there are no keys of
// the token's issuer to verify it with, and never that there is something about the
// token.
func (v *Validator) OnRequestHeaders(ctx context.Context, req *policy.RequestContext) (policy.RequestAction, error) {
	m, err := v.admitter.Admit(ctx, req)
	if err == nil {
		return m, nil
	}
	if r := v.refused.For(err); r != nil {
		return r, nil
	}
	return nil, err
}

// verify returns what becomes of a token that is an issuer's and good now.
func (v *Validator) verify(ctx context.Context, token string, now time.Time) (*admission.Token, error) {
	t, err := jose.Parse(token, v.algorithms)
	if err != nil {
		return nil, err
	}
	// The issuer that the token says it is of: the signature, and the claims
	// once they have been verified, have to prove it.
	name, _ := t.Unverified("iss")
	i, ok := v.byName[name]
	if !ok {
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
