package apikeyvalidation

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"time"

	"policyengine.dev/policies/api-key-validation/internal/digest"
	"policyengine.dev/sdk/policy"
)

const (
	// maxKeys bounds the keys of one place.
	maxKeys = 200_000
	// maxProblems bounds the problems that are told at once.
	maxProblems = 20
)

// table are the keys of one version of their place. Immutable.
//
// A key is found by a hash of its digest with a random seed, and then compared whole in a
// time that does not depend on the digests: the time of a look-up tells nothing of the
// digests that are there.
type table struct {
	seed    maphash.Seed
	entries []entry
	// first has, for each seeded hash, 1 + the index of its first entry.
	first map[uint64]int32
	// hashed and peppered are the numbers of entries of either kind.
	hashed, peppered int
}

// entry is one key.
type entry struct {
	digest digest.Digest
	// next is 1 + the index of the next entry with the same seeded hash, 0 for none.
	next int32
	// peppered says that digest is an HMAC.
	peppered bool
	// notBefore and expires are zero for no bound.
	notBefore, expires time.Time
	principal          policy.Principal
}

func newTable() *table { return &table{seed: maphash.MakeSeed(), first: map[uint64]int32{}} }

func (t *table) slot(d *digest.Digest) uint64 {
	var raw [32]byte
	for i, word := range d {
		binary.LittleEndian.PutUint64(raw[8*i:], word)
	}
	return maphash.Bytes(t.seed, raw[:])
}

// find returns the entry with the digest, or nil.
func (t *table) find(d *digest.Digest, peppered bool) *entry {
	var found *entry
	for at := t.first[t.slot(d)]; at != 0; {
		e := &t.entries[at-1]
		if e.digest.Equal(d) == 1 && e.peppered == peppered {
			found = e
		}
		at = e.next
	}
	return found
}

// add adds a key, or returns what is wrong with it, each problem with the field in front.
// Nothing quotes a hash: whoever chose a weak key could have it guessed from a log.
func (t *table) add(k *Key, peppers bool) (problems []error) {
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if !validID(k.ID) {
		problem(".id: it is not 1 to %d printable ASCII characters, the first and last no spaces", maxIDLength)
	}
	e := entry{notBefore: k.NotBefore, expires: k.Expires, principal: policy.Principal{Subject: k.ID, Scopes: k.Scopes}}
	field, text := ".sha256", k.SHA256
	if k.HMACSHA256 != "" {
		field, text, e.peppered = ".hmacSha256", k.HMACSHA256, true
	}
	var err error
	switch {
	case (k.SHA256 == "") == (k.HMACSHA256 == ""):
		problem(".sha256, .hmacSha256: give exactly one of them")
	case e.peppered && !peppers:
		problem(".hmacSha256: requires peppers, which are not set")
	default:
		if e.digest, err = digest.Parse(text); err != nil {
			problem("%s: %w", field, err)
		} else if !e.peppered && e.digest == digest.OfNothing {
			problem("%s: it is the hash of the empty string", field)
		} else if t.find(&e.digest, e.peppered) != nil {
			problem("%s: an earlier key has it already", field)
		}
	}
	if !k.Expires.IsZero() && !k.NotBefore.Before(k.Expires) {
		problem(".expires: it is not after notBefore")
	}
	if len(k.Scopes) > maxScopes {
		problem(".scopes: there are %d, more than %d", len(k.Scopes), maxScopes)
	}
	problems = append(problems, checkScopes(".scopes", k.Scopes)...)
	if err := checkLabels(k.Labels); err != nil {
		problem(".labels: %w", err)
	}
	if len(problems) > 0 {
		return problems
	}
	if len(k.Labels) > 0 {
		e.principal.Claims = make(map[string]any, len(k.Labels))
		for name, value := range k.Labels {
			e.principal.Claims[name] = value
		}
	}
	t.insert(e)
	return nil
}

func (t *table) insert(e entry) {
	slot := t.slot(&e.digest)
	e.next = t.first[slot]
	t.entries = append(t.entries, e)
	t.first[slot] = int32(len(t.entries))
	if e.peppered {
		t.peppered++
	} else {
		t.hashed++
	}
}

func validID(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return s != "" && len(s) <= maxIDLength && s[0] != ' ' && s[len(s)-1] != ' '
}

func checkLabels(labels map[string]string) error {
	if len(labels) > maxLabels {
		return fmt.Errorf("there are %d, more than %d", len(labels), maxLabels)
	}
	for name, value := range labels {
		if name == "" || len(name) > maxLabelName || len(value) > maxLabelValue {
			return fmt.Errorf("a name is not 1 to %d bytes long, or a value is longer than %d", maxLabelName, maxLabelValue)
		}
	}
	return nil
}

// problemList collects problems, of which the first few are told.
type problemList struct {
	problems []error
	more     int
}

func (l *problemList) add(err error) {
	if len(l.problems) == maxProblems {
		l.more++
		return
	}
	l.problems = append(l.problems, err)
}

func (l *problemList) err() error {
	if l.more > 0 {
		return errors.Join(append(l.problems, fmt.Errorf("and %d more problems", l.more))...)
	}
	return errors.Join(l.problems...)
}
