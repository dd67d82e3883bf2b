package jwtvalidation_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"policyengine.dev/policies/jwt-validation/internal/jwttest"
	jwtvalidation "policyengine.dev/policies/jwt-validation/v2.1.0"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policytest"
)

// usual are claims as issuers give them.
var usual = jwttest.Claims(good, "sub", "auth0|5f7c8ec7c33c6c004bbafe82", "aud", []string{audience, "https://example.com/userinfo"},
	"azp", "my_client_id", "scope", "openid profile email payments:write", "jti", "a1b2c3d4e5f6", "roles", []string{"admin", "user"})

// direct returns the policy with a request to be shown to it again and again.
func direct(t testing.TB, p *policytest.Policy, token string) (*jwtvalidation.Validator, *policy.RequestContext) {
	x := &exchange.Exchange{}
	x.Request.Method, x.Request.Path = "GET", "/v1/payments?page=2"
	x.Request.Headers.Reset([]exchange.Field{
		{Name: "accept", Value: "*/*"}, {Name: "user-agent", Value: "curl"}, {Name: "x-request-id", Value: "1"},
		{Name: "authorization", Value: "Bearer " + token}, {Name: "accept-encoding", Value: "gzip"},
	})
	req := policy.NewRequestContext(x, false)
	return p.Instance.(*jwtvalidation.Validator), &req
}

// uncached are parameters with which every token is verified.
func uncached(more map[string]any, keys ...jwttest.Key) map[string]any {
	p := base(more, keys...)
	p["cache"] = map[string]any{"entries": 0}
	return p
}

// maxCachedAllocs are the most allocations of letting a token pass that is remembered.
// The suite of both versions counts those of one that is not.
const maxCachedAllocs = 0

func TestAllocations(t *testing.T) {
	token := signed("RS256", jwttest.RSA(), usual)
	pass := func(p map[string]any) float64 {
		v, req := direct(t, build(t, p), token)
		return testing.AllocsPerRun(100, func() {
			if action, err := v.OnRequestHeaders(context.Background(), req); err != nil || action == nil {
				t.Fatal(action, err)
			}
		})
	}
	headers := map[string]any{"claimsToHeaders": []any{map[string]any{"claim": "sub", "header": "x-user"}, map[string]any{"claim": "none", "header": "x-none"}}}
	if n := pass(base(headers, jwttest.RSA())); n > maxCachedAllocs {
		t.Errorf("%.0f allocations for a remembered token, want at most %d", n, maxCachedAllocs)
	}
}

// BenchmarkOverhead measures bare cryptography, the policy without a cache, and the
// policy whose cache has not got the token, by turns, and compares the best of each,
// which on a machine with other things to do tells more than averages.
func BenchmarkOverhead(b *testing.B) {
	token := signed("RS256", jwttest.RSA(), usual)
	v, req := direct(b, build(b, uncached(nil, jwttest.RSA())), token)
	caching, _ := direct(b, build(b, base(nil, jwttest.RSA())), token)
	const batch = 10
	var requests [batch]*policy.RequestContext
	best := [3]time.Duration{time.Hour, time.Hour, time.Hour}
	measure := func(n int, f func(i int)) {
		begin := time.Now()
		for i := range batch {
			f(i)
		}
		best[n] = min(best[n], time.Since(begin))
	}
	for n := 0; b.Loop(); n++ {
		measure(0, func(int) { jwttest.VerifyRS256(b, token) })
		measure(1, func(int) { _, _ = v.OnRequestHeaders(context.Background(), req) })
		// Signing takes long: every token of a batch is put to use a few times,
		// in caches that have not seen it.
		if n%100 == 0 {
			for i := range requests {
				requests[i] = request(signed("RS256", jwttest.RSA(), jwttest.Claims(usual, "jti", fmt.Sprint("abcd", n, i))))
			}
		}
		if n%100 < 20 {
			caching.Forget()
			measure(2, func(i int) { _, _ = caching.OnRequestHeaders(context.Background(), requests[i]) })
		}
	}
	for n, name := range []string{"bare", "uncached", "cache-miss"} {
		b.ReportMetric(float64(best[n].Nanoseconds())/batch, name+"-ns")
	}
	b.ReportMetric(100*(float64(best[1])/float64(best[0])-1), "uncached-overhead-%")
	b.ReportMetric(100*(float64(best[2])/float64(best[0])-1), "cache-miss-overhead-%")
}

// BenchmarkCached is what a remembered token costs.
func BenchmarkCached(b *testing.B) {
	token := signed("RS256", jwttest.RSA(), usual)
	v, req := direct(b, build(b, base(nil, jwttest.RSA())), token)
	b.Run("one at a time", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if action, err := v.OnRequestHeaders(context.Background(), req); err != nil || action == nil {
				b.Fatal(action, err)
			}
		}
	})
	b.Run("in parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if action, err := v.OnRequestHeaders(context.Background(), req); err != nil || action == nil {
					b.Error(action, err)
				}
			}
		})
	})
}
