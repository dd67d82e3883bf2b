package suite_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"policyengine.dev/policies/jwt-validation/internal/jwttest"
	v1 "policyengine.dev/policies/jwt-validation/v1.0.0"
	v2 "policyengine.dev/policies/jwt-validation/v2.0.0"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Both versions keep an issuer's keys over a change of parameters, and over an upgrade
// from one to the other, while the place that keys come from is away.
func TestAdopt(t *testing.T) {
	for _, from := range []string{"v1", "v2"} {
		for _, to := range []string{"v1", "v2"} {
			for _, kind := range []string{"file", "url"} {
				t.Run(from+" to "+to+", "+kind, func(t *testing.T) { adopt(t, from, to, kind) })
			}
		}
	}
}

func adopt(t *testing.T, from, to, kind string) {
	server := jwttest.NewServer(t, jwttest.RSA())
	h := server.Host()
	file := filepath.Join(t.TempDir(), "jwks.json")
	if err := os.WriteFile(file, []byte(jwttest.JWKS(jwttest.RSA())), 0o600); err != nil {
		t.Fatal(err)
	}
	places := map[string]string{"file": file, "url": server.URL}
	old := issuerWith(t, h, from, "old", kind, places[kind])
	if err := old.Instance.(policy.Starter).Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	server.Fail(500)
	next := issuerWith(t, h, to, "new", kind, places[kind])
	other := issuerWith(t, h, to, "new", kind, places[kind]+"x")
	token := jwttest.Token{Claims: map[string]any{"iss": "joe", "exp": h.Clock.Now().Unix() + 60}}.Signed("RS256", jwttest.RSA())
	for _, p := range []*policytest.Policy{next, other} {
		p.Instance.(policy.Adopter).Adopt(old.Instance)
		p.Instance.(policy.Adopter).Adopt("something else")
	}
	request := policytest.Request{Headers: policytest.Headers("authorization", "Bearer "+token)}
	if err := next.Instance.(policy.Starter).Start(t.Context()); err != nil {
		t.Errorf("Start with the keys of the instance before: %v", err)
	}
	next.Send(t, request).WantPassed(t)
	// Keys of another place are not taken over.
	if err := other.SendError(t, request); err == nil {
		t.Error("keys were taken over from another place")
	}
	// The old one's maxStale is not exceeded.
	h.Clock.Advance(25 * time.Hour)
	if err := next.SendError(t, request); err == nil {
		t.Error("keys that were taken over are used for longer than maxStale")
	}
}

// issuerWith is the policy with keys from a place, not started.
func issuerWith(t *testing.T, h *policytest.Host, version, realm, kind, place string) *policytest.Policy {
	t.Helper()
	params := map[string]any{"issuer": "joe", "anyAudience": true, "keys": map[string]any{kind: place}}
	var builder policy.Builder = v1.Policy
	definition := "../../v1.0.0/policy.yaml"
	if version == "v2" {
		builder, definition = v2.Policy, "../../v2.0.0/policy.yaml"
		params = map[string]any{"issuers": []any{params}}
	}
	params["realm"] = realm
	raw, err := json.Marshal(params)
	if err != nil {
		t.Fatal(err)
	}
	return policytest.New(t, builder, string(raw), policytest.WithDefinition(definition), policytest.WithHost(h), policytest.WithoutStart())
}
