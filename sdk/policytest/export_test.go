package policytest

import (
	"testing"

	"policyengine.dev/sdk/policy"
)

// RunCases runs the cases in src on one t, in order.
func RunCases(t testing.TB, b policy.Builder, src string, opts ...Option) {
	all, err := parseCases("cases.yaml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all.Cases {
		c.run(t, b, all.Params, opts)
	}
}
