// Package jwttest makes keys, tokens and key servers for the tests of this policy's
// versions. Nothing but tests imports it.
package jwttest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
)

// Key is a private key, with the "kid" and "alg" that its JWK has.
type Key struct {
	ID, Algorithm string
	Private       crypto.Signer
}

// The keys, one a type, made once for each test binary.
var (
	RSA     = once("rsa", "", newRSA(2048))
	RSA2    = once("rsa-2", "", newRSA(2048))
	RSA1024 = once("rsa-1024", "", newRSA(1024))
	P256    = once("p256", "", newEC(elliptic.P256()))
	P256b   = once("p256-b", "", newEC(elliptic.P256()))
	P384    = once("p384", "", newEC(elliptic.P384()))
	P521    = once("p521", "", newEC(elliptic.P521()))
	P224    = once("p224", "", newEC(elliptic.P224()))
	Ed25519 = once("ed25519", "", newEd25519)
)

// Algorithms are the algorithms with a key for each.
func Algorithms() map[string]Key {
	return map[string]Key{
		"RS256": RSA(), "RS384": RSA(), "RS512": RSA(), "PS256": RSA(), "PS384": RSA(), "PS512": RSA(),
		"ES256": P256(), "ES384": P384(), "ES512": P521(), "EdDSA": Ed25519(),
	}
}

func once(id, alg string, generate func() (crypto.Signer, error)) func() Key {
	return sync.OnceValue(func() Key { return Key{id, alg, must(generate())} })
}

func newRSA(bits int) func() (crypto.Signer, error) {
	return func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, bits) }
}

func newEC(c elliptic.Curve) func() (crypto.Signer, error) {
	return func() (crypto.Signer, error) { return ecdsa.GenerateKey(c, rand.Reader) }
}

func newEd25519() (crypto.Signer, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	return private, err
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// WithID returns the key under another "kid".
func (k Key) WithID(id string) Key { k.ID = id; return k }

// For returns the key with an "alg" in its JWK.
func (k Key) For(algorithm string) Key { k.Algorithm = algorithm; return k }

// Public is the public key.
func (k Key) Public() crypto.PublicKey { return k.Private.Public() }

// JWK is the public key as a JSON Web Key, with further members.
func (k Key) JWK(members ...map[string]any) string {
	jwk := must(jwkset.NewJWKFromKey(k.Public(), jwkset.JWKOptions{Validate: jwkset.JWKValidateOptions{SkipAll: true}}))
	m := map[string]any{}
	if err := json.Unmarshal(must(json.Marshal(jwk.Marshal())), &m); err != nil {
		panic(err)
	}
	delete(m, "alg")
	if k.ID != "" {
		m["kid"] = k.ID
	}
	if k.Algorithm != "" {
		m["alg"] = k.Algorithm
	}
	for _, more := range members {
		maps.Copy(m, more)
	}
	return string(must(json.Marshal(m)))
}

// PEM is the public key in PEM.
func (k Key) PEM() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(k.Public()))}))
}

// JWKS is the set of keys.
func JWKS(keys ...Key) string {
	list := make([]string, len(keys))
	for i, k := range keys {
		list[i] = k.JWK()
	}
	return Set(list...)
}

// Set is the set of JWKs.
func Set(jwks ...string) string { return `{"keys":[` + strings.Join(jwks, ",") + `]}` }

// Token is a token to be signed. The zero value has an empty header and payload.
type Token struct {
	Header map[string]any
	Claims map[string]any
}

// Signed returns the token signed with k by algorithm, which is put into the header
// with k's ID where the header does not say otherwise.
func (t Token) Signed(algorithm string, k Key) string {
	h := map[string]any{"alg": algorithm}
	if k.ID != "" {
		h["kid"] = k.ID
	}
	maps.Copy(h, t.Header)
	maps.DeleteFunc(h, func(_ string, v any) bool { return v == Absent })
	return Sign(algorithm, k.Private, string(must(json.Marshal(h))), string(must(json.Marshal(t.Claims))))
}

// Absent as a header's value takes the header out.
var Absent any = new(struct{ _ int })

// Sign signs a header and a payload as they are. private is a crypto.Signer, or a
// []byte for HMAC, or jwt.UnsafeAllowNoneSignatureType.
func Sign(algorithm string, private any, header, payload string) string {
	input := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
	m := jwt.GetSigningMethod(algorithm)
	if algorithm == "Ed25519" {
		m = jwt.SigningMethodEdDSA // RFC 9864: another name, the same signature
	}
	if m == nil {
		panic(fmt.Sprintf("no algorithm %q", algorithm))
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(must(m.Sign(input, private)))
}

// Claims returns claims with changes; an [Absent] value takes a claim out.
func Claims(claims map[string]any, changes ...any) map[string]any {
	c := maps.Clone(claims)
	for i := 0; i < len(changes); i += 2 {
		name := changes[i].(string)
		if c[name] = changes[i+1]; changes[i+1] == Absent {
			delete(c, name)
		}
	}
	return c
}

// VerifyRS256 hashes a token of [RSA] and verifies its signature: what no verifier can do
// without, and so what policies are measured against.
func VerifyRS256(t testing.TB, token string) {
	dot := strings.LastIndexByte(token, '.')
	signature, err := base64.RawURLEncoding.DecodeString(token[dot+1:])
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte(token[:dot]))
	if err := rsa.VerifyPKCS1v15(RSA().Public().(*rsa.PublicKey), crypto.SHA256, digest[:], signature); err != nil {
		t.Fatal(err)
	}
}
