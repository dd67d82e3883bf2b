package jose

import (
	"encoding/base64"
	"errors"
	"strings"

	"policyengine.dev/policies/jwt-validation/internal/strictjson"
)

// What [Parse] and [Token.Verify] refuse a token for. The errors are these values
// themselves: they carry nothing of the token.
var (
	// ErrMalformed: not three parts of unpadded base64url, a header or payload
	// that is not a strict JSON object, or a header parameter of a wrong type.
	ErrMalformed = errors.New("not a JWS in compact form")
	// ErrEncrypted: five parts, a JWE (RFC 7516), which this package cannot read.
	ErrEncrypted = errors.New("an encrypted token (JWE)")
	// ErrCritical: the header has "crit" (RFC 7515, section 4.1.11), none of
	// whose extensions are understood here, or "b64" (RFC 7797), which no JWT
	// may have.
	ErrCritical = errors.New("a critical header parameter")
	// ErrAlgorithm: "alg" is none of the allowed algorithms.
	ErrAlgorithm = errors.New("an algorithm that is not allowed")
	// ErrSignature: the signature is not the key's.
	ErrSignature = errors.New("a wrong signature")
)

// Token is a JWS in compact form, taken apart and not verified.
type Token struct {
	// Algorithm is the header's "alg".
	Algorithm Algorithm
	// KeyID is the header's "kid", or empty.
	KeyID string
	// Type is the header's "typ", or empty.
	Type string

	input, payload, signature string
}

// segments are unpadded and canonical: one token has one spelling.
var segments = base64.RawURLEncoding.Strict()

// Parse takes compact apart and reads its header; the payload stays encoded until
// the signature has been verified. allowed are the algorithms that it may have.
func Parse(compact string, allowed Algorithms) (Token, error) {
	var t Token
	dots := 0
	for i := 0; i < len(compact); i++ {
		c := compact[i]
		if c == '.' {
			dots++
		} else if !segmentChar[c] {
			return t, ErrMalformed
		}
	}
	switch dots {
	case 2:
	case 4:
		return t, ErrEncrypted
	default:
		return t, ErrMalformed
	}
	header, rest, _ := strings.Cut(compact, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	t.input = compact[:len(header)+1+len(payload)]
	t.payload, t.signature = payload, signature
	return t, t.readHeader(header, allowed)
}

func (t *Token) readHeader(segment string, allowed Algorithms) error {
	raw, err := segments.DecodeString(segment)
	if err != nil {
		return ErrMalformed
	}
	h, err := strictjson.Object(string(raw))
	if err != nil {
		return ErrMalformed
	}
	if _, ok := h["crit"]; ok {
		return ErrCritical
	}
	if _, ok := h["b64"]; ok {
		return ErrCritical
	}
	alg, ok := h["alg"].(string)
	if !ok {
		return ErrMalformed
	}
	if t.KeyID, ok = optional(h, "kid"); !ok {
		return ErrMalformed
	}
	if t.Type, ok = optional(h, "typ"); !ok {
		return ErrMalformed
	}
	if t.Algorithm = algorithmOf(alg); !allowed.Has(t.Algorithm) {
		return ErrAlgorithm
	}
	return nil
}

// optional returns the string member name; not ok where it is something else.
func optional(m map[string]any, name string) (string, bool) {
	v, there := m[name]
	if !there {
		return "", true
	}
	s, ok := v.(string)
	return s, ok
}

// Verify reports whether the signature is key's: nil, [ErrSignature], or
// [ErrAlgorithm] where the key is not for the token's algorithm.
func (t *Token) Verify(key *Key) error {
	if !key.algorithms.Has(t.Algorithm) {
		return ErrAlgorithm
	}
	signature, err := segments.DecodeString(t.signature)
	if err != nil {
		return ErrMalformed
	}
	if methods[t.Algorithm].Verify(t.input, signature, key.public) != nil {
		return ErrSignature
	}
	return nil
}

// Claims reads the payload as a JSON object. Before Verify has succeeded it is
// whatever a stranger has written. Strings in it share no memory with the token.
func (t *Token) Claims() (map[string]any, error) {
	raw, err := segments.DecodeString(t.payload)
	if err != nil {
		return nil, ErrMalformed
	}
	m, err := strictjson.Object(string(raw))
	if err != nil {
		return nil, ErrMalformed
	}
	return m, nil
}

var segmentChar = func() (t [256]bool) {
	for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" {
		t[c] = true
	}
	return t
}()

// TypeIs reports whether typ, a header's "typ", is one of accepted. Case does not
// matter, nor does a missing "application/" (RFC 7515, section 4.1.9).
func TypeIs(typ string, accepted []string) bool {
	typ = withoutApplication(typ)
	for _, a := range accepted {
		if strings.EqualFold(typ, withoutApplication(a)) {
			return true
		}
	}
	return false
}

func withoutApplication(typ string) string {
	const prefix = "application/"
	if len(typ) > len(prefix) && strings.EqualFold(typ[:len(prefix)], prefix) && strings.IndexByte(typ[len(prefix):], '/') < 0 {
		return typ[len(prefix):]
	}
	return typ
}
