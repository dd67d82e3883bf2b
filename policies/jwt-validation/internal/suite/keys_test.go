package suite_test

import (
	"strings"
	"testing"
	"time"

	"policyengine.dev/policies/jwt-validation/internal/jwttest"
	"policyengine.dev/policies/jwt-validation/internal/refusal"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policytest"
)

// Without keys nothing is let pass and nothing is refused: it is an error; and a bad
// token is refused as usual.
func TestBeforeKeysAreThere(t *testing.T) {
	each(t, func(t *testing.T, v version) {
		server := jwttest.NewServer(t, jwttest.RSA())
		server.Fail(500)
		h := server.Host()
		p := v.build(t, v.params(map[string]any{"keys": map[string]any{"url": server.URL}}), policytest.WithHost(h), policytest.WithoutStart())
		if server.Requests() != 0 {
			t.Error("New does I/O")
		}
		token := signed("RS256", jwttest.RSA(), good)
		if err := p.SendError(t, bearing(token)); strings.Contains(err.Error(), token) {
			t.Error("the token is in the error")
		}
		starter := p.Instance.(policy.Starter)
		if err := starter.Start(t.Context()); err == nil {
			t.Fatal("Start has succeeded")
		}
		_ = p.SendError(t, bearing(token))
		p.Send(t, bearing("x")).WantRejected(t, 401, refusal.ReasonMalformed)
		p.Send(t, policytest.Request{}).WantRejected(t, 401, refusal.ReasonMissing)

		server.Serve(jwttest.JWKS(jwttest.RSA()))
		if err := starter.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.Send(t, bearing(token)).WantPassed(t)
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		p.Send(t, bearing(token)).WantPassed(t) // requests that are still under way
	})
}

// A key that the issuer takes back is believed no more after the next refresh, and
// one that it adds is.
func TestRotation(t *testing.T) {
	each(t, func(t *testing.T, v version) {
		server := jwttest.NewServer(t, jwttest.RSA())
		h := server.Host()
		p := v.build(t, v.params(map[string]any{"keys": map[string]any{"url": server.URL, "refresh": "30s"}}), policytest.WithHost(h))
		old, next := bearing(signed("RS256", jwttest.RSA(), good)), bearing(signed("ES256", jwttest.P256(), good))
		p.Send(t, old).WantPassed(t)
		p.Send(t, next).WantRejected(t, 401, refusal.ReasonKeyUnknown)
		server.Serve(jwttest.JWKS(jwttest.P256()))
		jwttest.Eventually(t, "the background to wait", func() bool { return h.Clock.Timers() == 1 })
		h.Clock.Advance(30 * time.Second)
		jwttest.Eventually(t, "the new key", func() bool { return p.Send(t, next).Immediate == nil })
		p.Send(t, old).WantRejected(t, 401, refusal.ReasonKeyUnknown)
	})
}
