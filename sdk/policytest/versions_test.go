package policytest_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"policyengine.dev/sdk/policytest"
)

// TestNoVersionIsOverlooked proves that a list and a directory that differ are told,
// and an empty one too.
func TestNoVersionIsOverlooked(t *testing.T) {
	listed := func(dirs ...string) (vs []policytest.Version) {
		for _, d := range dirs {
			vs = append(vs, policytest.Version{Dir: d})
		}
		return vs
	}
	for _, tt := range []struct {
		name   string
		found  []string
		listed []policytest.Version
		want   []string
	}{
		{"alike", []string{"a/v1.0.0", "b/v1.0.0"}, listed("b/v1.0.0", "a/v1.0.0"), nil},
		{"one that is not listed", []string{"a/v1.0.0", "a/v1.1.0"}, listed("a/v1.0.0"),
			[]string{"a/v1.1.0 is not in the list, so that nobody would check it: run `pectl policy index`"}},
		{"one that is not there", nil, listed("a/v1.0.0"),
			[]string{"a/v1.0.0 is in the list, and has no policy.yaml: run `pectl policy index`"}},
		{"one twice", []string{"a/v1.0.0"}, listed("a/v1.0.0", "a/v1.0.0"), []string{"a/v1.0.0 is in the list twice"}},
		{"none at all", nil, nil, []string{"there is no policy version here"}},
	} {
		if diff := cmp.Diff(tt.want, policytest.CompareVersions(tt.found, tt.listed)); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}
