package suite_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"policyengine.dev/policies/jwt-validation/internal/jwttest"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Both versions keep an issuer's keys over a change of parameters, and over an upgrade
// from one to the other, while the place that keys come from is away.
func TestAdopt(t *testing.T) {
	for _, from := range versions {
		for _, to := range versions {
			for _, kind := range []string{"file", "url"} {
				t.Run(from.name+" to "+to.name+", "+kind, func(t *testing.T) { adopt(t, from, to, kind) })
			}
		}
	}
}

func adopt(t *testing.T, from, to version, kind string) {
	server := jwttest.NewServer(t, jwttest.RSA())
	h := server.Host()
	file := filepath.Join(t.TempDir(), "jwks.json")
	if err := os.WriteFile(file, []byte(jwttest.JWKS(jwttest.RSA())), 0o600); err != nil {
		t.Fatal(err)
	}
	places := map[string]string{"file": file, "url": server.URL}
	at := func(v version, realm, place string) *policytest.Policy {
		p := v.params(map[string]any{"realm": realm, "keys": map[string]any{kind: place}})
		return v.build(t, p, policytest.WithHost(h), policytest.WithoutStart())
	}
	old := at(from, "old", places[kind])
	if err := old.Instance.(policy.Starter).Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	server.Fail(500)
	next, other := at(to, "new", places[kind]), at(to, "new", places[kind]+"x")
	request := bearing(signed("RS256", jwttest.RSA(), good))
	for _, p := range []*policytest.Policy{next, other} {
		p.Instance.(policy.Adopter).Adopt(old.Instance)
		p.Instance.(policy.Adopter).Adopt("something else")
	}
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

// hostOf is a host for a policy that is built directly.
func hostOf(t testing.TB) policy.Host {
	t.Helper()
	return policytest.NewHost().Policy()
}
