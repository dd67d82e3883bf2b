package jose_test

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"policyengine.dev/policies/jwt-validation/internal/jose"
	"policyengine.dev/policies/jwt-validation/internal/jwttest"
)

func TestParseJWK(t *testing.T) {
	type m = map[string]any
	for _, c := range []struct {
		name, jwk string
		// wrong is a part of the error; empty where there is none.
		wrong string
	}{
		{"RSA", jwttest.RSA().JWK(), ""},
		{"RSA for PS256", jwttest.RSA().For("PS256").JWK(), ""},
		{"P-256", jwttest.P256().JWK(), ""},
		{"P-384", jwttest.P384().JWK(), ""},
		{"P-521", jwttest.P521().JWK(), ""},
		{"Ed25519", jwttest.Ed25519().JWK(), ""},
		{"use sig", jwttest.P256().JWK(m{"use": "sig"}), ""},
		{"key_ops with verify", jwttest.P256().JWK(m{"key_ops": []string{"sign", "verify"}}), ""},
		{"a broken certificate, which is not checked", jwttest.P256().JWK(m{"x5c": []string{"x"}, "x5t": "y", "x5u": "http://z"}), ""},

		{"members that are not read, of wrong types", jwttest.P256().JWK(m{"x5c": "x", "x5t": 1, "x5u": []int{}, "iat": "now", "revoked": m{}}), ""},
		{"private members that are empty", jwttest.RSA().JWK(m{"d": "", "p": nil, "oth": []any{}}), ""},
		{"kid null", jwttest.P256().JWK(m{"kid": nil}), ""},
		{"kid as a number", jwttest.P256().JWK(m{"kid": 7}), ""},
		{"no use", jwttest.P256().JWK(m{"use": ""}), ""},
		{"no operations", jwttest.P256().JWK(m{"key_ops": []string{}}), ""},
		{"one operation that is in no list", jwttest.P256().JWK(m{"key_ops": "verify"}), ""},

		{"no JSON", `x`, "not a JSON object"},
		{"null", `null`, "not a JSON object"},
		{"kid as an object", jwttest.P256().JWK(m{"kid": m{}}), `"kid" is neither`},
		{"key_ops as a number", jwttest.P256().JWK(m{"key_ops": 1}), `"key_ops" is not a list`},
		{"no type", `{}`, `type "" is not supported`},
		{"another type", `{"kty":"XYZ"}`, `type "XYZ" is not supported`},
		{"a shared secret", jwttest.RFC7519HS256Key, "private key"},
		{"a private key", jwttest.P256().JWK(m{"d": "AAAA"}), "private key"},
		{"use enc", jwttest.RSA().JWK(m{"use": "enc"}), `"use" is "enc"`},
		{"key_ops without verify", jwttest.RSA().JWK(m{"key_ops": []string{"encrypt"}}), `"key_ops" does not have "verify"`},
		{"a small RSA key", jwttest.RSA1024().JWK(), "1024 bits"},
		{"an RSA key without n", `{"kty":"RSA","e":"AQAB"}`, `"n" is missing`},
		{"an RSA key without e", jwttest.RSA().JWK(m{"e": ""}), `"e" is missing`},
		{"an RSA key whose n is no base64", jwttest.RSA().JWK(m{"n": "*"}), `"n" is not base64`},
		{"an RSA key with an even n", jwttest.RSA().JWK(m{"n": "g" + strings.Repeat("A", 341)}), "even modulus"},
		{"an RSA key with e = 1", jwttest.RSA().JWK(m{"e": "AQ"}), "public exponent 1"},
		{"an RSA key with e = 2^64 + 65537", jwttest.RSA().JWK(m{"e": "AQAAAAAAAQAB"}), "public exponent of 65 bits"},
		{"an RSA key with an even e", jwttest.RSA().JWK(m{"e": "BA"}), "exponent"},
		{"another curve", `{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}`, "curve"},
		{"a point that is not on its curve", jwttest.P256().JWK(m{"x": "AAAA"}), "curve"},
		{"X25519", `{"kty":"OKP","crv":"X25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`, `"X25519" is not supported`},
		{"EC without y", jwttest.P256().JWK(m{"y": ""}), `"y" is missing`},
		{"a coordinate that is too long", jwttest.P256().JWK(m{"x": strings.Repeat("_", 44)}), `"x" has 33 bytes`},
		{"Ed25519 too short", `{"kty":"OKP","crv":"Ed25519","x":"AAAA"}`, "32 bytes"},
		{"alg of another key type", jwttest.P256().For("RS256").JWK(), "labelled as a key for RS256"},
		{"alg of another curve", jwttest.P256().For("ES384").JWK(), "labelled as a key for ES384"},
		{"alg HS256", jwttest.RSA().For("HS256").JWK(), "not an algorithm"},
		{"alg none", jwttest.RSA().For("none").JWK(), "not an algorithm"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := jose.ParseJWK([]byte(c.jwk))
			want(t, err, c.wrong)
		})
	}
}

// want checks err for a text; an empty one means no error.
func want(t *testing.T, err error, text string) {
	t.Helper()
	switch {
	case text == "" && err != nil:
		t.Error(err)
	case text != "" && err == nil:
		t.Errorf("no error, want %q", text)
	case text != "" && !strings.Contains(err.Error(), text):
		t.Errorf("%q, want %q in it", err, text)
	}
}

func TestLargeRSAKey(t *testing.T) {
	n := new(big.Int).Lsh(big.NewInt(1), jose.MaxRSABits)
	_, err := jose.NewKey("", "", &rsa.PublicKey{N: n, E: 65537})
	want(t, err, "8193 bits")
}

func TestParsePEM(t *testing.T) {
	block := func(kind string, der []byte, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	rsaKey := jwttest.RSA().Private.(*rsa.PrivateKey)
	ecDER, err := x509.MarshalECPrivateKey(jwttest.P256().Private.(*ecdsa.PrivateKey))
	ec := block("EC PRIVATE KEY", ecDER, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(rsaKey)
	for _, c := range []struct{ name, alg, pem, wrong string }{
		{"RSA", "", jwttest.RSA().PEM(), ""},
		{"P-256", "", jwttest.P256().PEM(), ""},
		{"P-384", "ES384", jwttest.P384().PEM(), ""},
		{"P-521", "", jwttest.P521().PEM(), ""},
		{"Ed25519", "", jwttest.Ed25519().PEM(), ""},
		{"PKCS #1", "RS256", block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&rsaKey.PublicKey), nil), ""},
		{"text around it", "", "a key:\n" + jwttest.RSA().PEM() + "\n\n", ""},

		{"nothing", "", "", "no PEM block"},
		{"no PEM", "", "AAAA", "no PEM block"},
		{"two keys", "", jwttest.RSA().PEM() + jwttest.P256().PEM(), "follows the first"},
		{"a broken key", "", block("PUBLIC KEY", []byte("x"), nil), "asn1"},
		{"a broken certificate", "", block("CERTIFICATE", []byte("x"), nil), "x509"},
		{"a private key", "", block("PRIVATE KEY", pkcs8, err), "private key"},
		{"a private EC key", "", ec, "private key"},
		{"something else", "", block("CERTIFICATE REQUEST", nil, nil), `"CERTIFICATE REQUEST"`},
		{"a small RSA key", "", jwttest.RSA1024().PEM(), "1024 bits"},
		{"P-224", "", jwttest.P224().PEM(), "curve"},
		{"another algorithm", "ES256", jwttest.RSA().PEM(), "labelled as a key for ES256"},
	} {
		t.Run(c.name, func(t *testing.T) {
			k, err := jose.ParsePEM("id", c.alg, []byte(c.pem))
			want(t, err, c.wrong)
			if err == nil && k.ID() != "id" {
				t.Errorf("the kid is %q", k.ID())
			}
		})
	}
}

// A key's own certificate carries it, whatever else it says.
func TestParsePEMCertificate(t *testing.T) {
	der, err := x509.CreateCertificate(nil, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{},
		jwttest.Ed25519().Public(), jwttest.Ed25519().Private)
	if err != nil {
		t.Fatal(err)
	}
	k, err := jose.ParsePEM("", "", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	if err != nil {
		t.Fatal(err)
	}
	if err := parse(t, jwttest.Token{}.Signed("EdDSA", jwttest.Ed25519())).Verify(k); err != nil {
		t.Error(err)
	}
}

func TestParseJWKS(t *testing.T) {
	many := make([]string, jose.MaxKeys+1)
	for i := range many {
		many[i] = jwttest.Ed25519().WithID(fmt.Sprint(i)).JWK()
	}
	for _, c := range []struct {
		name, set     string
		keys, skipped int
		wrong         string
	}{
		{"two keys", jwttest.JWKS(jwttest.RSA(), jwttest.P256()), 2, 0, ""},
		{"members that mean nothing here", `{"keys":[` + jwttest.RSA().JWK() + `],"x":1}`, 1, 0, ""},
		{"keys that cannot be used are left out", jwttest.Set(jwttest.RSA1024().JWK(), `{"kid":7}`, `3`, jwttest.RFC7519HS256Key, jwttest.P256().JWK()), 1, 4, ""},
		{"keys that cannot be told apart stay", jwttest.JWKS(jwttest.RSA(), jwttest.RSA2().WithID("rsa")), 2, 1, ""},
		{"as many as may be", jwttest.Set(many[1:]...), jose.MaxKeys, 0, ""},
		{"too many", jwttest.Set(many...), 0, 0, "129 keys"},
		{"none", `{"keys":[]}`, 0, 0, ""},
		{"none that can be used", jwttest.JWKS(jwttest.RSA1024()), 0, 1, ""},
		{"a key twice", jwttest.JWKS(jwttest.RSA(), jwttest.RSA()), 2, 0, ""},
		{"an unknown type beside a good key", jwttest.Set(`{"kty":"AKP","alg":"ML-DSA-44","pub":"AA"}`, jwttest.P256().JWK()), 1, 1, ""},
		{"a byte order mark", "\ufeff" + jwttest.JWKS(jwttest.RSA()), 1, 0, ""},
		{"no keys member", `{}`, 0, 0, `array "keys"`},
		{"keys null", `{"keys":null}`, 0, 0, `array "keys"`},
		{"keys as an object", `{"keys":{}}`, 0, 0, `array "keys"`},
		{"an array", `[]`, 0, 0, `array "keys"`},
		{"cut short", jwttest.JWKS(jwttest.RSA())[:100], 0, 0, `array "keys"`},
		{"two documents", jwttest.JWKS(jwttest.RSA()) + jwttest.JWKS(jwttest.RSA()), 0, 0, `array "keys"`},
		{"HTML", `<html>`, 0, 0, `array "keys"`},
		{"nothing", ``, 0, 0, `array "keys"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			set, skipped, err := jose.ParseJWKS([]byte(c.set))
			want(t, err, c.wrong)
			if len(skipped) != c.skipped {
				t.Errorf("skipped %d keys, want %d: %v", len(skipped), c.skipped, skipped)
			}
			if err == nil && len(set.Keys()) != c.keys {
				t.Errorf("%d keys, want %d", len(set.Keys()), c.keys)
			}
		})
	}
}

func TestFind(t *testing.T) {
	a, b, ec, none := jwttest.RSA().WithID("a"), jwttest.RSA2().WithID("b"), jwttest.P256().WithID("a"), jwttest.RSA().WithID("")
	for _, c := range []struct {
		name string
		keys []jwttest.Key
		kid  string
		alg  jose.Algorithm
		// want is the index of the key, -1 for none.
		want int
	}{
		{"by kid", []jwttest.Key{a, b}, "b", jose.RS256, 1},
		{"an unknown kid", []jwttest.Key{a, b}, "c", jose.RS256, -1},
		{"a kid in another case", []jwttest.Key{a, b}, "A", jose.RS256, -1},
		{"the kid of a key of another type", []jwttest.Key{a}, "a", jose.ES256, -1},
		{"one kid, two types", []jwttest.Key{a, ec}, "a", jose.ES256, 1},
		{"no kid, one key", []jwttest.Key{a}, "", jose.RS256, 0},
		{"no kid, one key of the type", []jwttest.Key{a, ec}, "", jose.ES256, 1},
		{"no kid, several keys of the type", []jwttest.Key{a, b}, "", jose.RS256, -1},
		{"no kid, several keys, one of them without", []jwttest.Key{b, none}, "", jose.RS256, -1},
		{"a key without kid takes any", []jwttest.Key{none}, "x", jose.RS256, 0},
		{"a key without kid takes none", []jwttest.Key{none}, "", jose.RS256, 0},
		{"a key with the kid comes first", []jwttest.Key{none, a}, "a", jose.RS256, 1},
		{"a key without kid for an unknown one", []jwttest.Key{a, none}, "x", jose.RS256, 1},
		{"no keys", nil, "", jose.RS256, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var keys []*jose.Key
			for _, k := range c.keys {
				keys = append(keys, key(t, k.JWK()))
			}
			set, err := jose.NewKeySet(keys...)
			if err != nil {
				t.Fatal(err)
			}
			got := set.Find(c.kid, c.alg)
			if c.want < 0 && got != nil {
				t.Errorf("found %q", got.ID())
			}
			if c.want >= 0 && got != keys[c.want] {
				t.Errorf("found %v, want key %d", got, c.want)
			}
		})
	}
}

// Where an issuer's set has one kid twice, neither key is taken for it.
func TestFindAmbiguous(t *testing.T) {
	set, skipped, err := jose.ParseJWKS([]byte(jwttest.JWKS(jwttest.RSA(), jwttest.RSA2().WithID("rsa"), jwttest.P256())))
	if err != nil || len(skipped) != 1 {
		t.Fatal(err, skipped)
	}
	if k := set.Find("rsa", jose.RS256); k != nil {
		t.Error("found one of two keys that cannot be told apart")
	}
	if k := set.Find("p256", jose.ES256); k == nil {
		t.Error("the other key is lost too")
	}
}

func TestKeySetEqual(t *testing.T) {
	set := func(keys ...jwttest.Key) *jose.KeySet {
		s, _, err := jose.ParseJWKS([]byte(jwttest.JWKS(keys...)))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	a := set(jwttest.RSA(), jwttest.P256())
	if !a.Equal(set(jwttest.RSA(), jwttest.P256())) {
		t.Error("equal sets are not equal")
	}
	for name, b := range map[string]*jose.KeySet{
		"nil":               nil,
		"fewer":             set(jwttest.RSA()),
		"another kid":       set(jwttest.RSA().WithID("x"), jwttest.P256()),
		"another key":       set(jwttest.RSA2().WithID("rsa"), jwttest.P256()),
		"another algorithm": set(jwttest.RSA().For("RS256"), jwttest.P256()),
		"another type":      set(jwttest.RSA(), jwttest.Ed25519().WithID("p256")),
	} {
		if a.Equal(b) || b.Equal(a) {
			t.Errorf("equal to a set with %s", name)
		}
	}
}

// A key that is listed several times is one key, whatever else each entry says.
func TestFindWhatIsListedTwice(t *testing.T) {
	rsa, again := jwttest.RSA().WithID("a"), jwttest.RSA().WithID("b")
	for name, jwks := range map[string]string{
		"under the same kid":                    jwttest.JWKS(rsa, rsa),
		"under two":                             jwttest.JWKS(again, rsa),
		"with and without alg":                  jwttest.JWKS(rsa.For("RS256"), rsa),
		"for two algorithms":                    jwttest.JWKS(rsa.For("RS256"), rsa.For("PS256")),
		"beside the same one without a kid":     jwttest.JWKS(rsa, rsa.WithID("")),
		"twice without a kid, and once with it": jwttest.JWKS(rsa.WithID(""), rsa, rsa.WithID("")),
	} {
		t.Run(name, func(t *testing.T) {
			set, skipped, err := jose.ParseJWKS([]byte(jwks))
			if err != nil || len(skipped) > 0 {
				t.Fatal(err, skipped)
			}
			for _, kid := range []string{"a", ""} {
				k := set.Find(kid, jose.RS256)
				if k == nil {
					t.Errorf("no key for a token with the kid %q", kid)
					continue
				}
				if err := parse(t, jwttest.Token{}.Signed("RS256", jwttest.RSA())).Verify(k); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func FuzzParseJWKS(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"RSA","kid":1,"key_ops":"verify","x5c":["AA=="]},{"kty":"OKP","crv":"Ed25519","x":"AQ=="}]}`))
	f.Add([]byte(jwttest.Set(jwttest.RFC7515RS256Key, jwttest.RFC7515ES256Key, jwttest.RFC7515ES512Key, jwttest.RFC8037EdDSAKey)))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AA","e":"____________"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		set, _, err := jose.ParseJWKS(data)
		if err == nil && set == nil {
			t.Fatal("neither a set nor an error")
		}
		if err != nil {
			return
		}
		for _, k := range set.Keys() {
			if k.Algorithms() == 0 {
				t.Error("a key for no algorithm")
			}
		}
		if err == nil && !set.Equal(set) {
			t.Error("a set is not equal to itself")
		}
	})
}
