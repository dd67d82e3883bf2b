package apikeyvalidation

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"hash"
	"sync"
	"sync/atomic"

	"policyengine.dev/policies/api-key-validation/internal/digest"
	"policyengine.dev/sdk/policy"
)

// minPepper is the length of the shortest pepper, in bytes.
const minPepper = 16

// pepper is a secret under which keys are hashed. Safe for concurrent use.
type pepper struct {
	source  policy.SecretSource
	current atomic.Pointer[peppered]
}

// peppered hashes under one value of a pepper.
type peppered struct {
	value string
	pool  sync.Pool // of *mac
}

type mac struct {
	hash.Hash
	in  []byte
	sum []byte
}

// hash returns the HMAC-SHA-256 of key under the pepper's present value.
func (p *pepper) hash(key string) (digest.Digest, error) {
	value, err := p.source.Value()
	if err != nil {
		return digest.Digest{}, fmt.Errorf("reading a pepper: %w", err)
	}
	c := p.current.Load()
	if c == nil || c.value != value {
		if len(value) < minPepper {
			return digest.Digest{}, fmt.Errorf("a pepper has less than %d bytes, so that it could be guessed", minPepper)
		}
		c = &peppered{value: value}
		c.pool.New = func() any {
			return &mac{Hash: hmac.New(sha256.New, []byte(value)), sum: make([]byte, 0, sha256.Size)}
		}
		p.current.Store(c)
	}
	m := c.pool.Get().(*mac)
	defer c.pool.Put(m)
	m.Reset()
	m.in = append(m.in[:0], key...)
	_, _ = m.Write(m.in) // a hash never fails
	m.sum = m.Sum(m.sum[:0])
	clear(m.in)
	return digest.New([sha256.Size]byte(m.sum)), nil
}
