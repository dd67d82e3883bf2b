package debian_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"policyengine.dev/tools/debian"
)

// TestProgramsRun: each program says its version, which it can only where it finds
// its loader and its libraries.
func TestProgramsRun(t *testing.T) {
	for _, name := range []string{"docker-registry", "redis-server", "runc", "skopeo", "umoci"} {
		t.Run(name, func(t *testing.T) {
			out, err := exec.CommandContext(t.Context(), debian.Program(t, name), "--version").CombinedOutput()
			if err != nil || !regexp.MustCompile(`[0-9]+\.[0-9]+`).Match(out) {
				t.Errorf("%s --version: %v\n%s", name, err, out)
			}
		})
	}
}

func TestLocate(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "skopeo"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, program string
		env           map[string]string
		path, err     string
	}{
		{"outside Bazel the variable names the directory", "skopeo", map[string]string{debian.Variable: dir}, filepath.Join(dir, "skopeo"), ""},
		{"a directory that lacks the program is an error", "runc", map[string]string{debian.Variable: dir}, "", "a directory without runc"},
		{"without the variable there is a remedy", "skopeo", nil, "", "./bazelw build //tools/debian:programs"},
		{"a program that nobody declared is an error", "ls", map[string]string{debian.Variable: dir}, "", "programs.json, which has docker-registry"},
		{"in Bazel the test has to have it among its data", "patchelf", map[string]string{"TEST_SRCDIR": dir, debian.Variable: dir}, "", "add //tools/debian:patchelf to the test's data"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path, err := debian.Locate(tt.program, func(k string) string { return tt.env[k] })
			if path != tt.path || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("Locate = %q, %v; want %q, %q", path, err, tt.path, tt.err)
			}
		})
	}
}

// TestLock: every declared program is pinned for every architecture, each of its
// packages by a hash.
func TestLock(t *testing.T) {
	var declared struct {
		Programs map[string]struct{ Packages []string }
	}
	type architecture struct {
		Packages map[string]struct{ File, SHA256 string }
		Programs map[string][]string
	}
	var lock struct{ AMD64, ARM64 architecture }
	for file, to := range map[string]any{"programs.json": &declared, "lock.json": &lock} {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(src, to); err != nil {
			t.Fatal(err)
		}
	}
	hash := regexp.MustCompile(`^[0-9a-f]{64}$`)
	for arch, a := range map[string]architecture{"amd64": lock.AMD64, "arm64": lock.ARM64} {
		for name, p := range declared.Programs {
			needed := a.Programs[name]
			for _, root := range p.Packages {
				if !slices.Contains(needed, root) {
					t.Errorf("%s: %s lacks its package %s: go run ./tools/debian/cmd/lock", arch, name, root)
				}
			}
			for _, n := range needed {
				if pin := a.Packages[n]; !hash.MatchString(pin.SHA256) || !strings.HasPrefix(pin.File, "pool/") {
					t.Errorf("%s: %s is pinned as %+v", arch, n, pin)
				}
			}
		}
	}
}
