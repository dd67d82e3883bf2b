package suite_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"policyengine.dev/policies/jwt-validation/internal/jwttest"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policytest"
)

// The instances of many chains fetch an issuer's keys once, and renew them once. The
// source goes on when the instance that made it is closed, and ends with the last one.
func TestManyInstancesShareAnIssuersKeys(t *testing.T) {
	each(t, func(t *testing.T, v version) {
		const chains = 50
		server := jwttest.NewServer(t, jwttest.RSA())
		h := server.Host()
		var all []*policytest.Policy
		for i := range chains {
			params := v.params(map[string]any{"realm": fmt.Sprint(i), "keys": map[string]any{"url": server.URL}})
			all = append(all, v.build(t, params, policytest.WithHost(h), policytest.WithoutStart()))
		}
		var starting sync.WaitGroup
		for _, p := range all {
			starting.Go(func() {
				if err := p.Instance.(policy.Starter).Start(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		starting.Wait()
		if n := server.Requests(); n != 1 {
			t.Errorf("%d instances made %d requests", chains, n)
		}
		for _, p := range all[:chains-1] {
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
		}
		last := all[chains-1]
		jwttest.Eventually(t, "the background to wait", func() bool { return h.Clock.Timers() == 1 })
		h.Clock.Advance(5 * time.Minute)
		jwttest.Eventually(t, "the renewal", func() bool { return server.Requests() == 2 })
		fresh := map[string]any{"iss": issuer, "sub": "alice", "aud": audience, "exp": now + 3600}
		last.Send(t, bearing(signed("RS256", jwttest.RSA(), fresh))).WantPassed(t)
		if err := last.Close(); err != nil || h.Shared.Len() != 0 {
			t.Errorf("the last one is closed: %v, and %d resources are left", err, h.Shared.Len())
		}
	})
}

// Another place, another pace or another issuer is another source.
func TestWhatDiffersIsNotShared(t *testing.T) {
	each(t, func(t *testing.T, v version) {
		server := jwttest.NewServer(t, jwttest.RSA())
		h := server.Host()
		for i, more := range []map[string]any{
			{"keys": map[string]any{"url": server.URL}},
			{"keys": map[string]any{"url": server.URL + "?x"}},
			{"keys": map[string]any{"url": server.URL, "refresh": "1m"}},
			{"keys": map[string]any{"url": server.URL, "maxStale": "2h"}},
			{"keys": map[string]any{"url": server.URL}, "issuer": "https://other.example.com/"},
		} {
			v.build(t, v.params(more), policytest.WithHost(h))
			if n := server.Requests(); n != i+1 {
				t.Errorf("with %v there were %d requests, want %d", more, n, i+1)
			}
		}
	})
}
