package policytest

import (
	"os"
	"path"
	"slices"
	"testing"

	"policyengine.dev/sdk/definition"
	"policyengine.dev/sdk/policy"
)

// Version is a policy version and where it lies.
type Version struct {
	// Dir is the directory of its policy.yaml, relative to the test's.
	Dir string
	// Policy is the factory that its package exports.
	Policy policy.Builder
}

// ConformanceOf runs [Conformance] over versions, which have to be all that lie below
// the directory in which the test runs: one that is missing from the list fails the
// test, as does one that is listed and not there. `pectl policy index` writes the
// list.
func ConformanceOf(t *testing.T, versions []Version) {
	t.Helper()
	found, err := definition.Find(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range compareVersions(found, versions) {
		t.Error(problem)
	}
	for _, v := range versions {
		t.Run(v.Dir, func(t *testing.T) {
			Conformance(t, v.Policy, WithDefinition(path.Join(v.Dir, "policy.yaml")))
		})
	}
}

func compareVersions(found []string, listed []Version) (problems []string) {
	if len(found)+len(listed) == 0 {
		problems = append(problems, "there is no policy version here")
	}
	for _, dir := range found {
		if !slices.ContainsFunc(listed, func(v Version) bool { return v.Dir == dir }) {
			problems = append(problems, dir+" is not in the list, so that nobody would check it: run `pectl policy index`")
		}
	}
	for i, v := range listed {
		switch {
		case !slices.Contains(found, v.Dir):
			problems = append(problems, v.Dir+" is in the list, and has no policy.yaml: run `pectl policy index`")
		case slices.ContainsFunc(listed[:i], func(o Version) bool { return o.Dir == v.Dir }):
			problems = append(problems, v.Dir+" is in the list twice")
		}
	}
	return problems
}
