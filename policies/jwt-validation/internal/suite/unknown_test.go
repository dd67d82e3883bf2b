package suite_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"policyengine.dev/policies/jwt-validation/internal/jwttest"
	"policyengine.dev/policies/jwt-validation/internal/refusal"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policytest"
)

// An issuer signs with a new key before anybody has fetched it: the first token with
// it has the keys fetched, waits for them, and passes.
func TestNewKey(t *testing.T) {
	eachWithIssuers(t, func(t *testing.T, v version) {
		server := jwttest.NewServer(t, jwttest.RSA())
		h := server.Host()
		p := v.build(t, fetched(map[string]string{issuer: server.URL}, nil), policytest.WithHost(h))
		server.Serve(jwttest.JWKS(jwttest.RSA(), jwttest.P256()))
		token := bearing(signed("ES256", jwttest.P256(), good))
		p.Send(t, token).WantRejected(t, 401, refusal.ReasonKeyUnknown) // too soon after the load before
		if server.Requests() != 1 {
			t.Errorf("%d requests, want 1", server.Requests())
		}
		h.Clock.Advance(30 * time.Second)
		p.Send(t, token).WantPassed(t)
		if server.Requests() != 2 {
			t.Errorf("%d requests, want 2", server.Requests())
		}
	})
}

// Even if many tokens name many keys, the issuer is asked once in an
// interval, and all are refused.
func TestUnknownKeysAreBounded(t *testing.T) {
	eachWithIssuers(t, func(t *testing.T, v version) {
		server := jwttest.NewServer(t, jwttest.RSA())
		h := server.Host()
		p := v.build(t, fetched(map[string]string{issuer: server.URL}, map[string]any{"unknownKeys": map[string]any{"interval": "1m"}}), policytest.WithHost(h))
		for minute := range 3 {
			h.Clock.Advance(time.Minute)
			var wg sync.WaitGroup
			for i := range 4 {
				wg.Go(func() {
					for j := range 25 {
						made := jwttest.P256().WithID(fmt.Sprint("made up ", minute, i, j))
						p.Send(t, bearing(signed("ES256", made, jwttest.Claims(good, "exp", now+3600)))).WantRejected(t, 401, refusal.ReasonKeyUnknown)
					}
				})
			}
			wg.Wait()
			if want := 2 + minute; server.Requests() != want {
				t.Errorf("%d requests after %d minutes, want %d", server.Requests(), minute+1, want)
			}
		}
		// Those whose keys are known are let pass all the while.
		p.Send(t, bearing(signed("RS256", jwttest.RSA(), jwttest.Claims(good, "exp", now+3600)))).WantPassed(t)
	})
}

// Tokens that no load could help cause none.
func TestNoLoadThatCannotHelp(t *testing.T) {
	eachWithIssuers(t, func(t *testing.T, v version) {
		server := jwttest.NewServer(t, jwttest.RSA(), jwttest.RSA2())
		h := server.Host()
		p := v.build(t, fetched(map[string]string{issuer: server.URL}, nil), policytest.WithHost(h))
		h.Clock.Advance(time.Minute)
		claims := jwttest.Claims(good, "exp", now+3600)
		for name, token := range map[string]string{
			"no kid among several keys":       jwttest.Token{Header: map[string]any{"kid": jwttest.Absent}, Claims: claims}.Signed("RS256", jwttest.RSA()),
			"a key of another type":           signed("ES256", jwttest.P256().WithID("rsa"), claims),
			"another issuer":                  signed("ES256", jwttest.P256(), jwttest.Claims(claims, "iss", "x")),
			"an algorithm that isn't allowed": jwttest.Sign("HS256", []byte("x"), `{"alg":"HS256","kid":"new"}`, `{"iss":"`+issuer+`"}`),
		} {
			if x := p.Send(t, bearing(token)); x.Immediate == nil {
				t.Errorf("%s: passed", name)
			}
		}
		if server.Requests() != 1 {
			t.Errorf("%d requests, want 1", server.Requests())
		}
	})
}

// A request waits for the issuer as long as its parameter says, and is refused then:
// a key that only the client names is not an error of the policy.
func TestUnknownKeyAndSlowIssuer(t *testing.T) {
	eachWithIssuers(t, func(t *testing.T, v version) {
		server := jwttest.NewServer(t, jwttest.RSA())
		h := server.Host()
		p := v.build(t, fetched(map[string]string{issuer: server.URL}, nil), policytest.WithHost(h))
		jwttest.Eventually(t, "the background to wait", func() bool { return h.Clock.Timers() == 1 })
		h.Clock.Advance(30 * time.Second)
		defer server.Block("")()
		token := signed("ES256", jwttest.P256(), good)
		var wg sync.WaitGroup
		wg.Go(func() { p.Send(t, bearing(token)).WantRejected(t, 401, refusal.ReasonKeyUnknown) })
		jwttest.Eventually(t, "the fetch, and the request that waits for it", func() bool { return server.Requests() == 2 && h.Clock.Timers() == 1 })
		h.Clock.Advance(100 * time.Millisecond)
		wg.Wait()
		// Nor longer than the request itself may take.
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		action, err := p.Instance.(policy.RequestHeadersPolicy).OnRequestHeaders(ctx, request(token))
		if ir, ok := action.(*policy.ImmediateResponse); err != nil || !ok || ir.Reason != refusal.ReasonKeyUnknown {
			t.Errorf("%+v, %v", action, err)
		}
		// Known keys do not wait for it.
		p.Send(t, bearing(signed("RS256", jwttest.RSA(), good))).WantPassed(t)
	})
}

// An issuer that fails when it is asked for an unknown key leaves everything as it was.
func TestUnknownKeyAndFailingIssuer(t *testing.T) {
	eachWithIssuers(t, func(t *testing.T, v version) {
		server := jwttest.NewServer(t, jwttest.RSA())
		h := server.Host()
		p := v.build(t, fetched(map[string]string{issuer: server.URL}, nil), policytest.WithHost(h))
		server.Fail(500)
		h.Clock.Advance(30 * time.Second)
		p.Send(t, bearing(signed("ES256", jwttest.P256(), good))).WantRejected(t, 401, refusal.ReasonKeyUnknown)
		p.Send(t, bearing(signed("RS256", jwttest.RSA(), good))).WantPassed(t)
	})
}
