package jwtvalidation_test

import (
	"testing"

	jwtvalidation "policyengine.dev/policies/jwt-validation/v1.0.0"
	"policyengine.dev/sdk/policytest"
)

// What both versions do is tested in ../internal/suite.
func TestCases(t *testing.T) { policytest.Cases(t, jwtvalidation.Policy, "testdata/cases.yaml") }
