package suite_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"policyengine.dev/policies/jwt-validation/internal/jwttest"
	"policyengine.dev/policies/jwt-validation/internal/refusal"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policytest"
)

// request is a request with the token in the authorization header.
func request(token string) *policy.RequestContext {
	x := &exchange.Exchange{}
	x.Request.Method, x.Request.Path = "GET", "/"
	x.Request.Headers.Reset([]exchange.Field{{Name: "authorization", Value: "Bearer " + token}})
	req := policy.NewRequestContext(x, false)
	return &req
}

func lookups(p *policytest.Policy, result string) int {
	return int(p.Host.Metrics.Value("token_cache_lookups_total", policy.Label{Name: "result", Value: result}))
}

// wantLookups checks how many lookups were hits and misses, so far.
func wantLookups(t testing.TB, p *policytest.Policy, hits, misses int) {
	t.Helper()
	if h, m := lookups(p, "hit"), lookups(p, "miss"); h != hits || m != misses {
		t.Errorf("%d hits and %d misses, want %d and %d", h, m, hits, misses)
	}
}

// A token is verified once, and each request gets the same answer.
func TestCache(t *testing.T) {
	eachWithIssuers(t, func(t *testing.T, v version) {
		p := v.build(t, v.params(map[string]any{"claimsToHeaders": []any{map[string]any{"claim": "sub", "header": "x-user"}}}, jwttest.RSA()))
		r := bearing(signed("RS256", jwttest.RSA(), good))
		r.Headers = append(r.Headers, policytest.Headers("x-user", "root")...)
		for n := range 3 {
			x := p.Send(t, r)
			x.WantPassed(t)
			if got := x.RequestChanges(); !slices.Equal(got, []string{"set x-user: alice", "remove authorization"}) {
				t.Errorf("request %d: %q", n, got)
			}
			if who := x.Request.Principal(); who == nil || who.Subject != "alice" || who.Issuer != issuer || !slices.Equal(who.Scopes, []string{"read", "write"}) || who.Claims["exp"] != float64(now+60) {
				t.Errorf("request %d: %+v", n, who)
			}
		}
		wantLookups(t, p, 2, 1)
	})
}

// What was refused is not remembered as good, nor what is nearly the same as a good
// token.
func TestCacheKeepsOnlyGoodTokens(t *testing.T) {
	eachWithIssuers(t, func(t *testing.T, v version) {
		p := v.build(t, v.params(nil, jwttest.RSA()))
		token := signed("RS256", jwttest.RSA(), good)
		p.Send(t, bearing(token)).WantPassed(t)
		for range 2 {
			p.Send(t, bearing(token[:len(token)-1])).WantRejected(t, 401, refusal.ReasonMalformed)
			p.Send(t, bearing(token[:strings.LastIndexByte(token, '.')+1])).WantRejected(t, 401, refusal.ReasonSignatureInvalid)
			p.Send(t, bearing(token+"AAAA")).WantRejected(t, 401, refusal.ReasonSignatureInvalid)
			p.Send(t, bearing(signed("RS256", jwttest.RSA2().WithID("rsa"), good))).WantRejected(t, 401, refusal.ReasonSignatureInvalid)
		}
		wantLookups(t, p, 0, 9)
	})
}

// A remembered token expires when it would have.
func TestCacheAndExpiry(t *testing.T) {
	eachWithIssuers(t, func(t *testing.T, v version) {
		for _, c := range []struct {
			name   string
			params map[string]any
			claims map[string]any
			// until is when the cache forgets; refused, when the token is refused.
			until, refused time.Duration
			reason         string
		}{
			{"exp", nil, good, time.Minute, time.Minute, refusal.ReasonExpired},
			{"exp, with leeway", map[string]any{"leeway": "10s"}, good, time.Minute, 70 * time.Second, refusal.ReasonExpired},
			{"the cache's time", map[string]any{"cache": map[string]any{"ttl": "20s"}}, good, 20 * time.Second, time.Minute, refusal.ReasonExpired},
			{"the token's age", map[string]any{"maxAge": "30s"}, good, 30 * time.Second, 30*time.Second + 1, refusal.ReasonTooOld},
		} {
			t.Run(c.name, func(t *testing.T) {
				p := v.build(t, v.params(c.params, jwttest.RSA()))
				r := bearing(signed("RS256", jwttest.RSA(), c.claims))
				p.Send(t, r).WantPassed(t)
				p.Host.Clock.Advance(c.until - 1)
				p.Send(t, r).WantPassed(t)
				wantLookups(t, p, 1, 1)
				p.Host.Clock.Advance(1)
				if c.until < c.refused {
					p.Send(t, r).WantPassed(t)
					wantLookups(t, p, 1, 2)
				}
				p.Host.Clock.Advance(c.refused - c.until)
				p.Send(t, r).WantRejected(t, 401, c.reason)
				p.Send(t, r).WantRejected(t, 401, c.reason)
			})
		}
	})
}

// A key that is taken back takes the tokens with it that were verified with it, and
// no other issuer's.
func TestCacheAndRotation(t *testing.T) {
	eachWithIssuers(t, func(t *testing.T, v version) {
		a, b := jwttest.NewServer(t, jwttest.RSA(), jwttest.P256()), jwttest.NewServer(t, jwttest.RSA())
		h := a.Host()
		p := v.build(t, fetched(map[string]string{"a": a.URL, "b": b.URL}, nil), policytest.WithHost(h))
		rsa, ec, other := bearing(signed("RS256", jwttest.RSA(), from("a", "exp", now+3600))), bearing(signed("ES256", jwttest.P256(), from("a", "exp", now+3600))), bearing(signed("RS256", jwttest.RSA(), from("b", "exp", now+3600)))
		for range 2 {
			for _, r := range []policytest.Request{rsa, ec, other} {
				p.Send(t, r).WantPassed(t)
			}
		}
		wantLookups(t, p, 3, 3)
		a.Serve(jwttest.JWKS(jwttest.P256()))
		jwttest.Eventually(t, "the background to wait", func() bool { return h.Clock.Timers() == 2 })
		h.Clock.Advance(5*time.Minute - 1)
		// Not fetched yet: what is remembered may still be used, if its time allows.
		loads := func() int { return a.Requests() + b.Requests() }
		before := loads()
		h.Clock.Advance(1)
		jwttest.Eventually(t, "the loads", func() bool { return loads() == before+2 && h.Clock.Timers() == 2 })
		p.Send(t, rsa).WantRejected(t, 401, refusal.ReasonKeyUnknown)
		p.Send(t, ec).WantPassed(t)
		p.Send(t, other).WantPassed(t)
	})
}

// The same for a token that is in the cache at the very moment.
func TestCacheIsForgottenWithTheKey(t *testing.T) {
	eachWithIssuers(t, func(t *testing.T, v version) {
		server := jwttest.NewServer(t, jwttest.RSA(), jwttest.P256())
		h := server.Host()
		p := v.build(t, fetched(map[string]string{issuer: server.URL}, map[string]any{"cache": map[string]any{"ttl": "24h"}}), policytest.WithHost(h))
		long := jwttest.Claims(good, "exp", now+24*3600)
		rsa, ec := bearing(signed("RS256", jwttest.RSA(), long)), bearing(signed("ES256", jwttest.P256(), long))
		p.Send(t, rsa).WantPassed(t)
		p.Send(t, ec).WantPassed(t)
		refresh := func() {
			t.Helper()
			jwttest.Eventually(t, "the background to wait", func() bool { return h.Clock.Timers() == 1 })
			before := server.Requests()
			h.Clock.Advance(5 * time.Minute)
			jwttest.Eventually(t, "the load", func() bool { return server.Requests() == before+1 && h.Clock.Timers() == 1 })
		}
		refresh() // the same keys: what is remembered stays
		p.Send(t, rsa).WantPassed(t)
		wantLookups(t, p, 1, 2)
		server.Serve(jwttest.JWKS(jwttest.P256()))
		refresh()
		p.Send(t, rsa).WantRejected(t, 401, refusal.ReasonKeyUnknown)
		p.Send(t, ec).WantPassed(t)
		p.Send(t, ec).WantPassed(t)
		// A key with the same kid in its place is another key nevertheless.
		server.Serve(jwttest.JWKS(jwttest.P256b().WithID("p256")))
		refresh()
		p.Send(t, ec).WantRejected(t, 401, refusal.ReasonSignatureInvalid)
	})
}

// While the issuer is down its tokens go on being let pass, from the cache and
// beside it, until its keys are too old; then both end at the same time.
func TestStaleWhileRevalidating(t *testing.T) {
	eachWithIssuers(t, func(t *testing.T, v version) {
		server := jwttest.NewServer(t, jwttest.RSA())
		h := server.Host()
		p := v.build(t, fetched(map[string]string{issuer: server.URL}, map[string]any{"cache": map[string]any{"ttl": "24h"}}), policytest.WithHost(h))
		token := func(sub string) policytest.Request {
			return bearing(signed("RS256", jwttest.RSA(), jwttest.Claims(good, "sub", sub, "exp", now+24*3600)))
		}
		p.Send(t, token("cached")).WantPassed(t)
		cached := token("cached")
		p.Send(t, cached).WantPassed(t)
		server.Fail(500)
		h.Clock.Advance(time.Hour)
		p.Send(t, cached).WantPassed(t)
		p.Send(t, token("new")).WantPassed(t)
		h.Clock.Advance(1)
		for _, r := range []policytest.Request{cached, token("newer")} {
			if err := p.SendError(t, r); !strings.Contains(err.Error(), "too old") {
				t.Errorf("%v", err)
			}
		}
	})
}

// The cache never has more tokens than it may, and stays right under more.
func TestCacheBounds(t *testing.T) {
	eachWithIssuers(t, func(t *testing.T, v version) {
		p := v.build(t, v.params(map[string]any{"cache": map[string]any{"entries": 16, "bytes": 1 << 20}}, jwttest.Ed25519()))
		for i := range 200 {
			sub := fmt.Sprint(i)
			r := bearing(signed("EdDSA", jwttest.Ed25519(), jwttest.Claims(good, "sub", sub)))
			for range 2 {
				if got := p.Send(t, r).Request.Principal(); got == nil || got.Subject != sub {
					t.Errorf("the principal is %+v, want %s", got, sub)
				}
			}
		}
		wantLookups(t, p, 200, 200)
	})
}

func TestCacheSwitchedOff(t *testing.T) {
	eachWithIssuers(t, func(t *testing.T, v version) {
		for name, cache := range map[string]map[string]any{
			"entries": {"entries": 0}, "bytes": {"bytes": 0}, "ttl": {"ttl": "0s"}, "too few bytes for a token": {"bytes": 2000}} {
			t.Run(name, func(t *testing.T) {
				p := v.build(t, v.params(map[string]any{"cache": cache}, jwttest.RSA()))
				r := bearing(signed("RS256", jwttest.RSA(), good))
				for range 3 {
					p.Send(t, r).WantPassed(t)
				}
				wantLookups(t, p, 0, 3)
			})
		}
	})
}

// Wherever a token was when it was verified, it is taken out of where it is now.
func TestCacheAndSources(t *testing.T) {
	eachWithIssuers(t, func(t *testing.T, v version) {
		token := signed("RS256", jwttest.RSA(), good)
		params := v.params(map[string]any{
			"claimsToHeaders": []any{map[string]any{"claim": "sub", "header": "x-user"}, map[string]any{"claim": "none", "header": "x-none"}},
			"tokenFrom":       []any{map[string]any{"header": "authorization", "scheme": "Bearer"}, map[string]any{"query": "t"}, map[string]any{"cookie": "t"}}}, jwttest.RSA())
		places := []struct {
			request policytest.Request
			target  string
			changes []string
		}{
			{policytest.Request{Headers: policytest.Headers("cookie", "a=1; t="+token)}, "/", []string{"set cookie: a=1", "set x-user: alice"}},
			{bearing(token), "/", []string{"remove authorization", "set x-user: alice"}},
			{policytest.Request{Target: "/?a=1&t=" + token}, "/?a=1", []string{"set x-user: alice"}},
			{policytest.Request{Headers: policytest.Headers("cookie", "t="+token+"; b=2")}, "/", []string{"set cookie: b=2", "set x-user: alice"}},
		}
		for first := range places {
			p := v.build(t, params) // with an empty cache
			for n := range 3 * len(places) {
				c := places[(first+n)%len(places)]
				x := p.Send(t, c.request)
				x.WantPassed(t)
				got := x.RequestChanges()
				slices.Sort(got)
				if !slices.Equal(got, c.changes) || x.Request.Target() != c.target {
					t.Errorf("%q, target %q; want %q, %q", got, x.Request.Target(), c.changes, c.target)
				}
			}
			wantLookups(t, p, 3*len(places)-1, 1)
		}
	})
}

// Requests with the same tokens at the same time, while keys change.
func TestCacheConcurrently(t *testing.T) {
	eachWithIssuers(t, func(t *testing.T, v version) {
		server := jwttest.NewServer(t, jwttest.Ed25519(), jwttest.P256())
		h := server.Host()
		p := v.build(t, fetched(map[string]string{issuer: server.URL}, map[string]any{"cache": map[string]any{"entries": 8}, "leeway": "5m"}), policytest.WithHost(h))
		var tokens []string
		for i := range 20 {
			tokens = append(tokens, signed("EdDSA", jwttest.Ed25519(), jwttest.Claims(good, "sub", fmt.Sprint(i), "exp", now+86400)))
		}
		instance := p.Instance.(policy.RequestHeadersPolicy)
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				for j := range 300 {
					n := (i*5 + j) % len(tokens)
					action, err := instance.OnRequestHeaders(t.Context(), request(tokens[n]))
					if m, ok := action.(*policy.RequestMutation); err != nil || !ok || m.Principal.Subject != fmt.Sprint(n) {
						t.Errorf("token %d: %+v, %v", n, action, err)
					}
				}
			})
		}
		for _, set := range []string{jwttest.JWKS(jwttest.Ed25519()), jwttest.JWKS(jwttest.Ed25519(), jwttest.RSA()), jwttest.JWKS(jwttest.Ed25519(), jwttest.P256())} {
			server.Serve(set)
			before := server.Requests()
			jwttest.Eventually(t, "the background to wait", func() bool { return h.Clock.Timers() == 1 })
			h.Clock.Advance(5 * time.Minute)
			jwttest.Eventually(t, "the load", func() bool { return server.Requests() > before })
		}
		wg.Wait()
	})
}

// Instances with the same parameters share what they know of tokens, also after the one
// that verified a token is closed; others verify it themselves, however little differs.
func TestInstancesShareTheCache(t *testing.T) {
	eachWithIssuers(t, func(t *testing.T, v version) {
		h := policytest.NewHost()
		rule := func(claim string, value any) map[string]any {
			return map[string]any{"requiredClaims": []any{map[string]any{"claim": claim, "oneOf": []any{value}}}}
		}
		token := bearing(signed("RS256", jwttest.RSA(), jwttest.Claims(good, "n", 1)))
		first := v.build(t, v.params(rule("n", 1), jwttest.RSA()), policytest.WithHost(h))
		first.Send(t, token).WantPassed(t)
		wantLookups(t, first, 0, 1)
		second := v.build(t, v.params(rule("n", 1), jwttest.RSA()), policytest.WithHost(h))
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		second.Send(t, token).WantPassed(t)
		wantLookups(t, second, 1, 1)
		// A text is not the number: the token must not pass because it did elsewhere.
		other := v.build(t, v.params(rule("n", "1"), jwttest.RSA()), policytest.WithHost(h))
		other.Send(t, token).WantRejected(t, 403, refusal.ReasonClaimMismatch)
		wantLookups(t, other, 1, 2)
	})
}
