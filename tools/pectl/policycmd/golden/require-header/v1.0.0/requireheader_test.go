package requireheader_test

import (
	"strings"
	"testing"

	"policyengine.dev/sdk/policytest"
	requireheader "policyengine.dev/tools/pectl/policycmd/golden/require-header/v1.0.0"
)

// TestCases runs testdata/cases.yaml: requests with their expected outcome.
func TestCases(t *testing.T) {
	policytest.Cases(t, requireheader.Policy, "testdata/cases.yaml")
}

// TestTheAnswer checks more of an exchange than cases can.
func TestTheAnswer(t *testing.T) {
	p := policytest.New(t, requireheader.Policy, `header: x-tenant`)
	x := p.Send(t, policytest.Request{})
	x.WantRejected(t, 400, requireheader.ReasonMissing)
	if body := string(x.Immediate.Body); !strings.Contains(body, "x-tenant") {
		t.Errorf("the body does not say what is missing: %s", body)
	}
}
