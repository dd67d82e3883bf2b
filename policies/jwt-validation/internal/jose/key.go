package jose

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// Key is a public key for verifying signatures. It is immutable and safe for
// concurrent use.
type Key struct {
	id         string
	algorithms Algorithms
	public     publicKey
}

// publicKey is what all public keys of the standard library are.
type publicKey interface {
	Equal(crypto.PublicKey) bool
}

// NewKey returns a key for the algorithms that public is good for; where algorithm
// is not empty, for that one alone. id is the "kid" by which tokens name it, or
// empty.
func NewKey(id, algorithm string, public crypto.PublicKey) (*Key, error) {
	algs, err := algorithmsFor(public)
	if err != nil {
		return nil, err
	}
	if algorithm != "" {
		a, err := ParseAlgorithm(algorithm)
		if err != nil {
			return nil, err
		}
		if !algs.Has(a) {
			return nil, fmt.Errorf("a key for %s is labelled as a key for %s", algs, a)
		}
		algs = NewAlgorithms(a)
	}
	c, ok := public.(publicKey)
	if !ok {
		return nil, fmt.Errorf("a key of type %T cannot be compared", public)
	}
	return &Key{id: id, algorithms: algs, public: c}, nil
}

// ID is the key's "kid", or empty.
func (k *Key) ID() string { return k.id }

// Algorithms are those that the key verifies.
func (k *Key) Algorithms() Algorithms { return k.algorithms }

func (k *Key) equal(o *Key) bool {
	return k.id == o.id && k.algorithms == o.algorithms && k.public.Equal(o.public)
}

// ParsePEM reads one public key in PEM: a "PUBLIC KEY" (RFC 7468, section 13), an
// "RSA PUBLIC KEY" (PKCS #1) or the key of a "CERTIFICATE", whose validity is not
// looked at. id and algorithm are as for [NewKey].
func ParsePEM(id, algorithm string, data []byte) (*Key, error) {
	block, rest := pem.Decode(data)
	if block == nil {
		return nil, errors.New("reading a PEM key: no PEM block (-----BEGIN PUBLIC KEY-----)")
	}
	if len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("reading a PEM key: something follows the first PEM block; give each key on its own")
	}
	public, err := parsePublic(block)
	if err != nil {
		return nil, fmt.Errorf("reading a PEM key: %w", err)
	}
	k, err := NewKey(id, algorithm, public)
	if err != nil {
		return nil, fmt.Errorf("reading a PEM key: %w", err)
	}
	return k, nil
}

func parsePublic(block *pem.Block) (crypto.PublicKey, error) {
	switch block.Type {
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return cert.PublicKey, nil
	case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY":
		return nil, errors.New("it is the private key, which belongs on no verifier: give its public key, and count the private one as known to others")
	}
	return nil, fmt.Errorf("a PEM block of type %q; PUBLIC KEY, RSA PUBLIC KEY and CERTIFICATE are accepted", block.Type)
}
