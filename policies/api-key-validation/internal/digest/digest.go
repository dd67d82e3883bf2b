// Package digest has the hashes of API keys.
package digest

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
)

// Digest is a hash of 32 bytes in words: comparing those takes a tenth of what
// subtle.ConstantTimeCompare does, which counts with hundreds of keys.
type Digest [4]uint64

// New returns the digest with those bytes.
func New(hash [sha256.Size]byte) (d Digest) {
	for i := range d {
		d[i] = binary.BigEndian.Uint64(hash[8*i:])
	}
	return d
}

// Of returns the SHA-256 hash of key.
func Of(key string) Digest {
	var room [256]byte // keeps ordinary keys off the heap
	return New(sha256.Sum256(append(room[:0], key...)))
}

// Equal returns 1 or 0, in a time that does not depend on the digests.
func (d *Digest) Equal(o *Digest) int {
	diff := (d[0] ^ o[0]) | (d[1] ^ o[1]) | (d[2] ^ o[2]) | (d[3] ^ o[3])
	// The highest bit of diff|-diff is set where any bit of diff is.
	return int((diff|-diff)>>63 ^ 1)
}

// OfNothing is the SHA-256 hash of the empty string, which is not a key's.
var OfNothing = Of("")

// Parse reads 64 hexadecimal digits, in either case. An error does not quote s: whoever
// chose a weak key could have it guessed from a log.
func Parse(s string) (Digest, error) {
	var hash [sha256.Size]byte
	if len(s) != hex.EncodedLen(len(hash)) {
		return Digest{}, fmt.Errorf("it has %d characters, not 64 hexadecimal digits", len(s))
	}
	if _, err := hex.Decode(hash[:], []byte(s)); err != nil {
		return Digest{}, errors.New("it has other characters than hexadecimal digits")
	}
	return New(hash), nil
}
