package probe_test

import (
	"testing"

	probe "policyengine.dev/envoy_test/policies/probe/v1.0.0"
	"policyengine.dev/sdk/policytest"
)

func TestTheDefinitionFitsTheCode(t *testing.T) {
	p := policytest.New(t, probe.Policy, `{requestHeaders: {headers: {set: [{name: x-probe, value: "1"}]}, tell: {x-absent: "header:x-none"}}}`)
	x := p.Send(t, policytest.Request{})
	x.WantPassed(t)
	if got := x.Request.Header("x-probe"); got != "1" {
		t.Errorf("x-probe is %q", got)
	}
}
