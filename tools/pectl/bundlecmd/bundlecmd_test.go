package bundlecmd_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"policyengine.dev/runtime/bundle"
	"policyengine.dev/runtime/commandline"
	"policyengine.dev/tools/pectl/bundlecmd"
)

func run(t *testing.T, args ...string) (code int, out, problems string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = commandline.Main(t.Context(), bundlecmd.Command(), args, commandline.IO{Out: &stdout, Err: &stderr})
	return code, stdout.String(), stderr.String()
}

// TestInspect proves that the command prints what is in a binary, as text and as JSON, and nothing that a terminal acts on.
func TestInspect(t *testing.T) {
	m := &bundle.Manifest{
		Schema: bundle.Schema, Bundle: "pay\x1b[2Jments", Go: "go1.26.8",
		Policies: []bundle.Policy{{Name: "a", Version: "v1.0.0", ImportPath: "example.com/a", Definition: bundle.Digest(nil)}},
		Modules:  []bundle.Module{{Path: "example.com/a", Version: "v1.0.0"}},
		Packages: []string{"example.com/own"},
	}
	text, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	binary, other := filepath.Join(dir, "engine"), filepath.Join(dir, "other")
	for file, content := range map[string][]byte{binary: slices.Concat([]byte("\x7fELF"), text, []byte("\x00")), other: []byte("\x7fELF")} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := `bundle   "pay\x1b[2Jments"
go       go1.26.8
policy   a                v1.0.0  ` + bundle.Digest(nil) + `
module   example.com/a    v1.0.0
package  example.com/own
`
	code, out, problems := run(t, "inspect", binary)
	normal := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	if code != commandline.ExitOK || normal(out) != normal(want) {
		t.Errorf("got %d\n%s%s\nwant\n%s", code, out, problems, want)
	}
	code, out, problems = run(t, "inspect", "--json", binary)
	if got, err := bundle.Parse([]byte(out)); code != commandline.ExitOK || err != nil || got.Bundle != m.Bundle {
		t.Errorf("got %d, %v\n%s%s", code, err, out, problems)
	}
	for file, want := range map[string]string{other: "no bundle's manifest in it", filepath.Join(dir, "none"): "reading the binary"} {
		if code, out, problems := run(t, "inspect", file); code != commandline.ExitFailed || out != "" || !strings.Contains(problems, want) {
			t.Errorf("%s: got %d, %s%s", file, code, out, problems)
		}
	}
}
