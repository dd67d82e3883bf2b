package setheader_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	setheader "policyengine.dev/policies/set-header/v1.0.0"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policytest"
)

const both = `
request:
  remove: [X-Client, cookie]
  set: [{name: X-Tenant, value: payments}]
  append: [{name: via, value: gateway}]
response:
  remove: [server]
  set: [{name: strict-transport-security, value: max-age=31536000}]
  append: [{name: vary, value: Origin}]
`

func TestCases(t *testing.T) {
	policytest.Cases(t, setheader.Policy, "testdata/cases.yaml")
}

// TestTheProxyIsToldTheNetResult proves that Envoy is told each name once.
func TestTheProxyIsToldTheNetResult(t *testing.T) {
	p := policytest.New(t, setheader.Policy, both)
	x := p.Send(t, policytest.Request{Headers: policytest.Headers("x-client", "1", "x-tenant", "spoofed", "via", "edge")})
	want := []string{"remove x-client", "set x-tenant: payments", "add via: gateway"}
	if got := x.RequestChanges(); !slices.Equal(got, want) {
		t.Errorf("changes are %q, want %q", got, want)
	}
}

// TestOnlyWhatIsNeededIsAskedFor proves that a policy for requests costs no response.
func TestOnlyWhatIsNeededIsAskedFor(t *testing.T) {
	for _, tt := range []struct {
		params string
		want   policy.PhaseSet
	}{
		{`request: {remove: [a]}`, policy.Phases(policy.RequestHeaders)},
		{`response: {set: [{name: a, value: ""}]}`, policy.Phases(policy.ResponseHeaders)},
		{both, policy.Phases(policy.RequestHeaders, policy.ResponseHeaders)},
	} {
		p := policytest.New(t, setheader.Policy, tt.params)
		if got := policy.ActivePhases(p.Instance); got != tt.want {
			t.Errorf("%s: phases are %v, want %v", tt.params, got, tt.want)
		}
		p.Send(t, policytest.Request{}).Respond(t, policytest.Response{})
	}
}

func TestRefusedParameters(t *testing.T) {
	for _, tt := range []struct {
		name, params string
		want         []string
	}{
		{"nothing to do", `{}`, []string{"too few fields"}},
		{"nothing to do in a direction", `{request: {}}`, []string{"request: too few fields"}},
		{"an unknown field", `{request: {add: []}}`, []string{"request.add: unknown field"}},
		{"no header name", `{request: {remove: ["a b"]}}`, []string{"request.remove[0]: not of the form header-name"}},
		{"a value with a line break", `{request: {set: [{name: a, value: "x\ny: z"}]}}`, []string{"request.set[0].value: not of the right form"}},
		{"a pseudo-header", `{request: {remove: [":path"]}}`, []string{"request.remove[0]: not of the form header-name"}},
		{"every header that is not for policies, at once", `
request:
  remove: [host]
  set: [{name: Content-Length, value: "1"}, {name: transfer-encoding, value: chunked}]
  append: [{name: connection, value: close}]
response:
  set: [{name: x-envoy-upstream-service-time, value: "0"}]
`, []string{
			`request.remove[0]: "host" is the authority`,
			`request.set[0]: "content-length" frames the message, which is the proxy's task`,
			`request.set[1]: "transfer-encoding" frames the message, which is the proxy's task`,
			`request.append[0]: "connection" belongs to one connection`,
			`response.set[0]: "x-envoy-upstream-service-time" is Envoy's own`,
		}},
		{"a name set twice", `{response: {set: [{name: a, value: "1"}, {name: A, value: "2"}]}}`, []string{`response.set[1]: "a" is set already`}},
		{"a name removed twice", `{request: {remove: [a, A]}}`, []string{`request.remove[1]: "a" is removed already`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := policytest.NewError(t, setheader.Policy, tt.params)
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in the error:\n%v", want, err)
				}
			}
		})
	}
}

// TestNewDoesNotRelyOnTheSchema proves that parameters which change nothing are
// refused by New as well.
func TestNewDoesNotRelyOnTheSchema(t *testing.T) {
	if _, err := setheader.New(setheader.Params{}, policy.Host{}); err == nil || !strings.Contains(err.Error(), "nothing to do") {
		t.Errorf("error is %v", err)
	}
}

func TestARequestCostsNoAllocation(t *testing.T) {
	p := policytest.New(t, setheader.Policy, both)
	instance := p.Instance.(*setheader.SetHeader)
	x := p.Send(t, policytest.Request{})
	ctx := context.Background()
	if n := testing.AllocsPerRun(100, func() {
		if a, err := instance.OnRequestHeaders(ctx, &x.Request); a == nil || err != nil {
			t.Fatal(a, err)
		}
		if a, err := instance.OnResponseHeaders(ctx, &x.Response); a == nil || err != nil {
			t.Fatal(a, err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
