package knowncallers_test

import (
	"testing"

	knowncallers "policyengine.dev/examples/policies/known-callers/v1.0.0"
	"policyengine.dev/sdk/policytest"
)

func TestCases(t *testing.T) {
	policytest.Cases(t, knowncallers.Policy, "testdata/cases.yaml")
}
