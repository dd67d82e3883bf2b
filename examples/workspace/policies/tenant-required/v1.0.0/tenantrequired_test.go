package tenantrequired_test

import (
	"testing"

	tenantrequired "payments.example/policies/tenant-required/v1.0.0"
	"policyengine.dev/sdk/policytest"
)

func TestCases(t *testing.T) { policytest.Cases(t, tenantrequired.Policy, "testdata/cases.yaml") }

func TestConformance(t *testing.T) { policytest.Conformance(t, tenantrequired.Policy) }
