package envoy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"policyengine.dev/tools/envoy"
)

func TestVersion(t *testing.T) {
	binary := envoy.Binary(t)
	out, err := exec.CommandContext(t.Context(), binary, "--version").CombinedOutput()
	if err != nil {
		t.Fatalf("envoy --version: %v\n%s", err, out)
	}
	if envoy.Version() != "1.36.2" || !strings.Contains(string(out), "/1.36.2/") {
		t.Errorf("envoy --version says %q, want 1.36.2 as pinned (%s)", out, envoy.Version())
	}
	if err := envoy.Check(binary); err != nil {
		t.Error(err)
	}
}

// In Bazel's sandbox a skipped test proves nothing, so there must be no way to skip.
func TestBazelHasIt(t *testing.T) {
	if os.Getenv("TEST_SRCDIR") == "" {
		t.Skip("not run by Bazel")
	}
	if _, err := envoy.Locate(); err != nil {
		t.Error(err)
	}
}

func TestCheckRefuses(t *testing.T) {
	other := filepath.Join(t.TempDir(), "envoy")
	if err := os.WriteFile(other, []byte("abc"), 0o755); err != nil {
		t.Fatal(err)
	}
	err := envoy.Check(other)
	if err == nil {
		t.Fatal("a file that is not Envoy passed for it")
	}
	for _, want := range []string{
		"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", // FIPS 180-4: "abc"
		"is not the pinned Envoy 1.36.2", "pinned is ",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("err = %v, want %q in it", err, want)
		}
	}
	if err := envoy.Check(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a file that is not there passed for Envoy")
	}
}
