package jwtvalidation_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"policyengine.dev/policies/jwt-validation/internal/jwttest"
	"policyengine.dev/policies/jwt-validation/internal/refusal"
	jwtvalidation "policyengine.dev/policies/jwt-validation/v2.1.0"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policytest"
)

type m = map[string]any

// provider is a server with many tenants, each with keys of its own.
func provider(t *testing.T, keys map[string]jwttest.Key) (*jwttest.Server, string) {
	server := jwttest.NewServer(t)
	base := strings.TrimSuffix(server.URL, "/jwks.json")
	server.Do(func(w http.ResponseWriter, r *http.Request) {
		tenant, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		key, ok := keys[tenant]
		switch {
		case !ok:
			http.NotFound(w, r)
		case rest == "v2.0/.well-known/openid-configuration":
			_, _ = fmt.Fprintf(w, `{"issuer": "%[1]s/%[2]s/v2.0", "jwks_uri": "%[1]s/%[2]s/keys", "x": [1]}`, base, tenant)
		case rest == "keys":
			_, _ = fmt.Fprint(w, jwttest.JWKS(key))
		default:
			http.NotFound(w, r)
		}
	})
	return server, base
}

func of(iss string, changes ...any) m {
	return jwttest.Claims(good, append([]any{"iss", iss}, changes...)...)
}

// Tenants that are listed have keys of their own, which are found by discovery or by the
// tenant in the address. A key of one tenant is no key of another.
func TestListedTenants(t *testing.T) {
	a, b := jwttest.RSA(), jwttest.P256()
	for name, keys := range map[string]func(base string) m{
		"discovery": func(string) m { return m{"discovery": true} },
		"url":       func(base string) m { return m{"url": base + "/{tenant}/keys"} },
	} {
		t.Run(name, func(t *testing.T) {
			server, base := provider(t, map[string]jwttest.Key{"a": a, "b": b, "c": a})
			p := build(t, m{"issuers": []any{issuerOf("", m{
				"issuer": nil, "issuerPattern": base + "/{tenant}/v2.0", "tenants": []string{"a", "b"}, "keys": keys(base),
				"claimsToHeaders": []any{m{"claim": "tenant", "header": "x-tenant"}},
			})}}, policytest.WithHost(server.Host()))
			x := p.Send(t, bearing(signed("RS256", a, of(base+"/a/v2.0", "tenant", "b"))))
			x.WantPassed(t)
			if got := x.Request.Header("x-tenant"); got != "a" || x.Request.Principal().Claims["tenant"] != "a" {
				t.Errorf("the tenant is %q, %v", got, x.Request.Principal().Claims["tenant"])
			}
			p.Send(t, bearing(signed("ES256", b, of(base+"/b/v2.0")))).WantPassed(t)
			p.Send(t, bearing(signed("RS256", a, of(base+"/b/v2.0")))).WantRejected(t, 401, refusal.ReasonKeyUnknown)
			p.Send(t, bearing(signed("ES256", b.WithID("rsa"), of(base+"/a/v2.0")))).WantRejected(t, 401, refusal.ReasonKeyUnknown)
		})
	}
}

// Whatever "iss" a token has that nobody has verified, it causes no fetch.
func TestUnverifiedIssuersCauseNoFetch(t *testing.T) {
	server, base := provider(t, map[string]jwttest.Key{"a": jwttest.RSA(), "c": jwttest.RSA()})
	p := build(t, m{"issuers": []any{issuerOf("", m{"issuer": nil, "issuerPattern": base + "/{tenant}/v2.0", "tenants": []string{"a"}, "keys": m{"discovery": true}})},
		"unknownKeys": m{"interval": "1s"}}, policytest.WithHost(server.Host()))
	before := server.Requests()
	p.Host.Clock.Advance(10 * time.Second)
	for _, iss := range []string{base + "/c/v2.0", base + "/../v2.0", base + "/a/../c/v2.0", base + "/a%2fc/v2.0", base + "/A/v2.0", base, "https://evil.example/a/v2.0", ""} {
		for _, kid := range []string{"rsa", "unknown"} {
			p.Send(t, bearing(signed("RS256", jwttest.RSA().WithID(kid), of(iss)))).WantRejected(t, 401, refusal.ReasonIssuerUnknown)
		}
	}
	if n := server.Requests(); n != before {
		t.Errorf("%d requests have been made", n-before)
	}
}

// With keys in common every tenant passes, and the claim tells which one it is.
func TestAnyTenant(t *testing.T) {
	key := jwttest.RSA()
	inline := issuerOf("", nil, key)["keys"]
	p := build(t, m{"issuers": []any{
		issuerOf("", m{"issuer": nil, "issuerPattern": "https://login.example/{tenant}/v2.0", "anyTenant": true, "tenantClaim": "org", "keys": inline,
			"rules": []any{m{"expression": `auth.claims.org == auth.claims.tid`}}, "requiredClaims": []any{m{"claim": "org"}}}),
		issuerOf("https://login.example/own/v2.0", nil, jwttest.RSA2()),
	}})
	for i := range 3 {
		tenant := fmt.Sprint("t", i)
		x := p.Send(t, bearing(signed("RS256", key, of("https://login.example/"+tenant+"/v2.0", "tid", tenant))))
		x.WantPassed(t)
		if got := x.Request.Principal(); got.Claims["org"] != tenant || got.Issuer != "https://login.example/"+tenant+"/v2.0" {
			t.Errorf("the principal is %+v", got)
		}
	}
	p.Send(t, bearing(signed("RS256", key, of("https://login.example/a/v2.0", "tid", "b", "org", "b")))).WantRejected(t, 403, refusal.ReasonRuleFailed)
	p.Send(t, bearing(signed("RS256", key, of("https://login.example/a/b/v2.0")))).WantRejected(t, 401, refusal.ReasonIssuerUnknown)
	// A whole name goes before a pattern.
	p.Send(t, bearing(signed("RS256", key, of("https://login.example/own/v2.0", "tid", "own")))).WantRejected(t, 401, refusal.ReasonKeyUnknown)
	p.Send(t, bearing(signed("RS256", jwttest.RSA2(), of("https://login.example/own/v2.0")))).WantPassed(t)
}

// What discovery finds is not believed where it could be somebody else's.
func TestDiscoveryThatIsNotBelieved(t *testing.T) {
	other := jwttest.NewServer(t, jwttest.RSA())
	otherHost := strings.TrimSuffix(strings.TrimPrefix(other.URL, "https://"), "/jwks.json")
	for name, c := range map[string]struct {
		document string // %[1]s is the server's address
		hosts    []string
		want     string // "" where it is believed
	}{
		"its own":                    {`{"issuer": "%[1]s", "jwks_uri": "%[1]s/keys"}`, nil, ""},
		"another issuer":             {`{"issuer": "%[1]s/", "jwks_uri": "%[1]s/keys"}`, nil, `"issuer" is not the issuer`},
		"no issuer":                  {`{"jwks_uri": "%[1]s/keys"}`, nil, `"issuer" is not the issuer`},
		"plain http":                 {`{"issuer": "%[1]s", "jwks_uri": "http://login.example/keys"}`, nil, "it must be https"},
		"another host":               {`{"issuer": "%[1]s", "jwks_uri": "` + other.URL + `"}`, nil, "on a host that is neither"},
		"another host that is named": {`{"issuer": "%[1]s", "jwks_uri": "` + other.URL + `"}`, []string{otherHost}, ""},
		"no address":                 {`{"issuer": "%[1]s"}`, nil, `there is no "jwks_uri"`},
		"no JSON":                    {`<html>`, nil, "not one JSON object"},
	} {
		t.Run(name, func(t *testing.T) {
			server := jwttest.NewServer(t)
			base := strings.TrimSuffix(server.URL, "/jwks.json")
			server.Do(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/keys" {
					_, _ = fmt.Fprint(w, jwttest.JWKS(jwttest.RSA()))
					return
				}
				_, _ = fmt.Fprint(w, strings.ReplaceAll(c.document, "%[1]s", base))
			})
			keys := m{"discovery": true}
			if c.hosts != nil {
				keys["hosts"] = c.hosts
			}
			before := other.Requests()
			p := build(t, m{"issuers": []any{issuerOf(base, m{"keys": keys})}}, policytest.WithHost(server.Host()), policytest.WithoutStart())
			err := p.Instance.(policy.Starter).Start(t.Context())
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("Start: %v; want %q", err, c.want)
			}
			if other.Requests() > before && c.hosts == nil {
				t.Error("the other host has been asked")
			}
		})
	}
}

// Redirects of the document, of the set that it names, and of a set are refused.
func TestRedirectsAreRefused(t *testing.T) {
	for _, at := range []string{"/.well-known/openid-configuration", "/keys"} {
		server := jwttest.NewServer(t)
		base := strings.TrimSuffix(server.URL, "/jwks.json")
		server.Do(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case at:
				http.Redirect(w, r, base+"/elsewhere"+at, http.StatusFound)
			case "/keys", "/elsewhere/keys":
				_, _ = fmt.Fprint(w, jwttest.JWKS(jwttest.RSA()))
			default:
				_, _ = fmt.Fprintf(w, `{"issuer": %q, "jwks_uri": %q}`, base, base+"/keys")
			}
		})
		for _, keys := range []m{{"discovery": true}, {"url": base + "/keys"}} {
			if keys["url"] != nil && at != "/keys" {
				continue
			}
			p := build(t, m{"issuers": []any{issuerOf(base, m{"keys": keys})}}, policytest.WithHost(server.Host()), policytest.WithoutStart())
			if err := p.Instance.(policy.Starter).Start(t.Context()); err == nil || !strings.Contains(err.Error(), "redirects are not followed") {
				t.Errorf("%s, %v: %v", at, keys, err)
			}
		}
	}
}

// New refuses, with every problem at once, tenants that could not be told apart or that
// anybody could make up.
func TestTenantsThatAreRefused(t *testing.T) {
	pattern := "https://login.example/{tenant}/v2.0"
	many := make([]string, 200)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	for name, c := range map[string]struct {
		issuers []any
		want    string
	}{
		"neither tenants nor any":   {[]any{m{"issuer": nil, "issuerPattern": pattern}}, "tenants, anyTenant: give the tenants"},
		"both":                      {[]any{m{"issuer": nil, "issuerPattern": pattern, "anyTenant": true, "tenants": []string{"a"}}}, "tenants, anyTenant: give the tenants"},
		"any with discovery":        {[]any{m{"issuer": nil, "issuerPattern": pattern, "anyTenant": true, "keys": m{"discovery": true}}}, "made-up tenants could cause fetches"},
		"any with keys of its own":  {[]any{m{"issuer": nil, "issuerPattern": pattern, "anyTenant": true, "keys": m{"url": "https://login.example/{tenant}/keys"}}}, "made-up tenants could cause fetches"},
		"a dot segment":             {[]any{m{"issuer": nil, "issuerPattern": pattern, "tenants": []string{".."}}}, "tenants[0]: it is not one segment"},
		"a claim with a meaning":    {[]any{m{"issuer": nil, "issuerPattern": pattern, "anyTenant": true, "tenantClaim": "sub"}}, `tenantClaim: "sub" is a registered claim`},
		"tenants without pattern":   {[]any{m{"tenants": []string{"a"}}}, "tenants, anyTenant: they go with issuerPattern"},
		"the same tenant twice":     {[]any{m{"issuer": nil, "issuerPattern": pattern, "tenants": []string{"a"}}, m{"issuer": "https://login.example/a/v2.0"}}, "issuers[1].issuer: it is that of issuers[0] already"},
		"patterns that overlap":     {[]any{m{"issuer": nil, "issuerPattern": pattern, "anyTenant": true}, m{"issuer": nil, "issuerPattern": "https://login.example/x/{tenant}", "anyTenant": true}}, "issuers[1].issuerPattern: one issuer can fit it and that of issuers[0]"},
		"too many":                  {[]any{m{"issuer": nil, "issuerPattern": pattern, "tenants": many}, m{"issuer": nil, "issuerPattern": pattern + "/x", "tenants": many}}, "issuers: there are 400"},
		"hosts without discovery":   {[]any{m{"keys": m{"url": "https://login.example/keys", "hosts": []string{"a"}}}}, "keys.hosts: they go with discovery"},
		"hosts that are none":       {[]any{m{"keys": m{"discovery": true, "hosts": []string{"https://a"}}}}, "keys.hosts[0]:"},
		"an issuer without address": {[]any{m{"issuer": "joe", "keys": m{"discovery": true}}}, "keys.discovery: the issuer is not an https address"},
		"tls of a file":             {[]any{m{"keys": m{"file": "/f", "tls": m{"caFile": "/ca"}}}}, "keys.tls: it goes with url or discovery"},
		"no expiry and no maxAge":   {[]any{m{"allowNoExpiry": true}}, "allowNoExpiry: requires maxAge"},
	} {
		t.Run(name, func(t *testing.T) {
			var list []any
			for _, i := range c.issuers {
				list = append(list, issuerOf("https://one.example/", i.(m), jwttest.RSA()))
			}
			for _, i := range list {
				if i := i.(m); i["issuer"] == nil {
					delete(i, "issuer")
				}
			}
			if err := policytest.NewError(t, jwtvalidation.Policy, encode(t, m{"issuers": list})); !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v\nwant %q", err, c.want)
			}
		})
	}
}
