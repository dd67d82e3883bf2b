package jose

import (
	"encoding/base64"
	"errors"
	"strings"
	"unsafe"

	"policyengine.dev/policies/jwt-validation/internal/strictjson"
)

// What [Parse] and [Token.Verify] refuse a token for. The errors are these values
// themselves, or wrap them with what was wrong: they carry nothing of the token.
var (
	// ErrMalformed: not three parts of unpadded base64url, a header or payload
	// that is not a strict JSON object, or a header parameter of a wrong type.
	// Every error says which.
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

// malformed says what of a token is wrong. It is an [ErrMalformed].
type malformed struct {
	part string
	what error
}

func (e *malformed) Error() string        { return e.part + ": " + e.what.Error() }
func (e *malformed) Is(target error) bool { return target == ErrMalformed }
func (e *malformed) Unwrap() error        { return e.what }

// The parts of a token, and what may be wrong with them beside their JSON.
const (
	wholeToken = "the token"
	headerPart = "the header"
	claimsPart = "the claims"
	signedPart = "the signature"
)

var (
	errParts    = errors.New("it does not have three parts between dots")
	errEncoding = errors.New("it is not canonical base64url")
	errAlg      = errors.New(`"alg" is missing, or not a string`)
	errKid      = errors.New(`"kid" is not a string`)
	errTyp      = errors.New(`"typ" is not a string`)
)

// Token is a JWS in compact form, taken apart and not verified. Not safe for
// concurrent use.
type Token struct {
	// Algorithm is the header's "alg".
	Algorithm Algorithm
	// KeyID is the header's "kid", or empty.
	KeyID string
	// Type is the header's "typ", or empty.
	Type string

	input, payload, signature string
	// decoded is the payload once it has been decoded.
	decoded string
}

// segments are unpadded and canonical: one token has one spelling.
var segments = base64.RawURLEncoding.Strict()

// Parse takes compact apart and reads its header; the payload stays encoded until
// the signature has been verified. allowed are the algorithms that it may have.
func Parse(compact string, allowed Algorithms) (Token, error) {
	var t Token
	header, rest, _ := strings.Cut(compact, ".")
	payload, signature, three := strings.Cut(rest, ".")
	// Decoders skip line breaks; other characters they refuse themselves.
	if !three || strings.IndexByte(signature, '.') >= 0 || strings.IndexByte(compact, '\n') >= 0 || strings.IndexByte(compact, '\r') >= 0 {
		return t, notThreeParts(compact)
	}
	t.input = compact[:len(header)+1+len(payload)]
	t.payload, t.signature = payload, signature
	return t, t.readHeader(header, allowed)
}

// notThreeParts says what compact is instead.
func notThreeParts(compact string) error {
	dots := 0
	for i := 0; i < len(compact); i++ {
		if c := compact[i]; c == '.' {
			dots++
		} else if !segmentChar[c] {
			return &malformed{wholeToken, errEncoding}
		}
	}
	if dots == 4 {
		return ErrEncrypted
	}
	return &malformed{wholeToken, errParts}
}

// usualHeader is the length of a decoded header beyond which memory is allocated
// for it.
const usualHeader = 256

func (t *Token) readHeader(segment string, allowed Algorithms) error {
	var buf [usualHeader]byte
	raw, err := segments.AppendDecode(buf[:0], []byte(segment))
	if err != nil {
		return &malformed{headerPart, errEncoding}
	}
	fields := [...]strictjson.Field{{Name: "alg"}, {Name: "kid"}, {Name: "typ"}, {Name: "crit"}, {Name: "b64"}}
	if err := strictjson.Fields(string(raw), fields[:]); err != nil {
		return &malformed{headerPart, err}
	}
	alg, kid, typ, crit, b64 := &fields[0], &fields[1], &fields[2], &fields[3], &fields[4]
	switch {
	case crit.Kind != strictjson.Absent || b64.Kind != strictjson.Absent:
		return ErrCritical
	case alg.Kind != strictjson.Text:
		return &malformed{headerPart, errAlg}
	case kid.Kind == strictjson.Other:
		return &malformed{headerPart, errKid}
	case typ.Kind == strictjson.Other:
		return &malformed{headerPart, errTyp}
	}
	t.KeyID, t.Type = kid.Text, typ.Text
	if t.Algorithm = algorithmOf(alg.Text); !allowed.Has(t.Algorithm) {
		return ErrAlgorithm
	}
	return nil
}

// Verify reports whether the signature is key's: nil, [ErrSignature], or
// [ErrAlgorithm] where the key is not for the token's algorithm.
func (t *Token) Verify(key *Key) error {
	if !key.algorithms.Has(t.Algorithm) {
		return ErrAlgorithm
	}
	signature, err := segments.DecodeString(t.signature)
	if err != nil {
		return &malformed{signedPart, errEncoding}
	}
	// Read only: a copy of what is signed would cost as much as hashing it.
	input := unsafe.Slice(unsafe.StringData(t.input), len(t.input))
	if !verify(t.Algorithm, key.public, input, signature) {
		return ErrSignature
	}
	return nil
}

// Unverified returns a string claim as the token says it, and whether there is one,
// before anybody knows whether to believe it: see [strictjson.String].
func (t *Token) Unverified(claim string) (string, bool) {
	if !t.decode() {
		return "", false
	}
	return strictjson.String(t.decoded, claim)
}

// Claims reads the payload as a JSON object, and tells about how much memory that
// takes: see [strictjson.Object]. Before Verify has succeeded it is whatever a
// stranger has written. Strings in it share no memory with the token.
func (t *Token) Claims() (claims map[string]any, size int, err error) {
	if !t.decode() {
		return nil, 0, &malformed{claimsPart, errEncoding}
	}
	claims, size, err = strictjson.Object(t.decoded)
	if err != nil {
		return nil, 0, &malformed{claimsPart, err}
	}
	return claims, size, nil
}

func (t *Token) decode() bool {
	if t.decoded == "" {
		raw, err := segments.DecodeString(t.payload)
		if err != nil {
			return false
		}
		// Nobody writes to raw any more.
		t.decoded = unsafe.String(unsafe.SliceData(raw), len(raw))
	}
	return true
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
