package jwtvalidation

import (
	"slices"
	"time"

	"policyengine.dev/policies/jwt-validation/internal/jose"
	"policyengine.dev/sdk/policy"
)

// admission is what is known of a token that was let pass. It is immutable once it
// is in the cache.
type admission struct {
	issuer *issuer
	// keys is the set that the key was of. Under another set, however little
	// differs, the token is verified again: its key may have been taken back.
	keys      *jose.KeySet
	claims    int // what they take, in bytes
	until     time.Time
	principal policy.Principal
	set       []policy.Header

	// prepared is the answer to requests with the token in source preparedFor,
	// where isPrepared; else the answer depends on the request. It is here by
	// value, as principal is, so that all is one piece of memory.
	prepared    policy.RequestMutation
	preparedFor int
	isPrepared  bool
}

// stands reports whether the keys that the token was verified with are still the
// issuer's, and recent enough.
func (a *admission) stands(now time.Time) bool {
	keys, err := a.issuer.Keys.Keys(now)
	return err == nil && keys == a.keys
}

// prepare makes the answer to requests with the token in source at, where it is the
// same for all of them.
func (a *admission) prepare(v *Validator, at int) {
	if v.forward || v.places[at].Static() {
		a.write(&a.prepared, v, nil, at)
		a.preparedFor, a.isPrepared = at, true
	}
}

// answer is what is done to req, which has the token in source at.
func (a *admission) answer(v *Validator, req *policy.RequestContext, at int) *policy.RequestMutation {
	if a.isPrepared && a.preparedFor == at {
		return &a.prepared
	}
	m := &policy.RequestMutation{}
	a.write(m, v, req, at)
	return m
}

// write makes m the answer to req, which may be nil where it does not matter.
func (a *admission) write(m *policy.RequestMutation, v *Validator, req *policy.RequestContext, at int) {
	// Clipped, so that what takes the token out is appended to a copy.
	m.Headers.Set = slices.Clip(a.set)
	m.Principal = &a.principal
	if !v.forward {
		v.places[at].Strip(req, m)
	}
}

// What an admission takes beside claims and headers, about: itself, its mutation
// and its principal; a header; a string.
const (
	admissionBytes = 1024
	headerBytes    = 32
	stringBytes    = 16
)

func (a *admission) size() int {
	n := admissionBytes + a.claims + stringBytes*len(a.principal.Scopes)
	for i := range a.set {
		n += headerBytes + len(a.set[i].Value)
	}
	return n
}
