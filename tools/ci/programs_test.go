package ci_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"policyengine.dev/tools/ci"
)

func TestOutsidePrograms(t *testing.T) {
	tests := []struct{ name, imports, code, want string }{
		{"a bare name", `"os/exec"`, `exec.Command("redis-server", "--port", "0")`, "x_test.go:3: redis-server is looked for on the machine"},
		{"a bare name behind a context", `"os/exec"`, `exec.CommandContext(nil, "sh", "-c", "true")`, "sh is looked for"},
		{"a search of the PATH", `"os/exec"`, `exec.LookPath("docker")`, "docker is looked for"},
		{"a search under another name", `x "os/exec"`, `x.LookPath("docker")`, "docker is looked for"},
		{"a path of the machine", `"os"`, `os.Stat("/usr/sbin/runc")`, "/usr/sbin/runc is a path to a program of the machine"},
		{"a directory of the machine's programs", `"os"`, `os.Stat("/usr/local/bin")`, "/usr/local/bin is a path"},
		{"the PATH itself", `"os"`, `os.Getenv("PATH")`, "PATH is searched"},
		{"the shell is everywhere", `"os/exec"`, `exec.Command("/bin/sh", "-c", "true")`, ""},
		{"Go is there by the README", `"os/exec"`, `exec.Command("go", "build")`, ""},
		{"a path that the build gave", `"os/exec"`, `exec.Command(path)`, ""},
		{"this program again", `"os/exec"`, `exec.Command("/proc/self/exe")`, ""},
		{"another package's Command", `"example.com/exec/v2"`, `v2.Command("redis-server")`, ""},
		{"another variable", `"os"`, `os.Getenv("HOME")`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			found, err := ci.OutsidePrograms("x_test.go", []byte("package x; import "+tt.imports+"\nfunc f() {\n"+tt.code+"\n}\n"))
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(found, "\n"); (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
				t.Errorf("found %q, want %q", got, tt.want)
			}
		})
	}
	if _, err := ci.OutsidePrograms("x.go", []byte("not Go")); err == nil {
		t.Error("what is not Go passed")
	}
}

// TestHidePrograms: what programs.json names is not found on the PATH any more,
// wherever it was, and everything else is.
func TestHidePrograms(t *testing.T) {
	root, with, plain, cache := t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir()
	declared := filepath.Join(root, "tools", "debian", "programs.json")
	if err := os.MkdirAll(filepath.Dir(declared), 0o755); err != nil {
		t.Fatal(err)
	}
	for file, content := range map[string]string{
		declared:                            `{"programs": {"redis-server": {}}}`,
		filepath.Join(with, "redis-server"): "",
		filepath.Join(with, "beside"):       "",
		filepath.Join(plain, "other"):       "",
	} {
		if err := os.WriteFile(file, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // a second run finds the links of the first
		t.Setenv("PATH", with+string(filepath.ListSeparator)+plain)
		if _, err := ci.HidePrograms(root, cache); err != nil {
			t.Fatal(err)
		}
	}
	if path, err := exec.LookPath("redis-server"); err == nil {
		t.Errorf("redis-server is still found: %s", path)
	}
	for _, name := range []string{"beside", "other"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Error(err)
		}
	}
	if path := os.Getenv("PATH"); !strings.HasSuffix(path, plain) {
		t.Errorf("PATH is %s: a directory that needs no change was changed", path)
	}
}
