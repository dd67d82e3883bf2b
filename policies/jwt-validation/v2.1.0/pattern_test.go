package jwtvalidation

import (
	"net/url"
	"strings"
	"testing"
)

func TestParsePattern(t *testing.T) {
	for s, want := range map[string]string{
		"https://login.example/{tenant}/v2.0":   "",
		"https://login.example/{tenant}":        "",
		"https://login.example/{tenant}/":       "",
		"https://login.example:8443/a/{tenant}": "",
		"https://login.example/":                "does not have {tenant}",
		"https://login.example/{Tenant}":        "does not have {tenant}",
		"https://a/{tenant}/{tenant}":           "does not have {tenant} in it, once",
		"https://a/{tenant}/{other}":            "no other braces",
		"http://login.example/{tenant}":         "it must be https",
		"https://{tenant}/v2.0":                 "not a whole segment",
		"https://{tenant}.login.example/v2.0":   "not a whole segment",
		"https://login.example{tenant}/":        "not a whole segment",
		"https://login.example/a-{tenant}":      "not a whole segment",
		"https://login.example/{tenant}-a":      "not a whole segment",
		"https://login.example/a?{tenant}":      "a query",
		"https://login.example/{tenant}?a":      "a query",
		"https://login.example/{tenant}/#a":     "a fragment",
		"https://u:p@login.example/{tenant}":    "a user name",
		"https:///{tenant}":                     "no host",
	} {
		_, err := parsePattern(s)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", s, err, want)
		}
	}
}

// TestTenant proves that a tenant is one segment of the path, written in one way only.
func TestTenant(t *testing.T) {
	p, err := parsePattern("https://login.example/{tenant}/v2.0")
	if err != nil {
		t.Fatal(err)
	}
	for issuer, want := range map[string]string{
		"https://login.example/contoso/v2.0":                                  "contoso",
		"https://login.example/72f988bf-86f1-41af-91ab-2d7cd011db47/v2.0":     "72f988bf-86f1-41af-91ab-2d7cd011db47",
		"https://login.example/a.b_c~d/v2.0":                                  "a.b_c~d",
		"https://login.example/...../v2.0":                                    ".....",
		"https://login.example/" + strings.Repeat("a", maxTenant) + "/v2.0":   strings.Repeat("a", maxTenant),
		"https://login.example/" + strings.Repeat("a", maxTenant+1) + "/v2.0": "",
		"https://login.example//v2.0":                                         "",
		"https://login.example/v2.0":                                          "",
		"https://login.example/./v2.0":                                        "",
		"https://login.example/../v2.0":                                       "",
		"https://login.example/a/b/v2.0":                                      "",
		"https://login.example/a%2Fb/v2.0":                                    "",
		"https://login.example/%61/v2.0":                                      "",
		"https://login.example/a b/v2.0":                                      "",
		"https://login.example/a?/v2.0":                                       "",
		"https://login.example/a#/v2.0":                                       "",
		"https://login.example/a\\b/v2.0":                                     "",
		"https://login.example/a@evil.example/v2.0":                           "",
		"https://login.example/{tenant}/v2.0":                                 "",
		"https://login.example/contoso/v2.0/":                                 "",
		"https://login.example/contoso/V2.0":                                  "",
		"https://LOGIN.example/contoso/v2.0":                                  "",
		"https://login.example.evil/contoso/v2.0":                             "",
		"https://evil.example/https://login.example/contoso/v2.0":             "",
		"http://login.example/contoso/v2.0":                                   "",
		"https://login.example/cont\u00f6so/v2.0":                             "",
		"https://login.example/v2.0/v2.0":                                     "v2.0",
		"":                                                                    "",
	} {
		if got, ok := p.tenant(issuer); got != want && ok || ok != (want != "") {
			t.Errorf("%s: %q, %v; want %q", issuer, got, ok, want)
		}
	}
}

func TestOverlap(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"https://a/{tenant}", "https://a/{tenant}", true},
		{"https://a/{tenant}/x", "https://a/y/{tenant}", true},
		{"https://a/{tenant}/x", "https://a/{tenant}/y", false},
		{"https://a/{tenant}", "https://b/{tenant}", false},
		{"https://a/{tenant}", "https://a/{tenant}/x", false},
		{"https://a/{tenant}/x", "https://a/a b/{tenant}", false},
	} {
		if got := overlap(c.a, c.b); got != c.want {
			t.Errorf("%s and %s: %v", c.a, c.b, got)
		}
	}
}

// FuzzTenant proves that an issuer which fits is the pattern with its tenant, on the
// pattern's host, with as many segments.
func FuzzTenant(f *testing.F) {
	f.Add("https://login.example/{tenant}/v2.0", "https://login.example/contoso/v2.0")
	f.Add("https://login.example/{tenant}", "https://login.example/..")
	f.Add("https://a/b/{tenant}", "https://a/b/c/d")
	f.Fuzz(func(t *testing.T, text, issuer string) {
		p, err := parsePattern(text)
		if err != nil {
			return
		}
		tenant, ok := p.tenant(issuer)
		if !ok {
			return
		}
		of, err := url.Parse(expand(text, "x"))
		if err != nil {
			t.Fatalf("the pattern %q is not an address: %v", text, err)
		}
		u, err := url.Parse(issuer)
		switch {
		case err != nil:
			t.Errorf("%q fits %q and is not an address: %v", issuer, text, err)
		case expand(text, tenant) != issuer:
			t.Errorf("%q fits %q as %q", issuer, text, tenant)
		case u.Host != of.Host || strings.Count(u.EscapedPath(), "/") != strings.Count(of.EscapedPath(), "/") || u.RawQuery != "" || u.Fragment != "":
			t.Errorf("%q fits %q and leads elsewhere", issuer, text)
		}
	})
}
