package namespaces_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"policyengine.dev/tools/bundle/tests/container/namespaces"
)

func TestMain(m *testing.M) {
	namespaces.Child()
	os.Exit(m.Run())
}

// TestProbeSaysWhatIsRefused: a /proc that cannot be mounted is an error that names
// the user, what failed and a remedy.
func TestProbeSaysWhatIsRefused(t *testing.T) {
	err := namespaces.Probe(filepath.Join(t.TempDir(), "missing"))
	if err == nil {
		t.Fatal("a directory that is not there was mounted on")
	}
	for _, want := range []string{"does not let user", "make a container", "root"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
}

// TestProbeLeavesNothing: what the probe mounts is gone with its process.
func TestProbeLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	if err := namespaces.Probe(dir); err != nil {
		t.Skip(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("%d entries are left (%v)", len(entries), err)
	}
}
