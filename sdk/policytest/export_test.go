package policytest

import (
	"testing"
	"time"

	"policyengine.dev/sdk/policy"
)

// RunCases runs the cases in src on one t, in order.
func RunCases(t testing.TB, b policy.Builder, src string, opts ...Option) {
	runCases(t, b, "cases.yaml", []byte(src), opts, func(_ string, run func(testing.TB)) { run(t) })
}

// RunConformance runs the check of that name on t, which may not be a *testing.T.
func RunConformance(t testing.TB, name string, b policy.Builder, opts ...Option) {
	for _, check := range conformanceChecks {
		if check.name == name {
			check.run(t, begin(t, b, opts))
			return
		}
	}
	t.Fatalf("there is no check %q", name)
}

// RunAllConformance runs every check on t.
func RunAllConformance(t testing.TB, b policy.Builder, opts ...Option) {
	runConformance(t, b, opts, func(_ string, run func(testing.TB)) { run(t) })
}

// ConformanceChecks are the names of the checks.
func ConformanceChecks() (names []string) {
	for _, check := range conformanceChecks {
		names = append(names, check.name)
	}
	return names
}

// SetHangTimeout changes when a call counts as one that never ends, and returns a
// function that changes it back.
func SetHangTimeout(d time.Duration) (restore func()) {
	old := hangTimeout
	hangTimeout = d
	return func() { hangTimeout = old }
}

// CompareVersions says how found and listed versions differ.
func CompareVersions(found []string, listed []Version) []string {
	return compareVersions(found, listed)
}
