package suite_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"policyengine.dev/policies/jwt-validation/internal/jwttest"
	"policyengine.dev/policies/jwt-validation/internal/refusal"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policytest"
)

// two are parameters of two issuers, each with its own key under the same kid.
func two(a, b map[string]any) map[string]any {
	return map[string]any{"leeway": "0s", "issuers": []any{
		issuerOf("a", a, jwttest.RSA().WithID("k"), jwttest.P256()),
		issuerOf("b", b, jwttest.RSA2().WithID("k"), jwttest.Ed25519()),
	}}
}

func from(iss string, changes ...any) map[string]any {
	return jwttest.Claims(good, append([]any{"iss", iss}, changes...)...)
}

// What is one issuer's does not help another's tokens.
func TestIssuersAreApart(t *testing.T) {
	eachWithIssuers(t, func(t *testing.T, v version) {
		type m = map[string]any
		rsaA, rsaB := jwttest.RSA().WithID("k"), jwttest.RSA2().WithID("k")
		for _, c := range []struct {
			name   string
			a, b   m
			token  string
			status int
			reason string
		}{
			{"each with its own key", nil, nil, signed("RS256", rsaB, from("b")), 0, ""},
			{"the other's key under the same kid", nil, nil, signed("RS256", rsaA, from("b")), 401, refusal.ReasonSignatureInvalid},
			{"the other's key under its own kid", nil, nil, signed("ES256", jwttest.P256(), from("b")), 401, refusal.ReasonKeyUnknown},
			{"an algorithm that only the other may use", m{"algorithms": []string{"RS512", "ES256"}}, nil, signed("RS256", rsaA, from("a")), 401, refusal.ReasonAlgorithmNotAllowed},
			{"the other's audience", m{"audiences": []string{"x"}}, m{"audiences": []string{"y"}}, signed("RS256", rsaB, from("b", "aud", "x")), 401, refusal.ReasonAudienceMismatch},
			{"the other's type", m{"types": []string{"x"}}, m{"types": []string{"y"}}, jwttest.Token{Header: m{"typ": "x"}, Claims: from("b")}.Signed("RS256", rsaB), 401, refusal.ReasonTypeMismatch},
			{"the other's scopes", m{"scopes": m{"all": []string{"read"}}}, m{"scopes": m{"all": []string{"admin"}}}, signed("RS256", rsaB, from("b")), 403, refusal.ReasonScopeInsufficient},
			{"the other's rules", m{"rules": []m{{"expression": "true"}}}, m{"rules": []m{{"expression": "false"}}}, signed("RS256", rsaB, from("b")), 403, refusal.ReasonRuleFailed},
			{"the other's required claims", m{"requiredClaims": []m{{"claim": "x"}}}, nil, signed("RS256", rsaB, from("b")), 0, ""},
			{"the other's age", m{"maxAge": "1s"}, nil, signed("RS256", rsaB, from("b", "iat", now-10)), 0, ""},
			{"no issuer's", nil, nil, signed("RS256", rsaA, from("c")), 401, refusal.ReasonIssuerUnknown},
			{"two issuers at once", nil, nil, jwttest.Sign("RS256", rsaA.Private, `{"alg":"RS256","kid":"k"}`, `{"iss":"a","exp":946684900,"aud":"`+audience+`","iss":"b"}`), 401, refusal.ReasonMalformed},
			{"two issuers in a list", nil, nil, signed("RS256", rsaA, from("a", "iss", []string{"a", "b"})), 401, refusal.ReasonIssuerUnknown},
		} {
			t.Run(c.name, func(t *testing.T) {
				x := v.build(t, two(c.a, c.b)).Send(t, bearing(c.token))
				if c.status == 0 {
					x.WantPassed(t)
					return
				}
				x.WantRejected(t, c.status, c.reason)
			})
		}
	})
}

// A header that tells one issuer's claim is nobody else's to send, the tokens of
// another issuer included.
func TestHeadersOfOtherIssuers(t *testing.T) {
	eachWithIssuers(t, func(t *testing.T, v version) {
		type m = map[string]any
		p := v.build(t, two(
			m{"claimsToHeaders": []m{{"claim": "sub", "header": "x-user"}, {"claim": "tier", "header": "x-tier"}}},
			m{"claimsToHeaders": []m{{"claim": "name", "header": "x-machine"}, {"claim": "sub", "header": "x-tier"}}}))
		for token, want := range map[string][]string{
			signed("RS256", jwttest.RSA().WithID("k"), from("a", "tier", "gold")): {"remove authorization", "remove x-machine", "set x-tier: gold", "set x-user: alice"},
			signed("RS256", jwttest.RSA2().WithID("k"), from("b", "name", "m1")):  {"remove authorization", "remove x-user", "set x-machine: m1", "set x-tier: alice"},
		} {
			for range 2 { // the second time from the cache
				r := bearing(token)
				r.Headers = append(r.Headers, policytest.Headers("x-user", "root", "x-tier", "root", "x-machine", "root", "x-other", "stays")...)
				x := p.Send(t, r)
				x.WantPassed(t)
				got := x.RequestChanges()
				slices.Sort(got)
				if d := cmp.Diff(want, got); d != "" {
					t.Errorf("(-want +got)\n%s", d)
				}
			}
		}
	})
}

// fetched are parameters of issuers whose keys are behind URLs.
func fetched(urls map[string]string, more map[string]any) map[string]any {
	var issuers []any
	for _, name := range []string{"a", "b", issuer} {
		if url, ok := urls[name]; ok {
			issuers = append(issuers, issuerOf(name, map[string]any{"keys": map[string]any{"url": url, "refresh": "5m", "maxStale": "1h"}}))
		}
	}
	p := map[string]any{"leeway": "0s", "issuers": issuers}
	for name, v := range more {
		p[name] = v
	}
	return p
}

// Start has the keys before the first request: no request fetches or waits.
func TestWarmUp(t *testing.T) {
	eachWithIssuers(t, func(t *testing.T, v version) {
		server := jwttest.NewServer(t, jwttest.RSA())
		p := v.build(t, fetched(map[string]string{"a": server.URL, "b": server.URL + "?b"}, nil), policytest.WithHost(server.Host()))
		if server.Requests() != 2 {
			t.Fatalf("%d requests by Start, want one for each issuer", server.Requests())
		}
		for _, iss := range []string{"a", "b"} {
			p.Send(t, bearing(signed("RS256", jwttest.RSA(), from(iss)))).WantPassed(t)
		}
		if server.Requests() != 2 {
			t.Errorf("%d requests, want 2", server.Requests())
		}
	})
}

// One issuer's outage does not hold up another's tokens.
func TestStartWithOneIssuerDown(t *testing.T) {
	eachWithIssuers(t, func(t *testing.T, v version) {
		up, down := jwttest.NewServer(t, jwttest.RSA()), jwttest.NewServer(t, jwttest.RSA())
		down.Fail(503)
		h := up.Host()
		p := v.build(t, fetched(map[string]string{"a": up.URL, "b": down.URL}, nil), policytest.WithHost(h)) // Start succeeds
		p.Send(t, bearing(signed("RS256", jwttest.RSA(), from("a")))).WantPassed(t)
		if err := p.SendError(t, bearing(signed("RS256", jwttest.RSA(), from("b")))); !strings.Contains(err.Error(), "not been loaded yet") {
			t.Errorf("%v", err)
		}
		if !strings.Contains(h.Logs.String(), "issuer b: ") {
			t.Errorf("the log does not tell which issuer is down:\n%s", h.Logs)
		}
		down.Serve(jwttest.JWKS(jwttest.RSA()))
		// The background has timers for both issuers: the next refresh, the retry.
		jwttest.Eventually(t, "the background to wait", func() bool { return h.Clock.Timers() == 2 })
		h.Clock.Advance(1e9)
		jwttest.Eventually(t, "the keys", func() bool {
			_, err := p.Instance.(policy.RequestHeadersPolicy).OnRequestHeaders(t.Context(), request(signed("RS256", jwttest.RSA(), from("b"))))
			return err == nil
		})
		p.Send(t, bearing(signed("RS256", jwttest.RSA(), from("b")))).WantPassed(t)
	})
}

// Where no issuer has keys Start errs, and the runtime tries it again.
func TestStartWithAllIssuersDown(t *testing.T) {
	eachWithIssuers(t, func(t *testing.T, v version) {
		server := jwttest.NewServer(t)
		server.Fail(503)
		p := v.build(t, fetched(map[string]string{"a": server.URL, "b": server.URL + "?b"}, nil), policytest.WithHost(server.Host()), policytest.WithoutStart())
		starter := p.Instance.(policy.Starter)
		err := starter.Start(t.Context())
		for _, want := range []string{"issuer a: ", "issuer b: ", "503"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q in it", err, want)
			}
		}
		server.Serve(jwttest.JWKS(jwttest.RSA()))
		if err := starter.Start(t.Context()); err != nil {
			t.Errorf("the next Start: %v", err)
		}
		p.Send(t, bearing(signed("RS256", jwttest.RSA(), from("b")))).WantPassed(t)
	})
}

// After a change of the parameters the new instance has the keys of the old one,
// where they come from the same place.
func TestAdoptByPlace(t *testing.T) {
	eachWithIssuers(t, func(t *testing.T, v version) {
		server := jwttest.NewServer(t, jwttest.RSA())
		h := server.Host()
		old := v.build(t, fetched(map[string]string{"a": server.URL, "b": server.URL + "?b"}, nil), policytest.WithHost(h))
		server.Fail(500)
		before := server.Requests()
		p := v.build(t, fetched(map[string]string{"b": server.URL, "a": server.URL + "?elsewhere"}, map[string]any{"realm": "new"}), policytest.WithHost(h), policytest.WithoutStart())
		p.Instance.(policy.Adopter).Adopt(old.Instance)
		if server.Requests() != before {
			t.Error("Adopt fetches")
		}
		p.Send(t, bearing(signed("RS256", jwttest.RSA(), from("b")))).WantPassed(t)
		_ = p.SendError(t, bearing(signed("RS256", jwttest.RSA(), from("a"))))
		if err := p.Instance.(policy.Starter).Start(t.Context()); err != nil {
			t.Error(err)
		}
		if err := old.Close(); err != nil {
			t.Error(err)
		}
		p.Send(t, bearing(signed("RS256", jwttest.RSA(), from("b")))).WantPassed(t)
	})
}
