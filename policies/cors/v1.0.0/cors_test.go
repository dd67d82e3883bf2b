package cors_test

import (
	"context"
	"net/url"
	"strings"
	"testing"

	cors "policyengine.dev/policies/cors/v1.0.0"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policytest"
)

func TestCases(t *testing.T) {
	policytest.Cases(t, cors.Policy, "testdata/cases.yaml")
}

// TestRefusedOrigins proves that an origin which no browser sends is refused at load,
// with what would be right.
func TestRefusedOrigins(t *testing.T) {
	for origin, want := range map[string]string{
		"app.example.com":            "is no origin",
		"https://":                   "is no origin",
		"https://app.example.com/":   "has more than an origin: write https://app.example.com",
		"https://a.example?":         "has more than an origin",
		"https://u@a.example":        "has more than an origin",
		"https://App.example.com":    `browsers send "https://app.example.com"`,
		"HTTPS://app.example.com":    "has upper case letters",
		"https://app.example.com:":   "has a colon and no port",
		"https://a.example:443":      `drop ":443"`,
		"http://a.example:80":        `drop ":80"`,
		"https://a.example:0":        "a port is from 1 to 65535",
		"https://a.example:65536":    "a port is from 1 to 65535",
		"https://a.example:0443":     "a port is from 1 to 65535",
		"https://*.com":              "would allow every host below",
		"https://*":                  "has no host name",
		"https://app*.example.com":   "has no host name",
		"https://*.*.example.com":    "has no host name",
		"https://a..example":         "has no host name",
		"https://bücher.example":     "has no host name",
		"https://[::1":               "is no origin",
		"https://[0:0:0:0:0:0:0:1]":  "has no IPv6 address in its shortest form",
		"file://server":              `have the origin "null"`,
		"https://a.example, b.test":  "is no origin",
		"https://a.example\r\nx: y":  "is no origin",
		"https://user:pw@a.example/": "has more than an origin",
	} {
		err := policytest.NewError(t, cors.Policy, "allowOrigins: ["+quote(origin)+"]")
		if !strings.Contains(err.Error(), "allowOrigins[0]: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q is not in the error: %v", origin, want, err)
		}
	}
	for _, origin := range []string{"https://a.example:8443", "http://localhost", "http://[::1]:3000", "chrome-extension://abcdef", "https://*.example.com:444", "null"} {
		policytest.New(t, cors.Policy, "allowOrigins: ["+quote(origin)+"]")
	}
}

func quote(s string) string {
	return `"` + strings.NewReplacer("\r", `\r`, "\n", `\n`).Replace(s) + `"`
}

// TestEveryProblemIsReportedAtOnce proves that one load shows all mistakes.
func TestEveryProblemIsReportedAtOnce(t *testing.T) {
	err := policytest.NewError(t, cors.Policy, `
allowOrigins: ["*", "null", "a.example"]
allowMethods: [put, CONNECT, "*"]
allowHeaders: ["*"]
exposeHeaders: ["*"]
allowCredentials: true
maxAge: 1500ms
`)
	for _, want := range []string{
		`allowOrigins[0]: "*" together with allowCredentials`, `allowOrigins[1]: "null" together with allowCredentials`, `allowOrigins[2]: "a.example" is no origin`,
		`allowMethods[0]: "put" is not a method: write "PUT"`, `allowMethods[1]: "CONNECT" cannot be sent`, `allowMethods[2]: "*" has no meaning`,
		`allowHeaders[0]: "*" has no meaning`, `exposeHeaders[0]: "*" has no meaning`, `maxAge: 1.5s is not a whole number`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in the error:\n%v", want, err)
		}
	}
}

const subdomains = `{allowOrigins: ["https://*.example.com", "https://app.test"], allowCredentials: true}`

// FuzzOrigin proves, against net/url, that a wildcard admits subdomains and nothing else.
func FuzzOrigin(f *testing.F) {
	for _, s := range []string{"https://app.test", "https://a.example.com", "https://a.b.example.com", "https://example.com", "https://evilexample.com", "https://a.example.com.evil.test", "https://evil.test/.example.com", "https://evil.test#.example.com", "https://a@b.example.com", "null", "https://.example.com"} {
		f.Add(s)
	}
	p := policytest.New(f, cors.Policy, subdomains)
	f.Fuzz(func(t *testing.T, origin string) {
		if !policy.ValidHeaderValue(origin) {
			return
		}
		x := p.Send(t, policytest.Request{Headers: policytest.Headers("origin", origin)})
		x.Respond(t, policytest.Response{})
		got, allowed := x.Response.Headers().Lookup("access-control-allow-origin")
		if !allowed || origin == "https://app.test" {
			return
		}
		u, err := url.Parse(origin)
		if err != nil || u.Scheme != "https" || u.User != nil || u.Path != "" || !strings.HasSuffix(u.Host, ".example.com") || u.Host == ".example.com" {
			t.Errorf("%q was allowed", origin)
		}
		if got != origin {
			t.Errorf("%q was told %q", origin, got)
		}
	})
}

// TestARequestCostsNoAllocation proves that named origins cost nothing but a look-up.
func TestARequestCostsNoAllocation(t *testing.T) {
	p := policytest.New(t, cors.Policy, subdomains)
	instance := p.Instance.(*cors.CORS)
	for _, origin := range []string{"https://app.test", "https://evil.test"} {
		x := p.Send(t, policytest.Request{Headers: policytest.Headers("origin", origin)})
		x.Respond(t, policytest.Response{})
		if n := testing.AllocsPerRun(100, func() {
			if _, err := instance.OnRequestHeaders(context.Background(), &x.Request); err != nil {
				t.Fatal(err)
			}
			if _, err := instance.OnResponseHeaders(context.Background(), &x.Response); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", origin, n)
		}
	}
}

func BenchmarkResponse(b *testing.B) {
	p := policytest.New(b, cors.Policy, subdomains)
	instance := p.Instance.(*cors.CORS)
	for name, origin := range map[string]string{"named": "https://app.test", "wildcard": "https://a.example.com"} {
		x := p.Send(b, policytest.Request{Headers: policytest.Headers("origin", origin)})
		x.Respond(b, policytest.Response{})
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := instance.OnResponseHeaders(b.Context(), &x.Response); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
