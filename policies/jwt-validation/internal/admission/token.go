package admission

import (
	"slices"
	"time"

	"policyengine.dev/policies/jwt-validation/internal/bearer"
	"policyengine.dev/policies/jwt-validation/internal/jose"
	"policyengine.dev/policies/jwt-validation/internal/keysource"
	"policyengine.dev/sdk/policy"
)

// Token is what is known of a token that is let pass. It must not be modified after it was
// given to [Admitter.Admit].
type Token struct {
	// Source is where the issuer's keys come from, and Keys is the set of the key that
	// verified the token. Under another set, the token is verified again: its key may
	// have been taken back.
	Source *keysource.Source
	Keys   *jose.KeySet
	// ClaimBytes is about how much memory the claims take.
	ClaimBytes int
	// Until is when the token ends.
	Until time.Time
	// Principal is the caller, and Set the headers that tell the upstream about it.
	Principal policy.Principal
	Set       []policy.Header

	// prepared is the answer to requests with the token in place preparedFor, if
	// isPrepared. Otherwise the answer depends on the request. It is a value, as
	// Principal is, so that a token is one piece of memory.
	prepared    policy.RequestMutation
	preparedFor int
	isPrepared  bool
}

// stands reports whether the keys that verified the token are still the issuer's, and
// recent enough.
func (t *Token) stands(now time.Time) bool {
	keys, err := t.Source.Keys(now)
	return err == nil && keys == t.Keys
}

// prepare makes the answer to requests with the token in place at, if it is the same for
// all of them.
func (t *Token) prepare(places []bearer.Place, forward bool, at int) {
	if forward || places[at].Static() {
		t.write(&t.prepared, places, forward, nil, at)
		t.preparedFor, t.isPrepared = at, true
	}
}

// answer returns the change to req, which has the token in place at.
func (t *Token) answer(places []bearer.Place, forward bool, req *policy.RequestContext, at int) *policy.RequestMutation {
	if t.isPrepared && t.preparedFor == at {
		return &t.prepared
	}
	m := &policy.RequestMutation{}
	t.write(m, places, forward, req, at)
	return m
}

// write makes m the answer to req, which may be nil if the answer does not depend on it.
func (t *Token) write(m *policy.RequestMutation, places []bearer.Place, forward bool, req *policy.RequestContext, at int) {
	// Clipped, so that what takes the token out is appended to a copy.
	m.Headers.Set = slices.Clip(t.Set)
	m.Principal = &t.Principal
	if !forward {
		places[at].Strip(req, m)
	}
}

// What a token takes beside claims and headers, about: itself, its mutation and its
// principal; a header; a string.
const (
	tokenBytes  = 1024
	headerBytes = 32
	stringBytes = 16
)

func (t *Token) size() int {
	n := tokenBytes + t.ClaimBytes + stringBytes*len(t.Principal.Scopes)
	for i := range t.Set {
		n += headerBytes + len(t.Set[i].Value)
	}
	return n
}
