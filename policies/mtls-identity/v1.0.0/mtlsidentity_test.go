package mtlsidentity_test

import (
	"fmt"
	"strings"
	"testing"

	mtlsidentity "policyengine.dev/policies/mtls-identity/v1.0.0"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policytest"
)

func TestCases(t *testing.T) {
	policytest.Cases(t, mtlsidentity.Policy, "testdata/cases.yaml")
}

// TestOnlyWhatIsNeededIsRead proves that Envoy sends its attributes only where they
// count.
func TestOnlyWhatIsNeededIsRead(t *testing.T) {
	for params, want := range map[string]int{`{anyIdentity: true}`: 5, `{anyIdentity: true, source: x-forwarded-client-cert}`: 0} {
		request, _ := policytest.New(t, mtlsidentity.Policy, params).Instance.(policy.AttributeReader).ReadsAttributes()
		if len(request) != want {
			t.Errorf("%s: %v are read", params, request)
		}
	}
}

// FuzzHeader proves that no header panics, and that an identity which stands in quotes
// of another field is never taken for the client's.
func FuzzHeader(f *testing.F) {
	f.Add(`By=a;Hash=b;URI=c`, "x")
	f.Add(`Subject="a\"`, `,URI=evil`)
	p := policytest.New(f, mtlsidentity.Policy, `{allow: [evil], identity: [uri], source: x-forwarded-client-cert}`)
	f.Fuzz(func(t *testing.T, before, quoted string) {
		if !policy.ValidHeaderValue(before) || !policy.ValidHeaderValue(quoted) {
			return
		}
		send := func(v string) bool {
			return p.Send(t, policytest.Request{Headers: policytest.Headers("x-forwarded-client-cert", v)}).Immediate == nil
		}
		send(before)
		// The nearest proxy writes the last element.
		escaped := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(quoted)
		if send(fmt.Sprintf(`%s,Subject="%s";URI=good`, before, escaped)) {
			t.Errorf("%q and %q make an identity", before, quoted)
		}
	})
}

func BenchmarkOnRequestHeaders(b *testing.B) {
	for name, c := range map[string]struct {
		params  string
		request policytest.Request
	}{
		"connection": {`{allow: ["spiffe://a/*"]}`, policytest.Request{Attributes: map[string]any{"connection.mtls": true, "connection.uri_san_peer_certificate": "spiffe://a/b"}}},
		"header":     {`{allow: ["spiffe://a/*"], source: x-forwarded-client-cert}`, policytest.Request{Headers: policytest.Headers("x-forwarded-client-cert", "By=x;Hash=y;URI=spiffe://a/b")}},
	} {
		p := policytest.New(b, mtlsidentity.Policy, c.params)
		instance := p.Instance.(*mtlsidentity.MTLSIdentity)
		x := p.Send(b, c.request)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if a, err := instance.OnRequestHeaders(b.Context(), &x.Request); a == nil || err != nil {
					b.Fatal(a, err)
				}
			}
		})
	}
}
