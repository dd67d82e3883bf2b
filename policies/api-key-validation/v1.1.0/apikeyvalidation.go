// Package apikeyvalidation lets requests pass that carry a known API key, and says whose
// key it was and what it is good for. It knows hashes of the keys only, which stand in the
// parameters, a file or a directory. It is api-key-validation v1.1.0.
package apikeyvalidation

import (
	"context"
	"errors"
	"fmt"

	"policyengine.dev/policies/api-key-validation/internal/digest"
	"policyengine.dev/policies/api-key-validation/internal/place"
	"policyengine.dev/sdk/policy"
)

// Policy is api-key-validation v1.1.0.
var Policy = policy.Define(New)

// The reasons with which a request is turned away.
const (
	// ReasonMissing (401): the request carries no key.
	ReasonMissing = "API_KEY_MISSING"
	// ReasonInvalid (401): it carries an unknown key, or more than one.
	ReasonInvalid = "API_KEY_INVALID"
	// ReasonExpired (401): the key is good no more.
	ReasonExpired = "API_KEY_EXPIRED"
	// ReasonNotYetValid (401): the key is not good yet.
	ReasonNotYetValid = "API_KEY_NOT_YET_VALID"
	// ReasonScope (403): the key lacks a scope.
	ReasonScope = "API_KEY_SCOPE_INSUFFICIENT"
)

// Validator checks API keys. Safe for concurrent use.
type Validator struct {
	places   *place.Places
	forward  bool
	idHeader string // empty for none
	scopes   ScopeParams
	clock    policy.Clock
	inline   *table // nil where store has the keys
	store    *store
	peppers  []pepper
	// removed are the changes that take the key out of a request, where they are the
	// same for every one.
	removed *policy.RequestMutation

	missing, invalid, repeated, expired, early, scope *policy.ImmediateResponse
}

// New refuses, with every problem at once, parameters under which no key could be found,
// and keys that are not valid or not unique. It does no I/O: keys of a file are read by
// Start.
func New(p Params, host policy.Host) (*Validator, error) {
	problems := problemList{problems: p.check()}
	v := &Validator{
		places: place.New(p.places()), forward: p.ForwardKey, idHeader: string(p.IDHeader), scopes: p.Scopes,
		clock: host.Clock, peppers: make([]pepper, len(p.Peppers)),
	}
	if p.KeysFrom == nil {
		v.inline = newTable()
		for i := range p.Keys {
			for _, err := range v.inline.add(&p.Keys[i], len(p.Peppers) > 0) {
				problems.add(fmt.Errorf("keys[%d]%w", i, err))
			}
		}
	}
	if err := problems.err(); err != nil {
		return nil, err
	}
	for i, s := range p.Peppers {
		v.peppers[i].source = host.Secrets.Open(s)
	}
	if !v.forward && v.places.Static() {
		v.removed = &policy.RequestMutation{}
		v.places.Strip(nil, v.removed)
	}
	v.prepareAnswers(p.places().Challenges())
	if p.KeysFrom == nil {
		return v, nil
	}
	var err error
	v.store, err = openStore(p.KeysFrom, len(p.Peppers) > 0, host)
	return v, err
}

func (v *Validator) prepareAnswers(challenges []policy.Header) {
	answer := func(status int, reason, detail string) *policy.ImmediateResponse {
		return policy.Reject(status, reason, detail, challenges...)
	}
	v.missing = answer(401, ReasonMissing, "An API key is required.")
	v.invalid = answer(401, ReasonInvalid, "The API key is not valid.")
	v.repeated = answer(401, ReasonInvalid, "The request has more than one API key.")
	v.expired = answer(401, ReasonExpired, "The API key has expired.")
	v.early = answer(401, ReasonNotYetValid, "The API key is not valid yet.")
	v.scope = policy.Reject(403, ReasonScope, "The API key does not permit this request.")
}

// OwnedRequestHeaders are that of idHeader, where there is one. See [policy.HeaderOwner].
func (v *Validator) OwnedRequestHeaders() []string {
	if v.idHeader == "" {
		return nil
	}
	return []string{v.idHeader}
}

// Start reads the keys and the peppers. See [policy.Starter].
func (v *Validator) Start(context.Context) error {
	var problems []error
	for i := range v.peppers {
		if _, err := v.peppers[i].hash(""); err != nil {
			problems = append(problems, err)
		}
	}
	if v.store != nil {
		problems = append(problems, v.store.start())
	}
	return errors.Join(problems...)
}

// OnRequestHeaders lets the request pass, with the owner of its key as its principal, or
// answers 401 or 403. An error means that the keys or a pepper have not been loaded, and
// never that there is something about the key.
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
	e, err := v.find(key)
	switch {
	case err != nil:
		return nil, err
	case e == nil:
		return v.invalid, nil
	}
	if refused := v.judge(e); refused != nil {
		return refused, nil
	}
	return v.admit(e, req), nil
}

// find returns the entry of key, or nil.
func (v *Validator) find(key string) (*entry, error) {
	t := v.inline
	if v.store != nil {
		var err error
		if t, err = v.store.table(); err != nil {
			return nil, err
		}
	}
	var found *entry
	if t.hashed > 0 {
		d := digest.Of(key)
		found = t.find(&d, false)
	}
	if t.peppered == 0 {
		return found, nil
	}
	// All of them, whichever fits, so that the time does not tell which one it was.
	for i := range v.peppers {
		d, err := v.peppers[i].hash(key)
		if err != nil {
			return nil, err
		}
		if e := t.find(&d, true); e != nil {
			found = e
		}
	}
	return found, nil
}

// judge returns the answer to a request with a known key that may not pass, or nil.
func (v *Validator) judge(e *entry) *policy.ImmediateResponse {
	switch {
	case !e.expires.IsZero() && !v.clock.Now().Before(e.expires):
		return because(v.expired, e)
	case !e.notBefore.IsZero() && v.clock.Now().Before(e.notBefore):
		return because(v.early, e)
	case !v.scopes.heldBy(e.principal.Scopes):
		return because(v.scope, e)
	}
	return nil
}

// because tells the operator whose key it was.
func because(prepared *policy.ImmediateResponse, e *entry) *policy.ImmediateResponse {
	answer := *prepared
	answer.Cause = "the key is that of " + e.principal.Subject
	return &answer
}

// admission is what is done to a request, in one piece of memory.
type admission struct {
	policy.RequestMutation
	id [1]policy.Header
}

func (v *Validator) admit(e *entry, req *policy.RequestContext) *policy.RequestMutation {
	a := &admission{}
	m := &a.RequestMutation
	m.Principal = &e.principal
	if v.idHeader != "" {
		a.id[0] = policy.Header{Name: v.idHeader, Value: e.principal.Subject}
		m.Headers.Set = a.id[:]
	}
	switch {
	case v.removed != nil:
		m.Headers.Remove, m.Query.Remove = v.removed.Headers.Remove, v.removed.Query.Remove
	case !v.forward:
		v.places.Strip(req, m)
	}
	return m
}
