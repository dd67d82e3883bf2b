// Package probe is the policy probe for bodies with their content coding undone; see
// version 1, which is the same otherwise.
package probe

import (
	probe "policyengine.dev/envoy_test/policies/probe/v1.0.0"
	"policyengine.dev/sdk/policy"
)

// Policy is the policy.
var Policy = policy.Define(probe.New)
