package definition_test

import (
	"slices"
	"testing"
	"testing/fstest"

	"policyengine.dev/sdk/definition"
)

func TestFind(t *testing.T) {
	tree := fstest.MapFS{}
	for _, name := range []string{
		"b/v1.0.0/policy.yaml", "a/v2.0.0/policy.yaml", "a/v1.0.0/policy.yaml", "a/v1.0.0/testdata/v1.0.0/policy.yaml",
		"_a/v1.0.0/policy.yaml", ".new-1/policy.yaml", "c/v1.0.0/policy.yml", "deeper/d/v1.0.0/policy.yaml", "e/policy.yaml/x",
	} {
		tree[name] = &fstest.MapFile{}
	}
	got, err := definition.Find(tree)
	if want := []string{"a/v1.0.0", "a/v2.0.0", "b/v1.0.0", "deeper/d/v1.0.0"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("found %q, %v, want %q", got, err, want)
	}
}
