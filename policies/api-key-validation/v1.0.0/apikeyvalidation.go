// Package apikeyvalidation lets requests pass that carry a known API key, and says
// whose key it was. It knows the keys' SHA-256 hashes only.
package apikeyvalidation

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"policyengine.dev/policies/internal/readings"
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

// maxKeyLength bounds what is hashed for a request.
const maxKeyLength = 4096

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
	// ID names the key's owner. It is no secret.
	ID string `json:"id"`
	// SHA256 is the hash of the key, 64 hexadecimal digits.
	SHA256 string `json:"sha256"`
}

// Validator checks API keys. It is immutable.
type Validator struct {
	header, query string
	queryName     readings.Name
	idHeader      string // empty for none
	digests       []digest
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
	header, inHeader := v.inHeader(req)
	query, inQuery := v.inQuery(req)
	key := header
	if key == "" {
		key = query
	}
	switch {
	case inHeader+inQuery > 1:
		// An upstream may read another one of them than was checked here.
		return v.repeated, nil
	case key == "":
		return v.missing, nil
	case len(key) > maxKeyLength:
		return v.invalid, nil
	}
	if i := v.find(key); i >= 0 {
		return v.admitted[i], nil
	}
	return v.invalid, nil
}

// inHeader returns the key in the header, and how many keys some server finds there. An
// empty field is no key, but two fields are two.
func (v *Validator) inHeader(req *policy.RequestContext) (key string, count int) {
	if v.header == "" {
		return "", 0
	}
	count = readings.InHeaders(req.Headers(), v.header)
	key, ok := req.Headers().Lookup(v.header)
	if count == 1 && ok && key == "" {
		return "", 0
	}
	return key, count
}

// inQuery is inHeader for the query.
func (v *Validator) inQuery(req *policy.RequestContext) (key string, count int) {
	raw := req.RawQuery()
	if v.query == "" || raw == "" {
		return "", 0
	}
	count = v.queryName.InQuery(raw)
	key, ok := req.Query(v.query)
	if count == 1 && ok && key == "" {
		return "", 0
	}
	return key, count
}

// find returns the index of key, or -1. It looks at all hashes whatever it finds,
// so that the time tells nothing about which key, or how much of one, was right.
func (v *Validator) find(key string) int {
	var room [256]byte // keeps ordinary keys off the heap
	h := newDigest(sha256.Sum256(append(room[:0], key...)))
	found := -1
	for i := range v.digests {
		found = subtle.ConstantTimeSelect(h.equal(&v.digests[i]), i, found)
	}
	return found
}

// digest is a SHA-256 hash in words: comparing those takes a tenth of what
// subtle.ConstantTimeCompare does, which counts with hundreds of keys.
type digest [4]uint64

func newDigest(hash [sha256.Size]byte) (d digest) {
	for i := range d {
		d[i] = binary.BigEndian.Uint64(hash[8*i:])
	}
	return d
}

// equal returns 1 or 0, in a time that does not depend on the digests.
func (d *digest) equal(o *digest) int {
	diff := (d[0] ^ o[0]) | (d[1] ^ o[1]) | (d[2] ^ o[2]) | (d[3] ^ o[3])
	// The highest bit of diff|-diff is set where any bit of diff is.
	return int((diff|-diff)>>63 ^ 1)
}

// New refuses, with every problem at once: no place where the key would be, no
// keys, ids and hashes that are not valid or not unique, the hash of the empty
// string, and headers that a policy may not change.
func New(p Params, _ policy.Host) (*Validator, error) {
	v := &Validator{header: string(p.Header), query: p.Query, queryName: readings.NewName(p.Query), idHeader: string(p.IDHeader)}
	problems := v.readKeys(p.Keys)
	problems = append(problems, checkPlaces(p)...)
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	for _, k := range p.Keys {
		v.admitted = append(v.admitted, admit(p, k.ID))
	}
	challenges := challenges(p)
	v.missing = policy.Reject(401, ReasonMissing, "An API key is required.", challenges...)
	v.invalid = policy.Reject(401, ReasonInvalid, "The API key is not valid.", challenges...)
	v.repeated = policy.Reject(401, ReasonInvalid, "More than one API key is given.", challenges...)
	return v, nil
}

func checkPlaces(p Params) (problems []error) {
	if p.Header == "" && p.Query == "" {
		problems = append(problems, errors.New("header, query: give at least one of them, so that the key can be found"))
	}
	if p.Header != "" {
		if err := policy.CheckHeaderEdit(string(p.Header)); err != nil {
			problems = append(problems, fmt.Errorf("header: %q %w", p.Header, err))
		}
	}
	// The name is in a header of the response.
	if p.Query != "" && !policy.ValidHeaderName(p.Query) {
		problems = append(problems, fmt.Errorf("query: %q has other characters than letters, digits and !#$%%&'*+-.^_`|~", p.Query))
	}
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
	hashes := make(map[[sha256.Size]byte]int, len(keys))
	ofNothing := sha256.Sum256(nil)
	for i, k := range keys {
		if k.ID == "" || !policy.ValidHeaderValue(k.ID) {
			problems = append(problems, fmt.Errorf("keys[%d].id: it is empty or has control characters", i))
		} else if first, ok := ids[k.ID]; ok {
			problems = append(problems, fmt.Errorf("keys[%d].id: %q is the id of keys[%d] already", i, k.ID, first))
		} else {
			ids[k.ID] = i
		}
		var hash [sha256.Size]byte
		if len(k.SHA256) != hex.EncodedLen(len(hash)) {
			problems = append(problems, fmt.Errorf("keys[%d].sha256: it has %d characters, not 64 hexadecimal digits", i, len(k.SHA256)))
			continue
		}
		if _, err := hex.Decode(hash[:], []byte(k.SHA256)); err != nil {
			problems = append(problems, fmt.Errorf("keys[%d].sha256: it has other characters than hexadecimal digits", i))
			continue
		}
		if hash == ofNothing {
			problems = append(problems, fmt.Errorf("keys[%d].sha256: it is the hash of the empty string", i))
		}
		if first, ok := hashes[hash]; ok {
			problems = append(problems, fmt.Errorf("keys[%d].sha256: it is the hash of keys[%d] already", i, first))
			continue
		}
		hashes[hash] = i
		v.digests = append(v.digests, newDigest(hash))
	}
	return problems
}

func admit(p Params, id string) *policy.RequestMutation {
	m := &policy.RequestMutation{Principal: &policy.Principal{Subject: id}}
	if !p.ForwardKey && p.Header != "" {
		m.Headers.Remove = append(m.Headers.Remove, string(p.Header))
	}
	if !p.ForwardKey && p.Query != "" {
		m.Query.Remove = append(m.Query.Remove, p.Query)
	}
	if p.IDHeader != "" {
		m.Headers.Set = append(m.Headers.Set, policy.Header{Name: string(p.IDHeader), Value: id})
	}
	return m
}

// challenges are what RFC 9110, section 15.5.2, asks of every 401.
func challenges(p Params) (hs []policy.Header) {
	add := func(in, name string) {
		hs = append(hs, policy.Header{Name: "www-authenticate", Value: fmt.Sprintf("ApiKey in=%q, name=%q", in, name)})
	}
	if p.Header != "" {
		add("header", string(p.Header))
	}
	if p.Query != "" {
		add("query", p.Query)
	}
	return hs
}
