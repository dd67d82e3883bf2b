package securityheaders_test

import (
	"context"
	"strings"
	"testing"

	securityheaders "policyengine.dev/policies/security-headers/v1.0.0"
	"policyengine.dev/sdk/policytest"
)

func TestCases(t *testing.T) {
	policytest.Cases(t, securityheaders.Policy, "testdata/cases.yaml")
}

// TestAResponseCostsNoAllocation proves that everything is prepared at load.
func TestAResponseCostsNoAllocation(t *testing.T) {
	p := policytest.New(t, securityheaders.Policy, `{}`)
	instance := p.Instance.(*securityheaders.SecurityHeaders)
	x := p.Respond(t, policytest.Response{})
	if n := testing.AllocsPerRun(100, func() {
		if a, err := instance.OnResponseHeaders(context.Background(), &x.Response); a == nil || err != nil {
			t.Fatal(a, err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestEveryProblemIsReportedAtOnce proves that one load shows all mistakes.
func TestEveryProblemIsReportedAtOnce(t *testing.T) {
	err := policytest.NewError(t, securityheaders.Policy, `{strictTransportSecurity: forever, contentSecurityPolicy: default-source 'self', remove: [cache-control, host]}`)
	for _, want := range []string{"strictTransportSecurity: ", "contentSecurityPolicy: ", "remove[0]: ", "remove[1]: "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in the error:\n%v", want, err)
		}
	}
}

// FuzzValues proves that no value panics, and that what is accepted can be sent.
func FuzzValues(f *testing.F) {
	f.Add("max-age=31536000; includeSubDomains; preload", "default-src 'self'; img-src *", `camera=(), usb=(self "https://a.example")`, "no-store, max-age=0")
	f.Add(";=;", ";,'none'", "(((", "=")
	f.Fuzz(func(t *testing.T, transport, content, permissions, cache string) {
		instance, err := securityheaders.New(securityheaders.Params{
			StrictTransportSecurity: transport, ContentSecurityPolicy: content, PermissionsPolicy: permissions, CacheControl: cache,
		}, policytest.NewHost().Policy())
		if err != nil {
			return
		}
		action, _ := instance.OnResponseHeaders(t.Context(), nil)
		if action == nil {
			t.Fatal("no action")
		}
		for _, v := range []string{transport, content, permissions, cache} {
			if strings.ContainsAny(v, "\r\n\x00") {
				t.Errorf("%q was accepted", v)
			}
		}
	})
}

func BenchmarkOnResponseHeaders(b *testing.B) {
	p := policytest.New(b, securityheaders.Policy, `{}`)
	instance := p.Instance.(*securityheaders.SecurityHeaders)
	x := p.Respond(b, policytest.Response{})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := instance.OnResponseHeaders(b.Context(), &x.Response); err != nil {
			b.Fatal(err)
		}
	}
}
