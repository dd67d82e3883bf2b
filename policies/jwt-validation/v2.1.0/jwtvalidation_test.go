package jwtvalidation_test

import (
	"encoding/json"
	"maps"
	"testing"
	"time"

	"go.uber.org/goleak"

	"policyengine.dev/policies/jwt-validation/internal/jwttest"
	jwtvalidation "policyengine.dev/policies/jwt-validation/v2.1.0"
	"policyengine.dev/sdk/policytest"
)

// Package internal/suite has the tests that this version shares with others.

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const issuer, audience = "https://login.example.com/", "https://api.example.com"

// now is where policytest's clock stands.
var now = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Unix()

// good are the claims of a token that is let pass.
var good = map[string]any{"iss": issuer, "sub": "alice", "aud": audience, "exp": now + 60, "nbf": now, "iat": now, "scope": "read write"}

// base are parameters for tokens of good's issuer, signed with keys: those in more
// that are the issuer's own go there.
func base(more map[string]any, keys ...jwttest.Key) map[string]any {
	p := map[string]any{"leeway": "0s"}
	i := issuerOf(issuer, nil, keys...)
	for name, value := range more {
		switch name {
		case "issuers", "optional", "tokenFrom", "forwardToken", "maxTokenBytes", "leeway", "realm", "cache", "unknownKeys", "typo":
			p[name] = value
		default:
			i[name] = value
		}
	}
	if p["issuers"] == nil {
		p["issuers"] = []any{i}
	}
	return p
}

// issuerOf are the parameters of an issuer with keys.
func issuerOf(name string, more map[string]any, keys ...jwttest.Key) map[string]any {
	inline := make([]any, len(keys))
	for i, k := range keys {
		inline[i] = map[string]any{"jwk": json.RawMessage(k.JWK())}
	}
	p := map[string]any{
		"issuer": name, "audiences": []string{audience},
		"algorithms": []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"},
		"keys":       map[string]any{"inline": inline},
	}
	maps.Copy(p, more)
	if p["issuer"] == nil {
		delete(p, "issuer")
	}
	return p
}

func build(t testing.TB, p map[string]any, opts ...policytest.Option) *policytest.Policy {
	t.Helper()
	return policytest.New(t, jwtvalidation.Policy, encode(t, p), opts...)
}

func encode(t testing.TB, p map[string]any) string {
	t.Helper()
	raw, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// bearing is a request with the token in the authorization header.
func bearing(token string) policytest.Request {
	return policytest.Request{Headers: policytest.Headers("authorization", "Bearer "+token)}
}

func signed(alg string, k jwttest.Key, claims map[string]any) string {
	return jwttest.Token{Claims: claims}.Signed(alg, k)
}

func TestCases(t *testing.T) { policytest.Cases(t, jwtvalidation.Policy, "testdata/cases.yaml") }
