package linked_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"policyengine.dev/runtime/bundle"
	"policyengine.dev/tools/builder/linked"
	"policyengine.dev/tools/builder/validated"
)

func policyOf(t *testing.T, version string) *validated.Policy {
	t.Helper()
	src := "apiVersion: policyengine/v1\nname: a\nversion: " + version + "\ndescription: A.\nphases: [request_headers]\n"
	p, err := validated.New("example.com/a/"+version, "a/"+version+"/policy.yaml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func packages(t *testing.T, lines ...string) ([]linked.Package, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "packages")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return linked.ReadFile(file)
}

// TestManifest proves that the manifest lists each policy and each module once, sorted, and packages of no module by
// themselves.
func TestManifest(t *testing.T) {
	of, err := packages(t,
		"policyengine.dev/sdk/policy\t\t",
		"policyengine.development/x\t\t",
		"google.golang.org/grpc/codes\tgoogle.golang.org/grpc\tv1.80.0",
		"google.golang.org/grpc\tgoogle.golang.org/grpc\tv1.80.0",
		"example.com/local\texample.com/local\t",
		"policyengine.dev/runtime/engine\t\t")
	if err != nil {
		t.Fatal(err)
	}
	policies := []*validated.Policy{policyOf(t, "v1.10.0"), policyOf(t, "v1.9.0")}
	got, err := linked.Manifest("payments", "go1.26.8", policies, of)
	if err != nil {
		t.Fatal(err)
	}
	digestOf := func(i int) string {
		definition, err := json.Marshal(policies[i].Definition)
		if err != nil {
			t.Fatal(err)
		}
		return bundle.Digest(definition)
	}
	want := &bundle.Manifest{
		Schema: bundle.Schema, Bundle: "payments", Go: "go1.26.8",
		Policies: []bundle.Policy{
			{Name: "a", Version: "v1.9.0", ImportPath: "example.com/a/v1.9.0", Definition: digestOf(1)},
			{Name: "a", Version: "v1.10.0", ImportPath: "example.com/a/v1.10.0", Definition: digestOf(0)},
		},
		Modules: []bundle.Module{
			{Path: "example.com/local", Version: bundle.Devel},
			{Path: "google.golang.org/grpc", Version: "v1.80.0"},
			{Path: "policyengine.dev", Version: bundle.Devel},
		},
		Packages: []string{"policyengine.development/x"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if want.Policies[0].Definition == want.Policies[1].Definition {
		t.Error("two definitions have the same digest")
	}
}

// TestRefuses proves that the build stops where it cannot say what is linked.
func TestRefuses(t *testing.T) {
	for _, line := range []string{"", "a", "a\tb", "\tb\tv1.0.0", "a\tb\tv1.0.0\tc"} {
		if _, err := packages(t, "policyengine.dev/x\t\t", line); err == nil || !strings.Contains(err.Error(), ":2: ") {
			t.Errorf("%q: got %v, want an error for line 2", line, err)
		}
	}
	of, err := packages(t, "b/c\tb\tv1.0.0", "b/d\tb\tv1.1.0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := linked.Manifest("payments", "go1.26.8", nil, of); err == nil || !strings.Contains(err.Error(), "b is listed twice") {
		t.Errorf("got %v, want that b is listed twice", err)
	}
	// The error is the one with the files, not that of a manifest.
	twice := []*validated.Policy{policyOf(t, "v1.0.0"), policyOf(t, "v1.0.0")}
	if _, err := linked.Manifest("payments", "go1.26.8", twice, nil); err == nil || !strings.HasPrefix(err.Error(), "a/v1.0.0/policy.yaml:2:7: name: a v1.0.0 is in this bundle already") {
		t.Errorf("got %v, want that a v1.0.0 is there twice", err)
	}
	if _, err := linked.ReadFile(t.TempDir() + "/none"); err == nil {
		t.Error("a missing file is read")
	}
}
