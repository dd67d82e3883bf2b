package policycmd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestInAModuleOfItsOwn makes policies in a module that only depends on the SDK, and
// has the go command vet and test them. It needs the go command and its module cache,
// so it is not run by Bazel, where golden stands for it (BUILD.bazel leaves it out).
func TestInAModuleOfItsOwn(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a module")
	}
	sdk, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	root := newModule(t, "example.com/acme")
	goMod := read(t, filepath.Join(sdk, "go.mod"))
	goMod = strings.Replace(goMod, "module policyengine.dev\n", "module example.com/acme\n", 1) +
		"\nrequire policyengine.dev v0.0.0\n\nreplace policyengine.dev => " + sdk + "\n"
	write(t, filepath.Join(root, "go.mod"), goMod)
	write(t, filepath.Join(root, "go.sum"), read(t, filepath.Join(sdk, "go.sum")))

	for _, args := range [][]string{{"new", "hello-world"}, {"new", "hello-world", "--version", "v1.1.0", "--from", "v1.0.0"}, {"new", "other", "--version", "v0.1.0"}} {
		if code, _, stderr := pectl(t, args...); code != 0 {
			t.Fatalf("pectl policy %v: %s", args, stderr)
		}
	}
	if out, err := goCommand(t, "vet", "./..."); err != nil {
		t.Fatalf("go vet: %v\n%s", err, out)
	}
	out, err := goCommand(t, "test", "-v", "./...")
	if err != nil {
		t.Fatalf("go test: %v\n%s", err, out)
	}
	for _, want := range []string{
		"ok  \texample.com/acme/policies/hello-world/v1.1.0",
		"--- PASS: TestConformance/hello-world/v1.0.0/hostile_input",
		"--- PASS: TestConformance/hello-world/v1.1.0/hostile_input",
		"--- PASS: TestConformance/other/v0.1.0/hostile_input",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in what go test says", want)
		}
	}

	// A version that was made by hand cannot be overlooked.
	if err := os.CopyFS(filepath.Join(root, "policies/other/v0.2.0"), os.DirFS(filepath.Join(root, "policies/other/v0.1.0"))); err != nil {
		t.Fatal(err)
	}
	out, err = goCommand(t, "test", "./policies")
	if err == nil || !strings.Contains(out, "other/v0.2.0 is not in the list") {
		t.Errorf("a version that is not listed: %v\n%s", err, out)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func goCommand(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off", "GOPROXY=off")
	out, err := cmd.CombinedOutput()
	return string(out), err
}
