// Package suite_test has the tests that all versions of the policy have to pass.
package suite_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"policyengine.dev/policies/jwt-validation/internal/jwttest"
	"policyengine.dev/policies/jwt-validation/internal/refusal"
	v1 "policyengine.dev/policies/jwt-validation/v1.0.0"
	v2 "policyengine.dev/policies/jwt-validation/v2.0.0"
	v21 "policyengine.dev/policies/jwt-validation/v2.1.0"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policytest"
)

// version is one version of the policy.
type version struct {
	name    string
	builder policy.Builder
	file    string
	// issuers says that the parameters of an issuer are an element of a list.
	issuers bool
	// noIssuer is the reason for a payload in which no issuer can be read.
	noIssuer string
}

var versions = []version{
	{name: "v1", builder: v1.Policy, file: "../../v1.0.0/policy.yaml", noIssuer: refusal.ReasonMalformed},
	{name: "v2", builder: v2.Policy, file: "../../v2.0.0/policy.yaml", issuers: true, noIssuer: refusal.ReasonIssuerUnknown},
	{name: "v2.1", builder: v21.Policy, file: "../../v2.1.0/policy.yaml", issuers: true, noIssuer: refusal.ReasonIssuerUnknown},
}

// each runs a test for each version.
func each(t *testing.T, test func(*testing.T, version)) {
	for _, v := range versions {
		t.Run(v.name, func(t *testing.T) { test(t, v) })
	}
}

// eachWithIssuers runs a test for each version of withIssuers.
func eachWithIssuers(t *testing.T, test func(*testing.T, version)) {
	for _, v := range withIssuers() {
		t.Run(v.name, func(t *testing.T) { test(t, v) })
	}
}

// withIssuers are the versions that have several issuers, and a cache.
func withIssuers() []version {
	return slices.DeleteFunc(slices.Clone(versions), func(v version) bool { return !v.issuers })
}

const issuer, audience = "https://login.example.com/", "https://api.example.com"

// now is where policytest's clock stands.
var now = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Unix()

// good are the claims of a token that is let pass.
var good = map[string]any{"iss": issuer, "sub": "alice", "aud": audience, "exp": now + 60, "nbf": now, "iat": now, "scope": "read write"}

// ofTheRequest are the parameters that are not an issuer's.
var ofTheRequest = []string{"issuers", "optional", "tokenFrom", "forwardToken", "maxTokenBytes", "leeway", "realm", "cache", "unknownKeys", "typo"}

// params are parameters for tokens of good's issuer, signed with keys, with more.
func (v version) params(more map[string]any, keys ...jwttest.Key) map[string]any {
	p := issuerOf(issuer, nil, keys...)
	p["leeway"] = "0s"
	maps.Copy(p, more)
	return v.shape(p)
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
	return p
}

// shape puts parameters into the version's form.
func (v version) shape(p map[string]any) map[string]any {
	if !v.issuers {
		return p
	}
	of, all := map[string]any{}, map[string]any{}
	for name, value := range p {
		if slices.Contains(ofTheRequest, name) {
			all[name] = value
		} else {
			of[name] = value
		}
	}
	if all["issuers"] == nil {
		all["issuers"] = []any{of}
	}
	return all
}

// at is an error about parameters as it begins for the version.
func (v version) at(problem string) string {
	field := problem[:strings.IndexAny(problem+":", ":[. ")]
	if !v.issuers || field == "unknown" || slices.Contains(ofTheRequest, field) {
		return problem
	}
	return "issuers[0]." + problem
}

func (v version) build(t testing.TB, p map[string]any, opts ...policytest.Option) *policytest.Policy {
	t.Helper()
	return policytest.New(t, v.builder, encode(t, p), append(opts, policytest.WithDefinition(v.file))...)
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
