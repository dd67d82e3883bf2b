package bodydigest_test

import (
	"testing"

	bodydigest "policyengine.dev/examples/policies/body-digest/v1.0.0"
	"policyengine.dev/sdk/policytest"
)

func TestCases(t *testing.T) {
	policytest.Cases(t, bodydigest.Policy, "testdata/cases.yaml")
}
