package bundles_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// TestWhatIsCompiledIn proves that the binary has the policies of this workspace, of a Go
// module and of the engine, and no others.
func TestWhatIsCompiledIn(t *testing.T) {
	name := os.Getenv("ENGINE")
	if name == "" {
		t.Skip("only Bazel builds the binary: bazel test //bundles/...")
	}
	out, err := exec.Command(filepath.Join(os.Getenv("TEST_SRCDIR"), os.Getenv("TEST_WORKSPACE"), name), "policies", "--json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var policies []struct{ Name, Version string }
	if err := json.Unmarshal(out, &policies); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var got []string
	for _, p := range policies {
		got = append(got, p.Name+"@"+p.Version)
	}
	want := []string{"jwt-validation@v2.0.0", "method-allow@v1.0.0", "set-header@v1.1.0", "tenant-required@v1.0.0"}
	if !slices.Equal(got, want) {
		t.Errorf("the binary has %v, want %v", got, want)
	}
}
