package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Algorithm is a signature algorithm of RFC 7518, section 3.1, RFC 8037 or RFC 9864. The
// zero value is none of them.
type Algorithm uint8

// The algorithms. There is no "none", and no HMAC: a verifier that knows both HMAC
// and public keys can be made to take a public key for a shared secret.
const (
	RS256 Algorithm = iota + 1
	RS384
	RS512
	PS256
	PS384
	PS512
	ES256
	ES384
	ES512
	EdDSA
	// Ed25519 is what RFC 9864 has instead of EdDSA, with the same signatures.
	Ed25519
	algorithmEnd
)

// names are the algorithms' names in headers.
var names = [algorithmEnd]string{
	RS256: "RS256", RS384: "RS384", RS512: "RS512",
	PS256: "PS256", PS384: "PS384", PS512: "PS512",
	ES256: "ES256", ES384: "ES384", ES512: "ES512",
	EdDSA: "EdDSA", Ed25519: "Ed25519",
}

// ParseAlgorithm returns the algorithm of that name; names are case-sensitive.
func ParseAlgorithm(name string) (Algorithm, error) {
	if a := algorithmOf(name); a != 0 {
		return a, nil
	}
	return 0, fmt.Errorf("%q is not an algorithm that is supported; those are %s", name, strings.Join(AlgorithmNames(), ", "))
}

// algorithmOf is ParseAlgorithm without an error to build.
func algorithmOf(name string) Algorithm {
	for a := RS256; a < algorithmEnd; a++ {
		if names[a] == name {
			return a
		}
	}
	return 0
}

// AlgorithmNames are the names of all algorithms.
func AlgorithmNames() []string {
	return slices.Clone(names[RS256:])
}

// String is the algorithm's name in a token's header.
func (a Algorithm) String() string {
	if a == 0 || a >= algorithmEnd {
		return "none of the supported algorithms"
	}
	return names[a]
}

// Algorithms is a set of algorithms. The zero value is empty.
type Algorithms uint16

// NewAlgorithms returns the set of list.
func NewAlgorithms(list ...Algorithm) Algorithms {
	var s Algorithms
	for _, a := range list {
		s |= 1 << a
	}
	return s
}

// ParseAlgorithms returns the set of the algorithms of those names.
func ParseAlgorithms(names []string) (Algorithms, error) {
	var s Algorithms
	for _, name := range names {
		a, err := ParseAlgorithm(name)
		if err != nil {
			return 0, err
		}
		s |= 1 << a
	}
	return s, nil
}

// Has reports whether a is in the set.
func (s Algorithms) Has(a Algorithm) bool { return a != 0 && s&(1<<a) != 0 }

// MinRSABits and MaxRSABits bound RSA keys: fewer are not safe (RFC 7518, sections
// 3.3 and 3.5), more cost a verifier much and nobody any security worth it.
const (
	MinRSABits = 2048
	MaxRSABits = 8192
)

// algorithmsFor returns the algorithms that public may be used with.
func algorithmsFor(public crypto.PublicKey) (Algorithms, error) {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < MinRSABits || bits > MaxRSABits {
			return 0, fmt.Errorf("an RSA key of %d bits; %d to %d are accepted", bits, MinRSABits, MaxRSABits)
		}
		if k.N.Bit(0) == 0 {
			return 0, errors.New("an RSA key with an even modulus, which is not a product of two primes")
		}
		if k.E < 3 || k.E&1 == 0 {
			return 0, fmt.Errorf("an RSA key with the public exponent %d; an odd one from 3 on is accepted", k.E)
		}
		return NewAlgorithms(RS256, RS384, RS512, PS256, PS384, PS512), nil
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return NewAlgorithms(ES256), nil
		case elliptic.P384():
			return NewAlgorithms(ES384), nil
		case elliptic.P521():
			return NewAlgorithms(ES512), nil
		}
		return 0, fmt.Errorf("an elliptic curve that is not supported; P-256, P-384 and P-521 are")
	case ed25519.PublicKey:
		if len(k) != ed25519.PublicKeySize {
			return 0, fmt.Errorf("an Ed25519 key of %d bytes; it has 32 bytes", len(k))
		}
		if err := checkEd25519(k); err != nil {
			return 0, err
		}
		return NewAlgorithms(EdDSA, Ed25519), nil
	}
	return 0, fmt.Errorf("a key of type %T; RSA, EC and Ed25519 public keys are accepted", public)
}

// List returns the set's algorithms in order.
func (s Algorithms) List() []Algorithm {
	var list []Algorithm
	for a := RS256; a < algorithmEnd; a++ {
		if s.Has(a) {
			list = append(list, a)
		}
	}
	return list
}

// String lists the names, separated by commas.
func (s Algorithms) String() string {
	var list []string
	for _, a := range s.List() {
		list = append(list, a.String())
	}
	return strings.Join(list, ", ")
}
