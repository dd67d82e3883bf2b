package jose

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/MicahParks/jwkset"
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
			return nil, fmt.Errorf("a key for %s is said to be for %s", algs, a)
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

// ParseJWK reads a JSON Web Key (RFC 7517). It has to be a public key for verifying
// signatures: one with "use" or "key_ops" for something else, a symmetric one, and
// one that has its private part with it are refused.
func ParseJWK(data []byte) (*Key, error) {
	var m jwkset.JWKMarshal
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, errors.New("reading a JWK: not a JSON object with the members of RFC 7517")
	}
	if m.D != "" || m.K != "" {
		return nil, errors.New("reading a JWK: it has the private key with it, which belongs on no verifier: remove it, and count it as known to others")
	}
	if m.USE != "" && m.USE != jwkset.UseSig {
		return nil, fmt.Errorf(`reading a JWK: "use" is %q, not "sig"`, m.USE)
	}
	if len(m.KEYOPS) > 0 && !contains(m.KEYOPS, jwkset.KeyOpsVerify) {
		return nil, errors.New(`reading a JWK: "key_ops" does not have "verify"`)
	}
	// Certificates prove nothing here: the set is trusted for where it came from.
	m.X5C, m.X5T, m.X5TS256, m.X5U = nil, "", "", ""
	jwk, err := jwkset.NewJWKFromMarshal(m, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading a JWK: %w", err)
	}
	k, err := NewKey(m.KID, m.ALG.String(), jwk.Key())
	if err != nil {
		return nil, fmt.Errorf("reading a JWK: %w", err)
	}
	return k, nil
}

func contains(ops []jwkset.KEYOPS, op jwkset.KEYOPS) bool {
	for _, o := range ops {
		if o == op {
			return true
		}
	}
	return false
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
