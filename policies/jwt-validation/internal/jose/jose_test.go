package jose_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"policyengine.dev/policies/jwt-validation/internal/jose"
	"policyengine.dev/policies/jwt-validation/internal/jwttest"
)

var all = jose.NewAlgorithms(jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
	jose.ES256, jose.ES384, jose.ES512, jose.EdDSA)

func key(t testing.TB, jwk string) *jose.Key {
	t.Helper()
	k, err := jose.ParseJWK([]byte(jwk))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func parse(t testing.TB, compact string) *jose.Token {
	t.Helper()
	token, err := jose.Parse(compact, all)
	if err != nil {
		t.Fatal(err)
	}
	return &token
}

// Each published signature is its key's, and is not when a bit of it, or of what it
// signs, is another.
func TestPublishedVectors(t *testing.T) {
	for name, v := range map[string]struct{ token, key string }{
		"RFC 7515 A.2 RS256": {jwttest.RFC7515RS256, jwttest.RFC7515RS256Key},
		"RFC 7515 A.3 ES256": {jwttest.RFC7515ES256, jwttest.RFC7515ES256Key},
		"RFC 7515 A.4 ES512": {jwttest.RFC7515ES512, jwttest.RFC7515ES512Key},
		"RFC 7520 4.2 PS384": {jwttest.RFC7520PS384, jwttest.RFC7520PS384Key},
		"RFC 8037 A.4 EdDSA": {jwttest.RFC8037EdDSA, jwttest.RFC8037EdDSAKey},
	} {
		t.Run(name, func(t *testing.T) {
			k := key(t, v.key)
			if err := parse(t, v.token).Verify(k); err != nil {
				t.Error(err)
			}
			dot := strings.LastIndexByte(v.token, '.')
			for what, changed := range map[string]string{
				"signature": v.token[:dot+1] + flip(v.token[dot+1:]),
				"payload":   strings.Replace(v.token, ".", ".AAAA", 1),
				"none":      v.token[:dot+1],
			} {
				if err := parse(t, changed).Verify(k); !errors.Is(err, jose.ErrSignature) {
					t.Errorf("with another %s: %v, want ErrSignature", what, err)
				}
			}
		})
	}
}

// flip changes the first bits of base64url.
func flip(s string) string {
	if s[0] == 'A' {
		return "B" + s[1:]
	}
	return "A" + s[1:]
}

// Every algorithm verifies with its own key kind and with no other.
func TestAlgorithmIsBoundToKeyType(t *testing.T) {
	for alg, k := range jwttest.Algorithms() {
		token := jwttest.Token{}.Signed(alg, k)
		for other, otherKey := range jwttest.Algorithms() {
			err := parse(t, token).Verify(key(t, otherKey.JWK()))
			if same := otherKey.ID == k.ID; same && err != nil {
				t.Errorf("%s with its key: %v", alg, err)
			} else if !same && !errors.Is(err, jose.ErrAlgorithm) {
				t.Errorf("%s with the key for %s: %v, want ErrAlgorithm", alg, other, err)
			}
		}
		// Another key of the same type is told apart from another type.
		if k.ID == "rsa" {
			if err := parse(t, token).Verify(key(t, jwttest.RSA2().JWK())); !errors.Is(err, jose.ErrSignature) {
				t.Errorf("%s with another key: %v, want ErrSignature", alg, err)
			}
		}
	}
}

// A key whose JWK has an "alg" is for that one alone.
func TestKeyAlgorithm(t *testing.T) {
	k := key(t, jwttest.RSA().For("RS512").JWK())
	if err := parse(t, jwttest.Token{}.Signed("RS512", jwttest.RSA())).Verify(k); err != nil {
		t.Errorf("RS512: %v", err)
	}
	for _, alg := range []string{"RS256", "PS512"} {
		if err := parse(t, jwttest.Token{}.Signed(alg, jwttest.RSA())).Verify(k); !errors.Is(err, jose.ErrAlgorithm) {
			t.Errorf("%s: %v, want ErrAlgorithm", alg, err)
		}
	}
}

// RFC 7518, section 3.5: the salt is as long as the hash.
func TestPSSSaltLength(t *testing.T) {
	input := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"PS256"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(`{}`))
	digest := sha256.Sum256([]byte(input))
	for salt, want := range map[int]error{32: nil, 1: jose.ErrSignature, 20: jose.ErrSignature, 222: jose.ErrSignature} {
		sig, err := rsa.SignPSS(rand.Reader, jwttest.RSA().Private.(*rsa.PrivateKey), crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: salt})
		if err != nil {
			t.Fatal(err)
		}
		token := input + "." + base64.RawURLEncoding.EncodeToString(sig)
		if err := parse(t, token).Verify(key(t, jwttest.RSA().JWK())); err != want {
			t.Errorf("a salt of %d bytes: %v, want %v", salt, err, want)
		}
	}
}

// A signature has two numbers as long as the curve's, one after the other (RFC 7518,
// section 3.4): the same numbers in another form are none.
func TestECDSASignatureFormat(t *testing.T) {
	input := encode(`{"alg":"ES256"}`) + "." + encode(`{}`)
	digest := sha256.Sum256([]byte(input))
	private := jwttest.P256().Private.(*ecdsa.PrivateKey)
	r, s, err := ecdsa.Sign(rand.Reader, private, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	asn1, err := ecdsa.SignASN1(rand.Reader, private, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	fixed := func(n int) string { return string(r.FillBytes(make([]byte, n))) + string(s.FillBytes(make([]byte, n))) }
	for name, c := range map[string]struct {
		signature string
		want      error
	}{
		"as it should be":     {fixed(32), nil},
		"ASN.1":               {string(asn1), jose.ErrSignature},
		"longer numbers":      {fixed(33), jose.ErrSignature},
		"a longer second":     {string(r.FillBytes(make([]byte, 32))) + string(s.FillBytes(make([]byte, 33))), jose.ErrSignature},
		"a byte more":         {fixed(32) + "\x00", jose.ErrSignature},
		"a byte less":         {fixed(32)[:63], jose.ErrSignature},
		"two zeros":           {strings.Repeat("\x00", 64), jose.ErrSignature},
		"the order of both":   {strings.Repeat(string(private.Params().N.Bytes()), 2), jose.ErrSignature},
		"nothing":             {"", jose.ErrSignature},
		"the other way round": {fixed(32)[32:] + fixed(32)[:32], jose.ErrSignature},
	} {
		if err := parse(t, input+"."+encode(c.signature)).Verify(key(t, jwttest.P256().JWK())); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func TestParse(t *testing.T) {
	for _, c := range []struct {
		name, compact string
		want          error
	}{
		{"a token", encode(`{"alg":"RS256","kid":"a","typ":"JWT"}`) + "." + encode(`{}`) + ".AAAA", nil},
		{"header parameters that mean nothing here", encode(`{"alg":"RS256","jku":"https://evil.example","jwk":{},"x5u":"","x5c":[],"zip":"DEF","foo":1}`) + "..", nil},
		{"nothing", "", jose.ErrMalformed},
		{"one part", "AAAA", jose.ErrMalformed},
		{"two parts", "AAAA.AAAA", jose.ErrMalformed},
		{"four parts", "A.A.A.A", jose.ErrMalformed},
		{"five parts: a JWE", encode(`{"alg":"RSA-OAEP","enc":"A256GCM"}`) + ".AAAA.AAAA.AAAA.AAAA", jose.ErrEncrypted},
		{"five parts: direct encryption", encode(`{"alg":"dir","enc":"A256GCM"}`) + "..AAAA.AAAA.AAAA", jose.ErrEncrypted},
		{"six parts", "A.A.A.A.A.A", jose.ErrMalformed},
		{"dots only", "....", jose.ErrEncrypted},
		{"padding", base64.URLEncoding.EncodeToString([]byte(`{"alg":"RS256"} `)) + "..", jose.ErrMalformed},
		{"standard base64", "eyJhbGciOiJSUzI1NiIsImtpZCI6Ij8/In0..", jose.ErrMalformed},
		{"a line break, which base64 decoders skip", encode(`{"alg":"RS256"}`)[:4] + "\n" + encode(`{"alg":"RS256"}`)[4:] + "..", jose.ErrMalformed},
		{"a space", "AAAA .AAAA.AAAA", jose.ErrMalformed},
		{"a NUL", "AAAA\x00.AAAA.AAAA", jose.ErrMalformed},
		{"UTF-8", "AAAÄ.AAAA.AAAA", jose.ErrMalformed},
		{"a header that is no JSON", encode(`alg=RS256`) + "..", jose.ErrMalformed},
		{"a header that is not an object", encode(`["RS256"]`) + "..", jose.ErrMalformed},
		{"no alg", encode(`{}`) + "..", jose.ErrMalformed},
		{"alg twice", encode(`{"alg":"RS256","alg":"none"}`) + "..", jose.ErrMalformed},
		{"alg as a number", encode(`{"alg":256}`) + "..", jose.ErrMalformed},
		{"alg as null", encode(`{"alg":null}`) + "..", jose.ErrMalformed},
		{"alg in another case", encode(`{"alg":"rs256"}`) + "..", jose.ErrAlgorithm},
		{"alg with a space", encode(`{"alg":"RS256 "}`) + "..", jose.ErrAlgorithm},
		{"Alg", encode(`{"Alg":"RS256"}`) + "..", jose.ErrMalformed},
		{"alg empty", encode(`{"alg":""}`) + "..", jose.ErrAlgorithm},
		{"none", encode(`{"alg":"none"}`) + "..", jose.ErrAlgorithm},
		{"nOnE", encode(`{"alg":"nOnE"}`) + "..", jose.ErrAlgorithm},
		{"RFC 7519 6.1", jwttest.RFC7519None, jose.ErrAlgorithm},
		{"RFC 7519 3.1: HS256", jwttest.RFC7519HS256, jose.ErrAlgorithm},
		{"ES256K", encode(`{"alg":"ES256K"}`) + "..", jose.ErrAlgorithm},
		{"kid as a number", encode(`{"alg":"RS256","kid":1}`) + "..", jose.ErrMalformed},
		{"kid as null", encode(`{"alg":"RS256","kid":null}`) + "..", jose.ErrMalformed},
		{"typ as a list", encode(`{"alg":"RS256","typ":["JWT"]}`) + "..", jose.ErrMalformed},
		{"crit", encode(`{"alg":"RS256","crit":["exp"],"exp":1}`) + "..", jose.ErrCritical},
		{"crit with an unknown extension", encode(`{"alg":"RS256","crit":["http://example.invalid/UNDEFINED"],"http://example.invalid/UNDEFINED":true}`) + "..", jose.ErrCritical},
		{"crit empty", encode(`{"alg":"RS256","crit":[]}`) + "..", jose.ErrCritical},
		{"crit null", encode(`{"alg":"RS256","crit":null}`) + "..", jose.ErrCritical},
		{"b64", encode(`{"alg":"RS256","b64":false}`) + "..", jose.ErrCritical},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := jose.Parse(c.compact, all); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

// One token has one spelling: bits of base64 that say nothing have to be zero.
func TestCanonicalEncoding(t *testing.T) {
	token := jwttest.Token{}.Signed("RS256", jwttest.RSA()) // 256 bytes leave four such bits
	last := token[len(token)-1]
	if !strings.ContainsRune("AQgw", rune(last)) {
		t.Fatalf("the last character is %q", last)
	}
	if err := parse(t, token[:len(token)-1]+string(last+1)).Verify(key(t, jwttest.RSA().JWK())); !errors.Is(err, jose.ErrMalformed) {
		t.Errorf("%v, want ErrMalformed", err)
	}
}

// Only what is allowed is taken, though a key for it may be there.
func TestAllowedAlgorithms(t *testing.T) {
	for alg, k := range jwttest.Algorithms() {
		token := jwttest.Token{}.Signed(alg, k)
		a, err := jose.ParseAlgorithm(alg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := jose.Parse(token, jose.NewAlgorithms(a)); err != nil {
			t.Errorf("%s where it is allowed: %v", alg, err)
		}
		if _, err := jose.Parse(token, all&^jose.NewAlgorithms(a)); !errors.Is(err, jose.ErrAlgorithm) {
			t.Errorf("%s where it is not: %v", alg, err)
		}
	}
}

// The old trick: a token with the public key as its shared secret.
func TestPublicKeyAsSharedSecret(t *testing.T) {
	token := jwttest.Sign("HS256", []byte(jwttest.RSA().PEM()), `{"alg":"HS256"}`, `{}`)
	if _, err := jose.Parse(token, all); !errors.Is(err, jose.ErrAlgorithm) {
		t.Errorf("%v, want ErrAlgorithm", err)
	}
	if _, err := jose.ParseAlgorithm("HS256"); err == nil {
		t.Error("HS256 can be allowed")
	}
	if _, err := jose.ParseAlgorithm(jwt.SigningMethodNone.Alg()); err == nil {
		t.Error("none can be allowed")
	}
}

func TestClaims(t *testing.T) {
	for _, c := range []struct {
		name, payload string
		want          error
	}{
		{"an object", encode(`{"a":1}`), nil},
		{"nothing", "", jose.ErrMalformed},
		{"text", encode("Payload"), jose.ErrMalformed},
		{"an array", encode(`[]`), jose.ErrMalformed},
		{"a token in the token", encode(jwttest.RFC7515RS256), jose.ErrMalformed},
		{"a claim twice", encode(`{"iss":"a","iss":"b"}`), jose.ErrMalformed},
		{"broken base64", "A", jose.ErrMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, _, err := parse(t, encode(`{"alg":"RS256"}`)+"."+c.payload+".").Claims(); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

func TestTypeIs(t *testing.T) {
	for _, c := range []struct {
		typ      string
		accepted []string
		want     bool
	}{
		{"at+jwt", []string{"JWT", "at+jwt"}, true},
		{"AT+JWT", []string{"at+jwt"}, true},
		{"application/at+jwt", []string{"at+jwt"}, true},
		{"at+jwt", []string{"Application/at+jwt"}, true},
		{"jwt", []string{"at+jwt"}, false},
		{"", []string{"at+jwt"}, false},
		{"application/", []string{""}, false},
		{"application/a/b", []string{"a/b"}, false},
		{"at+jwt", nil, false},
	} {
		if got := jose.TypeIs(c.typ, c.accepted); got != c.want {
			t.Errorf("TypeIs(%q, %q) = %v", c.typ, c.accepted, got)
		}
	}
}

// No text is a panic, or verifies.
func FuzzParse(f *testing.F) {
	f.Add(jwttest.RFC7515RS256)
	f.Add(jwttest.RFC7515ES256)
	f.Add(jwttest.RFC7515ES512)
	f.Add(jwttest.RFC8037EdDSA)
	f.Add(jwttest.RFC7519None)
	f.Add("....")
	f.Add("eyJhbGciOiJSUzI1NiIsImNyaXQiOltdfQ..")
	var keys []*jose.Key
	for _, k := range []string{jwttest.P256().JWK(), jwttest.Ed25519().JWK(), jwttest.RSA().JWK(), jwttest.P521().JWK()} {
		keys = append(keys, key(f, k))
	}
	f.Fuzz(func(t *testing.T, compact string) {
		token, err := jose.Parse(compact, all)
		if err != nil {
			return
		}
		for _, k := range keys {
			if err := token.Verify(k); err == nil {
				t.Errorf("%q verifies", compact)
			}
		}
		if _, _, err := token.Claims(); err != nil && !errors.Is(err, jose.ErrMalformed) {
			t.Errorf("%q: %v", compact, err)
		}
	})
}
