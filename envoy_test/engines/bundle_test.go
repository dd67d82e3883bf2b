package engines

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Below `bazel run` the bundle is built by the workspace's own Bazel.
func TestBundleByBazel(t *testing.T) {
	workspace := t.TempDir()
	t.Setenv("BUILD_WORKSPACE_DIRECTORY", workspace)
	bazel := "#!/bin/sh\necho \"$@\" > called\nfor a in \"$@\"; do case $a in --script_path=*) printf '#!/bin/sh\\necho engine \"$@\"\\n' > \"${a#*=}\"; chmod +x \"${a#*=}\";; esac; done\n"
	if err := os.WriteFile(filepath.Join(workspace, "bazelw"), []byte(bazel), 0o700); err != nil {
		t.Fatal(err)
	}
	path, err := Bundle(t.Context(), "//bundles:mine")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(path, "-version").Output(); err != nil || string(out) != "engine -version\n" {
		t.Errorf("%q, %v", out, err)
	}
	called, err := os.ReadFile(filepath.Join(workspace, "called"))
	if err != nil || !strings.HasPrefix(string(called), "run --script_path=") || !strings.HasSuffix(string(called), " //bundles:mine\n") {
		t.Errorf("Bazel was called with %q, %v", called, err)
	}
	if err := os.WriteFile(filepath.Join(workspace, "bazelw"), []byte("#!/bin/sh\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Bundle(t.Context(), "//bundles:mine"); err == nil || !strings.Contains(err.Error(), "building //bundles:mine") {
		t.Errorf("a build that fails gives %v", err)
	}
}

func TestBundleByPath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "engine")
	if err := os.WriteFile(path, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	if got, err := Bundle(t.Context(), path); got != path || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := Bundle(t.Context(), "bundles:mine"); err == nil || !strings.Contains(err.Error(), "such as //bundles:mine") {
		t.Errorf("what is neither gives %v", err)
	}
}
