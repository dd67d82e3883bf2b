package jwtvalidation_test

import (
	"testing"

	"go.uber.org/goleak"

	jwtvalidation "policyengine.dev/policies/jwt-validation/v2.0.0"
	"policyengine.dev/sdk/policytest"
)

// Package internal/suite has the other tests of this version.

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCases(t *testing.T) { policytest.Cases(t, jwtvalidation.Policy, "testdata/cases.yaml") }
