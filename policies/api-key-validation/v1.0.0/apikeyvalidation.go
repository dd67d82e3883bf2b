// Package apikeyvalidation lets requests pass that carry a known API key, and says
// whose key it was. It knows the keys' SHA-256 hashes only.
package apikeyvalidation

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"

	"policyengine.dev/policies/api-key-validation/internal/digest"
	"policyengine.dev/policies/api-key-validation/internal/place"
	"policyengine.dev/sdk/policy"
)

// Policy is api-key-validation v1.0.0.
var Policy = policy.Define(New)

// The reasons with which a request is turned away, both with status 401.
const (
	// ReasonMissing: the request carries no key.
	ReasonMissing = "API_KEY_MISSING"
	// ReasonInvalid: it carries an unknown key, or more than one.
	ReasonInvalid = "API_KEY_INVALID"
)

// Params are the policy's parameters: see policy.yaml.
type Params struct {
	// Header and Query name where the key is; one of them at least.
	Header policy.HeaderName `json:"header"`
	Query  string            `json:"query"`
	Keys   []Key             `json:"keys"`
	// ForwardKey leaves the key in the request that the upstream sees.
	ForwardKey bool `json:"forwardKey"`
	// IDHeader is the header that tells the upstream the key's id; empty for
	// none.
	IDHeader policy.HeaderName `json:"idHeader"`
}

// Key is one API key that is let in.
type Key struct {
	// ID names the key's owner. It is not a secret.
	ID string `json:"id"`
	// SHA256 is the hash of the key, 64 hexadecimal digits.
	SHA256 string `json:"sha256"`
}

// Validator checks API keys. It is immutable.
type Validator struct {
	places   *place.Places
	idHeader string // empty for none
	digests  []digest.Digest
	// admitted holds, for each digest, the answer to a request with that key.
	admitted []*policy.RequestMutation

	missing, invalid, repeated *policy.ImmediateResponse
}

// OwnedRequestHeaders are that of idHeader, where there is one. See [policy.HeaderOwner].
func (v *Validator) OwnedRequestHeaders() []string {
	if v.idHeader == "" {
		return nil
	}
	return []string{v.idHeader}
}

// OnRequestHeaders lets the request pass, with the key's id as its principal, or
// answers 401.
func (v *Validator) OnRequestHeaders(_ context.Context, req *policy.RequestContext) (policy.RequestAction, error) {
	key, count := v.places.Find(req)
	switch {
	case count > 1:
		// An upstream may read another one of them than was checked here.
		return v.repeated, nil
	case key == "":
		return v.missing, nil
	case len(key) > place.MaxKeyLength:
		return v.invalid, nil
	}
	if i := v.find(key); i >= 0 {
		return v.admitted[i], nil
	}
	return v.invalid, nil
}

// find returns the index of key, or -1. It looks at all hashes whatever it finds,
// so that the time tells nothing about which key, or how much of one, was right.
func (v *Validator) find(key string) int {
	h := digest.Of(key)
	found := -1
	for i := range v.digests {
		found = subtle.ConstantTimeSelect(h.Equal(&v.digests[i]), i, found)
	}
	return found
}

// New refuses, with every problem at once: no place where the key would be, no
// keys, ids and hashes that are not valid or not unique, the hash of the empty
// string, and headers that a policy may not change.
func New(p Params, _ policy.Host) (*Validator, error) {
	places := place.Params{Header: string(p.Header), Query: p.Query}
	v := &Validator{places: place.New(places), idHeader: string(p.IDHeader)}
	problems := v.readKeys(p.Keys)
	problems = append(problems, checkPlaces(p, places)...)
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	for _, k := range p.Keys {
		v.admitted = append(v.admitted, v.admit(p, k.ID))
	}
	challenges := places.Challenges()
	v.missing = policy.Reject(401, ReasonMissing, "An API key is required.", challenges...)
	v.invalid = policy.Reject(401, ReasonInvalid, "The API key is not valid.", challenges...)
	v.repeated = policy.Reject(401, ReasonInvalid, "The request has more than one API key.", challenges...)
	return v, nil
}

func checkPlaces(p Params, places place.Params) (problems []error) {
	if p.Header == "" && p.Query == "" {
		problems = append(problems, errors.New("header, query: give at least one of them, so that the key can be found"))
	}
	problems = append(problems, places.Check()...)
	if p.IDHeader != "" {
		if err := policy.CheckHeaderEdit(string(p.IDHeader)); err != nil {
			problems = append(problems, fmt.Errorf("idHeader: %q %w", p.IDHeader, err))
		}
		if policy.AlikeHeaderNames(string(p.IDHeader), string(p.Header)) {
			problems = append(problems, fmt.Errorf("idHeader: %q is the header of the key", p.IDHeader))
		}
	}
	return problems
}

// readKeys never quotes a hash: whoever chose a weak key could have it guessed from
// a log.
func (v *Validator) readKeys(keys []Key) (problems []error) {
	if len(keys) == 0 {
		problems = append(problems, errors.New("keys: at least one is needed"))
	}
	ids := make(map[string]int, len(keys))
	hashes := make(map[digest.Digest]int, len(keys))
	for i, k := range keys {
		if k.ID == "" || !policy.ValidHeaderValue(k.ID) {
			problems = append(problems, fmt.Errorf("keys[%d].id: it is empty or has control characters", i))
		} else if first, ok := ids[k.ID]; ok {
			problems = append(problems, fmt.Errorf("keys[%d].id: %q is the id of keys[%d] already", i, k.ID, first))
		} else {
			ids[k.ID] = i
		}
		hash, err := digest.Parse(k.SHA256)
		if err != nil {
			problems = append(problems, fmt.Errorf("keys[%d].sha256: %w", i, err))
			continue
		}
		if hash == digest.OfNothing {
			problems = append(problems, fmt.Errorf("keys[%d].sha256: it is the hash of the empty string", i))
		}
		if first, ok := hashes[hash]; ok {
			problems = append(problems, fmt.Errorf("keys[%d].sha256: it is the hash of keys[%d] already", i, first))
			continue
		}
		hashes[hash] = i
		v.digests = append(v.digests, hash)
	}
	return problems
}

func (v *Validator) admit(p Params, id string) *policy.RequestMutation {
	m := &policy.RequestMutation{Principal: &policy.Principal{Subject: id}}
	if !p.ForwardKey {
		v.places.Strip(nil, m) // without a scheme and a cookie it is the same for every request
	}
	if p.IDHeader != "" {
		m.Headers.Set = append(m.Headers.Set, policy.Header{Name: string(p.IDHeader), Value: id})
	}
	return m
}
