package jose_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"policyengine.dev/policies/jwt-validation/internal/jose"
	"policyengine.dev/policies/jwt-validation/internal/jwttest"
)

// withValues is a JWK whose values are encoded by encode.
func withValues(t *testing.T, k jwttest.Key, encode func([]byte) string) string {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(k.JWK()), &m); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"n", "e", "x", "y"} {
		if v, ok := m[name].(string); ok {
			raw, err := base64.RawURLEncoding.DecodeString(v)
			if err != nil {
				t.Fatal(err)
			}
			m[name] = encode(raw)
		}
	}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// RFC 7518 has values in base64url without padding. Issuers publish them otherwise.
func TestEncodingsOfValues(t *testing.T) {
	lines := func(b []byte) string {
		var s strings.Builder
		for line := range slices.Chunk([]byte(base64.StdEncoding.EncodeToString(b)), 64) {
			s.Write(line)
			s.WriteString("\r\n")
		}
		return s.String()
	}
	for name, encode := range map[string]func([]byte) string{
		"base64url":                        base64.RawURLEncoding.EncodeToString,
		"base64url with padding":           base64.URLEncoding.EncodeToString,
		"standard base64":                  base64.StdEncoding.EncodeToString,
		"standard base64 without padding":  base64.RawStdEncoding.EncodeToString,
		"standard base64 in lines":         lines,
		"a zero in front, as in DER":       func(b []byte) string { return base64.RawURLEncoding.EncodeToString(append([]byte{0}, b...)) },
		"no zeros in front":                func(b []byte) string { return base64.RawURLEncoding.EncodeToString(bytes.TrimLeft(b, "\x00")) },
		"a zero in front, standard base64": func(b []byte) string { return base64.StdEncoding.EncodeToString(append([]byte{0}, b...)) },
	} {
		t.Run(name, func(t *testing.T) {
			for alg, k := range jwttest.Algorithms() {
				if alg == "EdDSA" && strings.Contains(name, "zero") {
					continue // 32 bytes, neither more nor less
				}
				got, err := jose.ParseJWK([]byte(withValues(t, k, encode)))
				if err != nil {
					t.Errorf("%s: %v", alg, err)
					continue
				}
				if err := parse(t, jwttest.Token{}.Signed(alg, k)).Verify(got); err != nil {
					t.Errorf("%s: %v", alg, err)
				}
			}
		})
	}
}

// One coordinate in 256 begins with a zero, which some issuers leave out.
func TestCoordinatesWithoutTheirZeros(t *testing.T) {
	curve := elliptic.P256()
	for {
		private, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		k := jwttest.Key{Private: private}
		var m struct{ X string }
		if err := json.Unmarshal([]byte(k.JWK()), &m); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(m.X, "A") || m.X[1] > 'P' {
			continue // the first byte is not 0
		}
		jwk := withValues(t, k, func(b []byte) string { return base64.RawURLEncoding.EncodeToString(bytes.TrimLeft(b, "\x00")) })
		got, err := jose.ParseJWK([]byte(jwk))
		if err != nil {
			t.Fatal(err)
		}
		if err := parse(t, jwttest.Token{}.Signed("ES256", k)).Verify(got); err != nil {
			t.Error(err)
		}
		return
	}
}

// Any part of a private key is a private key.
func TestPartsOfPrivateKeys(t *testing.T) {
	for _, member := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
		for _, value := range []any{"AAAA", 1, []any{map[string]any{"r": "AA"}}} {
			_, err := jose.ParseJWK([]byte(jwttest.RSA().JWK(map[string]any{member: value})))
			if err == nil || !strings.Contains(err.Error(), "private key") {
				t.Errorf("%s: %v gives %v", member, value, err)
			}
		}
	}
}

// A key may be in its certificate only.
func TestCertificateOnly(t *testing.T) {
	der := func(k jwttest.Key) string {
		b, err := x509.CreateCertificate(nil, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{}, k.Public(), k.Private)
		if err != nil {
			t.Fatal(err)
		}
		return base64.StdEncoding.EncodeToString(b)
	}
	k, err := jose.ParseJWK(fmt.Appendf(nil, `{"kty":"RSA","kid":"rsa","x5c":[%q]}`, der(jwttest.RSA())))
	if err != nil {
		t.Fatal(err)
	}
	if err := parse(t, jwttest.Token{}.Signed("RS256", jwttest.RSA())).Verify(k); err != nil {
		t.Error(err)
	}
	for jwk, wrong := range map[string]string{
		`{"kty":"RSA","x5c":[]}`:                                        `"n" is missing`,
		`{"kty":"RSA","x5c":"AA"}`:                                      "nor a certificate",
		`{"kty":"RSA","x5c":["AA"]}`:                                    `"x5c" cannot be read`,
		`{"kty":"RSA","x5c":["*"]}`:                                     `"x5c" is not base64`,
		`{"kty":"RSA","x5c":["", "A"]}`:                                 `"x5c" is missing`,
		fmt.Sprintf(`{"kty":"RSA","x5c":[%q]}`, der(jwttest.Ed25519())): "has a key of type ed25519",
		fmt.Sprintf(`{"kty":"RSA","x5c":[%q]}`, der(jwttest.RSA1024())): "1024 bits",
	} {
		_, err := jose.ParseJWK([]byte(jwk))
		want(t, err, wrong)
	}
}

// lowOrderPoints are the encodings of the eight points of edwards25519 whose order
// divides 8, and of those with y >= p, all without the sign of x. They were worked out
// from the curve's equation; TestLowOrderPoints shows that each one is what it is
// said to be.
var lowOrderPoints = []string{
	"0100000000000000000000000000000000000000000000000000000000000000",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"0000000000000000000000000000000000000000000000000000000000000000",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
}

// For a key of low order a signature can be made up. crypto/ed25519 takes it; this
// package does not take the key.
func TestLowOrderPoints(t *testing.T) {
	for _, text := range lowOrderPoints {
		for sign := range byte(2) {
			key, err := hex.DecodeString(text)
			if err != nil {
				t.Fatal(err)
			}
			key[31] |= sign << 7
			forged := false
			for i := range 200 {
				// R is the neutral element and S is 0: right for about every
				// eighth message.
				signature := make([]byte, ed25519.SignatureSize)
				signature[0] = 1
				forged = forged || ed25519.Verify(key, fmt.Appendf(nil, "%d", i), signature)
			}
			jwk := fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","x":%q}`, base64.RawURLEncoding.EncodeToString(key))
			if _, err := jose.ParseJWK([]byte(jwk)); err == nil {
				t.Errorf("%x is taken", key)
			}
			// With the sign of x = 0 set, an encoding is that of no point at all;
			// crypto/ed25519 takes some of them.
			if !forged && sign == 0 {
				t.Errorf("%x: no signature could be made up, so that this test shows nothing", key)
			}
		}
	}
}

// A point has one encoding: y and y + p would be two keys to look at, and one to
// verify with.
func TestEncodingsWithYOverTheField(t *testing.T) {
	refused := 0
	for k := range byte(19) {
		b := bytes.Repeat([]byte{0xff}, 32) // 2^255 - 1, which is p + 18, and the sign
		b[31], b[0] = 0x7f, 0xed+k          // p + k
		_, err := jose.NewKey("", "", ed25519.PublicKey(b))
		if err == nil {
			t.Errorf("p + %d is taken", k)
			continue
		}
		if strings.Contains(err.Error(), "not encoded") {
			refused++
		}
	}
	if refused != 19 {
		t.Errorf("%d of 19 are refused for their encoding", refused)
	}
}

// Every key that is generated is taken; half of all encodings are no points.
func TestEd25519Keys(t *testing.T) {
	invalid := 0
	for range 200 {
		public, _, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := jose.NewKey("", "", public); err != nil {
			t.Errorf("%x: %v", public, err)
		}
		b := make([]byte, 32)
		if _, err := rand.Read(b); err != nil {
			t.Fatal(err)
		}
		if _, err := jose.NewKey("", "", ed25519.PublicKey(b)); err != nil {
			invalid++
		}
	}
	if invalid < 50 || invalid > 150 {
		t.Errorf("%d of 200 random encodings are refused", invalid)
	}
}

// The same public key in PEM is held to the same rules.
func TestWeakKeysInPEM(t *testing.T) {
	for name, public := range map[string]any{
		"low order": ed25519.PublicKey(append([]byte{1}, make([]byte, 31)...)),
		"even":      &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 2047), E: 65537},
	} {
		if _, err := jose.NewKey("", "", public); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
