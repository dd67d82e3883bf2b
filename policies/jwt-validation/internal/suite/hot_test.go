package suite_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"policyengine.dev/policies/jwt-validation/internal/jwttest"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policytest"
)

// usual are claims as issuers give them.
var usual = jwttest.Claims(good, "sub", "auth0|5f7c8ec7c33c6c004bbafe82", "aud", []string{audience, "https://example.com/userinfo"},
	"azp", "my_client_id", "scope", "openid profile email payments:write", "jti", "a1b2c3d4e5f6", "roles", []string{"admin", "user"})

// uncached are parameters with which every token is verified.
func (v version) uncached(keys ...jwttest.Key) map[string]any {
	p := v.params(nil, keys...)
	if v.issuers {
		p["cache"] = map[string]any{"entries": 0}
	}
	return p
}

// direct returns what shows a request with the token to the policy again and again.
func direct(p *policytest.Policy, token string) func() (policy.RequestAction, error) {
	x := &exchange.Exchange{}
	x.Request.Method, x.Request.Path = "GET", "/v1/payments?page=2"
	x.Request.Headers.Reset([]exchange.Field{
		{Name: "accept", Value: "*/*"}, {Name: "user-agent", Value: "curl"}, {Name: "x-request-id", Value: "1"},
		{Name: "authorization", Value: "Bearer " + token}, {Name: "accept-encoding", Value: "gzip"},
	})
	req := policy.NewRequestContext(x, false)
	instance, ctx := p.Instance.(policy.RequestHeadersPolicy), context.Background()
	return func() (policy.RequestAction, error) { return instance.OnRequestHeaders(ctx, &req) }
}

// maxVerifyAllocs are the allocations of letting a token pass beyond those of its
// signature's verification.
const maxVerifyAllocs = 32

func TestAllocations(t *testing.T) {
	each(t, func(t *testing.T, v version) {
		token := signed("RS256", jwttest.RSA(), usual)
		bare := testing.AllocsPerRun(100, func() { jwttest.VerifyRS256(t, token) })
		show := direct(v.build(t, v.uncached(jwttest.RSA())), token)
		got := testing.AllocsPerRun(100, func() {
			if action, err := show(); err != nil || action == nil {
				t.Fatal(action, err)
			}
		})
		t.Logf("%.0f allocations, of which the signature's verification %.0f", got, bare)
		if got-bare > maxVerifyAllocs {
			t.Errorf("%.0f allocations beyond the signature's verification, want at most %d", got-bare, maxVerifyAllocs)
		}
		show = direct(v.build(t, v.uncached(jwttest.RSA())), "")
		if n := testing.AllocsPerRun(100, func() { _, _ = show() }); n > 0 {
			t.Errorf("%.0f allocations to refuse a request without a token, want none", n)
		}
	})
}

// TestRememberedTokensAllocateNothing counts the allocations of letting a token pass that is
// in the cache.
func TestRememberedTokensAllocateNothing(t *testing.T) {
	eachWithIssuers(t, func(t *testing.T, v version) {
		headers := map[string]any{"claimsToHeaders": []any{map[string]any{"claim": "sub", "header": "x-user"}, map[string]any{"claim": "none", "header": "x-none"}}}
		show := direct(v.build(t, v.params(headers, jwttest.RSA())), signed("RS256", jwttest.RSA(), usual))
		n := testing.AllocsPerRun(100, func() {
			if action, err := show(); err != nil || action == nil {
				t.Fatal(action, err)
			}
		})
		if n != 0 {
			t.Errorf("%.0f allocations for a remembered token, want none", n)
		}
	})
}

// BenchmarkRS256 compares the policy with the bare cryptography of the same token.
func BenchmarkRS256(b *testing.B) {
	token := signed("RS256", jwttest.RSA(), usual)
	b.Run("bare", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			jwttest.VerifyRS256(b, token)
		}
	})
	for _, v := range versions {
		b.Run(v.name, func(b *testing.B) { v.benchmark(b, "RS256", jwttest.RSA()) })
	}
}

func BenchmarkAlgorithms(b *testing.B) {
	for _, v := range versions {
		for alg, k := range jwttest.Algorithms() {
			b.Run(v.name+"/"+alg, func(b *testing.B) { v.benchmark(b, alg, k) })
		}
	}
}

func (v version) benchmark(b *testing.B, alg string, k jwttest.Key) {
	show := direct(v.build(b, v.uncached(k)), signed(alg, k, usual))
	b.ReportAllocs()
	for b.Loop() {
		if action, err := show(); err != nil || action == nil {
			b.Fatal(action, err)
		}
	}
}

// BenchmarkOverhead measures bare cryptography, the policy without a cache, and the policy
// with a cache that does not have the token, in turns. It compares the best of each: on a
// machine with other things to do, that tells more than averages.
func BenchmarkOverhead(b *testing.B) {
	for _, v := range withIssuers() {
		b.Run(v.name, v.overhead)
	}
}

func (v version) overhead(b *testing.B) {
	token := signed("RS256", jwttest.RSA(), usual)
	uncached := direct(v.build(b, v.uncached(jwttest.RSA())), token)
	const batch = 10
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
		measure(1, func(int) { _, _ = uncached() })
		// Signing takes long, so only one round in ten has new tokens.
		if n%10 > 0 {
			continue
		}
		caching := v.build(b, v.params(nil, jwttest.RSA()))
		var shows [batch]func() (policy.RequestAction, error)
		for i := range shows {
			shows[i] = direct(caching, signed("RS256", jwttest.RSA(), jwttest.Claims(usual, "jti", fmt.Sprint("abcd", n, i))))
		}
		measure(2, func(i int) { _, _ = shows[i]() })
	}
	for n, name := range []string{"bare", "uncached", "cache-miss"} {
		b.ReportMetric(float64(best[n].Nanoseconds())/batch, name+"-ns")
	}
	b.ReportMetric(100*(float64(best[1])/float64(best[0])-1), "uncached-overhead-%")
	b.ReportMetric(100*(float64(best[2])/float64(best[0])-1), "cache-miss-overhead-%")
}

// BenchmarkCached measures what a remembered token costs.
func BenchmarkCached(b *testing.B) {
	token := signed("RS256", jwttest.RSA(), usual)
	for _, v := range withIssuers() {
		p := v.build(b, v.params(nil, jwttest.RSA()))
		b.Run(v.name+"/one at a time", func(b *testing.B) {
			show := direct(p, token)
			b.ReportAllocs()
			for b.Loop() {
				if action, err := show(); err != nil || action == nil {
					b.Fatal(action, err)
				}
			}
		})
		b.Run(v.name+"/in parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for show := direct(p, token); pb.Next(); {
					if action, err := show(); err != nil || action == nil {
						b.Error(action, err)
					}
				}
			})
		})
	}
}

func BenchmarkNoToken(b *testing.B) {
	for _, v := range versions {
		b.Run(v.name, func(b *testing.B) {
			show := direct(v.build(b, v.uncached(jwttest.RSA())), "")
			b.ReportAllocs()
			for b.Loop() {
				_, _ = show()
			}
		})
	}
}

// Whatever a client puts into a header, it is refused: no panic, no error, no pass.
func FuzzHeader(f *testing.F) {
	key := jwttest.P256()
	var built []*policytest.Policy
	for _, v := range versions {
		built = append(built, v.build(f, v.params(map[string]any{"tokenFrom": []any{
			map[string]any{"header": "authorization", "scheme": "Bearer"}, map[string]any{"cookie": "t"}, map[string]any{"query": "t"}}}, key, jwttest.RSA())))
	}
	token := signed("ES256", key, good)
	for _, seed := range []string{"", "Bearer", "Bearer ", "Bearer " + token[:len(token)-2], "bearer " + jwttest.RFC7515RS256, "Bearer " + jwttest.RFC7519None,
		"Bearer ....", "Bearer eyJhbGciOiJFUzI1NiIsImtpZCI6InAyNTYifQ.e30.", "Basic YTpi"} {
		f.Add(seed, "t="+seed, "/?t="+seed)
	}
	f.Fuzz(func(t *testing.T, authorization, cookie, target string) {
		if strings.Contains(authorization+cookie+target, token) {
			return
		}
		for _, p := range built {
			x := p.Send(t, policytest.Request{Target: target, Headers: policytest.Headers("authorization", authorization, "cookie", cookie)})
			if x.Immediate == nil {
				t.Errorf("%q, %q, %q is let pass", authorization, cookie, target)
			}
		}
	})
}
