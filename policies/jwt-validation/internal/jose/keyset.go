package jose

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// MaxKeys is the number of keys that a set may have.
const MaxKeys = 128

// KeySet is a set of keys. It is immutable and safe for concurrent use; the zero
// value is empty.
type KeySet struct{ keys []*Key }

// NewKeySet returns the set of keys. Two different keys that a token could not tell
// apart (the same "kid", or none, and a common algorithm) make neither usable for it,
// and are an error. The same key may be listed several times.
func NewKeySet(keys ...*Key) (*KeySet, error) {
	for i, a := range keys {
		for _, b := range keys[:i] {
			if a.id == b.id && a.algorithms&b.algorithms != 0 && !a.public.Equal(b.public) {
				return nil, fmt.Errorf("two keys with the kid %q are both for %s: tokens cannot say which they mean", a.id, a.algorithms&b.algorithms)
			}
		}
	}
	return &KeySet{keys: keys}, nil
}

// Keys returns the set's keys, which the caller must not modify.
func (s *KeySet) Keys() []*Key { return s.keys }

// Equal reports whether both sets have equal keys in the same order.
func (s *KeySet) Equal(o *KeySet) bool {
	if s == nil || o == nil || len(s.keys) != len(o.keys) {
		return s == o
	}
	for i := range s.keys {
		if !s.keys[i].equal(o.keys[i]) {
			return false
		}
	}
	return true
}

// Find returns the one key for a token with that "kid" and algorithm, or nil.
//
// With a kid it is the key of that kid, or, where no key has it, a key without
// one. Without a kid it is any key for the algorithm. Where several different keys
// would do there is no answer: OpenID Connect Core, section 10.1, has an issuer with
// several keys name the key, and trying them all would let a token choose how much
// work it makes. One key that is listed several times is one key.
func (s *KeySet) Find(id string, a Algorithm) *Key {
	var named, unnamed choice
	for _, k := range s.keys {
		switch {
		case !k.algorithms.Has(a):
		case id == "" || k.id == id:
			named.add(k)
		case k.id == "":
			unnamed.add(k)
		}
	}
	if named.key != nil {
		return named.only()
	}
	return unnamed.only()
}

// choice is the first of some keys, and whether another one differs from it.
type choice struct {
	key       *Key
	ambiguous bool
}

func (c *choice) add(k *Key) {
	if c.key == nil {
		c.key = k
	} else if !c.key.public.Equal(k.public) {
		c.ambiguous = true
	}
}

// only is the one key, or nil where there is none or more than one.
func (c *choice) only() *Key {
	if c.ambiguous {
		return nil
	}
	return c.key
}

// Knows reports whether a key has that "kid".
func (s *KeySet) Knows(id string) bool {
	for _, k := range s.keys {
		if k.id == id {
			return true
		}
	}
	return false
}

// byteOrderMark is what some servers put in front of JSON (RFC 8259, section 8.1).
const byteOrderMark = "\xef\xbb\xbf"

// ParseJWKS reads a JWK Set (RFC 7517, section 5). Keys that cannot be used are
// left out, as that section has it, and told in skipped, for the log. A set without
// any key that can be used is a set: an issuer that has taken all its keys back
// publishes one.
func ParseJWKS(data []byte) (set *KeySet, skipped []error, err error) {
	var doc struct {
		Keys *[]json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(bytes.TrimPrefix(data, []byte(byteOrderMark)), &doc) != nil || doc.Keys == nil {
		return nil, nil, errors.New(`reading a JWK Set: not a JSON object with an array "keys"`)
	}
	if n := len(*doc.Keys); n > MaxKeys {
		return nil, nil, fmt.Errorf("reading a JWK Set: %d keys, more than %d", n, MaxKeys)
	}
	var keys []*Key
	for i, raw := range *doc.Keys {
		k, err := ParseJWK(raw)
		if err != nil {
			skipped = append(skipped, fmt.Errorf("key %d: %w", i, err))
			continue
		}
		keys = append(keys, k)
	}
	set, err = NewKeySet(keys...)
	if err != nil {
		// An issuer's mistake with one key is not to stop the others: Find
		// answers nothing for those that cannot be told apart.
		return &KeySet{keys: keys}, append(skipped, err), nil
	}
	return set, skipped, nil
}
