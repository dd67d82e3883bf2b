package jose

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// jwk has the members of a JSON Web Key that this package reads. A member of a wrong
// type that is not read, such as an "x5t" that is a number, does no harm.
type jwk struct {
	Type       string          `json:"kty"`
	ID         json.RawMessage `json:"kid"`
	Use        string          `json:"use"`
	Operations json.RawMessage `json:"key_ops"`
	Algorithm  string          `json:"alg"`
	Curve      string          `json:"crv"`
	X          string          `json:"x"`
	Y          string          `json:"y"`
	N          string          `json:"n"`
	E          string          `json:"e"`
	X5C        json.RawMessage `json:"x5c"`

	private
}

// private are the members of private keys and of shared secrets (RFC 7518, sections
// 6.2.2, 6.3.2 and 6.4; RFC 8037, section 2).
type private struct {
	D   json.RawMessage `json:"d"`
	P   json.RawMessage `json:"p"`
	Q   json.RawMessage `json:"q"`
	DP  json.RawMessage `json:"dp"`
	DQ  json.RawMessage `json:"dq"`
	QI  json.RawMessage `json:"qi"`
	Oth json.RawMessage `json:"oth"`
	K   json.RawMessage `json:"k"`
}

// given reports whether one of the members is there. Some libraries write members
// that a key does not have as null or as an empty string.
func (p *private) given() bool {
	for _, member := range []json.RawMessage{p.D, p.P, p.Q, p.DP, p.DQ, p.QI, p.Oth, p.K} {
		if !empty(member) {
			return true
		}
	}
	return false
}

func empty(member json.RawMessage) bool {
	return slices.Contains([]string{"", "null", `""`, "[]"}, string(member))
}

// ParseJWK reads a JSON Web Key (RFC 7517). It has to be a public key for verifying
// signatures: one with "use" or "key_ops" for something else, a symmetric one, and
// one that has any of its private parts with it are refused.
//
// Values may be in base64url or in standard base64, with or without padding: issuers
// publish all of these. An RSA key that has no "n" and "e" is read from the first
// certificate of "x5c".
func ParseJWK(data []byte) (*Key, error) {
	k, err := parseJWK(data)
	if err != nil {
		return nil, fmt.Errorf("reading a JWK: %w", err)
	}
	return k, nil
}

func parseJWK(data []byte) (*Key, error) {
	var m *jwk
	if json.Unmarshal(data, &m) != nil || m == nil {
		return nil, errors.New("not a JSON object with the members of RFC 7517")
	}
	if m.given() {
		return nil, errors.New("it has the private key with it, or a part of it, which belongs on no verifier: remove it, and count it as known to others")
	}
	if m.Use != "" && m.Use != "sig" {
		return nil, fmt.Errorf(`"use" is %q, not "sig"`, m.Use)
	}
	if err := checkOperations(m.Operations); err != nil {
		return nil, err
	}
	id, err := keyID(m.ID)
	if err != nil {
		return nil, err
	}
	public, err := m.public()
	if err != nil {
		return nil, err
	}
	return NewKey(id, m.Algorithm, public)
}

// keyID is a "kid". RFC 7517, section 4.5, has it a string; of a number, which some
// issuers write, it is the text.
func keyID(kid json.RawMessage) (string, error) {
	if empty(kid) {
		return "", nil
	}
	var text string
	if json.Unmarshal(kid, &text) == nil {
		return text, nil
	}
	var number json.Number
	if json.Unmarshal(kid, &number) == nil {
		return number.String(), nil
	}
	return "", errors.New(`"kid" is neither a string nor a number`)
}

// checkOperations takes a list, and a single word that is not in one.
func checkOperations(operations json.RawMessage) error {
	if empty(operations) {
		return nil
	}
	var list []string
	if json.Unmarshal(operations, &list) != nil {
		var word string
		if json.Unmarshal(operations, &word) != nil {
			return errors.New(`"key_ops" is not a list of strings`)
		}
		list = []string{word}
	}
	if !slices.Contains(list, "verify") {
		return errors.New(`"key_ops" does not have "verify"`)
	}
	return nil
}

// public is the key itself.
func (m *jwk) public() (crypto.PublicKey, error) {
	switch m.Type {
	case "RSA":
		if m.N == "" && m.E == "" && !empty(m.X5C) {
			return m.fromCertificate()
		}
		return m.rsa()
	case "EC":
		return m.ec()
	case "OKP":
		if m.Curve != "Ed25519" {
			return nil, fmt.Errorf("the curve %q is not supported; Ed25519 is", m.Curve)
		}
		return decode("x", m.X, func(b []byte) (ed25519.PublicKey, error) { return ed25519.PublicKey(b), nil })
	}
	return nil, fmt.Errorf("a key of type %q is not supported; RSA, EC and OKP are", m.Type)
}

func (m *jwk) rsa() (*rsa.PublicKey, error) {
	n, err := decode("n", m.N, integer)
	if err != nil {
		return nil, err
	}
	e, err := decode("e", m.E, integer)
	if err != nil {
		return nil, err
	}
	if e.BitLen() > maxExponentBits {
		return nil, fmt.Errorf("an RSA key with a public exponent of %d bits, more than %d", e.BitLen(), maxExponentBits)
	}
	return &rsa.PublicKey{N: n, E: int(e.Int64())}, nil
}

// maxExponentBits is what crypto/rsa takes.
const maxExponentBits = 31

func integer(b []byte) (*big.Int, error) { return new(big.Int).SetBytes(b), nil }

func (m *jwk) ec() (*ecdsa.PublicKey, error) {
	var curve elliptic.Curve
	switch m.Curve {
	case "P-256":
		curve = elliptic.P256()
	case "P-384":
		curve = elliptic.P384()
	case "P-521":
		curve = elliptic.P521()
	default:
		return nil, fmt.Errorf("the curve %q is not supported; P-256, P-384 and P-521 are", m.Curve)
	}
	// RFC 7518, section 6.2.1.2, has coordinates at their full length. Issuers
	// leave zeros in front out, or put one more there.
	size := (curve.Params().BitSize + 7) / 8
	point := []byte{4}
	for _, c := range []struct{ name, value string }{{"x", m.X}, {"y", m.Y}} {
		b, err := decode(c.name, c.value, func(b []byte) ([]byte, error) { return bytes.TrimLeft(b, "\x00"), nil })
		if err != nil {
			return nil, err
		}
		if len(b) > size {
			return nil, fmt.Errorf("%q has %d bytes, more than the %d of its curve", c.name, len(b), size)
		}
		point = append(append(point, make([]byte, size-len(b))...), b...)
	}
	public, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	if err != nil {
		return nil, errors.New("the point is not on its curve")
	}
	return public, nil
}

// fromCertificate is the key of the first certificate of "x5c". Nothing else of the
// certificate counts: the set is trusted for where it came from.
func (m *jwk) fromCertificate() (crypto.PublicKey, error) {
	var chain []string
	if json.Unmarshal(m.X5C, &chain) != nil || len(chain) == 0 {
		return nil, errors.New(`it has neither "n" and "e" nor a certificate in "x5c"`)
	}
	cert, err := decode("x5c", chain[0], x509.ParseCertificate)
	if err != nil {
		return nil, err
	}
	public, ok := cert.PublicKey.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf(`"kty" is RSA, and the certificate in "x5c" has a key of type %T`, cert.PublicKey)
	}
	return public, nil
}

var toURLAlphabet = strings.NewReplacer("+", "-", "/", "_")

// decode reads base64 in either alphabet, with or without padding, as a T.
func decode[T any](name, value string, as func([]byte) (T, error)) (T, error) {
	var zero T
	if value == "" {
		return zero, fmt.Errorf("%q is missing", name)
	}
	raw, err := base64.RawURLEncoding.DecodeString(toURLAlphabet.Replace(strings.TrimRight(value, "=\r\n")))
	if err != nil {
		return zero, fmt.Errorf("%q is not base64", name)
	}
	v, err := as(raw)
	if err != nil {
		return zero, fmt.Errorf("%q cannot be read: %w", name, err)
	}
	return v, nil
}
