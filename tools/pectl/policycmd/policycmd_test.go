package policycmd_test

import (
	"bytes"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"policyengine.dev/runtime/commandline"
	"policyengine.dev/tools/pectl/policycmd"
)

var update = flag.Bool("update", false, "write the scaffold again into golden")

// pectl runs `policy ...` and returns the exit code and what was written.
func pectl(t *testing.T, args ...string) (code int, out, err string) {
	t.Helper()
	var o, e bytes.Buffer
	code = commandline.Main(t.Context(), policycmd.Command(), args, commandline.IO{Out: &o, Err: &e})
	return code, o.String(), e.String()
}

// newModule makes an empty module and goes there.
func newModule(t *testing.T, path string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "go.mod"), "module "+path+"\n")
	t.Chdir(dir)
	return dir
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// files are the texts of all files below dir, BUILD files apart.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "BUILD.bazel" {
			return err
		}
		text, err := os.ReadFile(name)
		relative, _ := filepath.Rel(dir, name)
		all[filepath.ToSlash(relative)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestScaffold proves that a new policy is the one in golden, which is built, tested
// and put through the conformance suite like any other. Renew it with -update.
func TestScaffold(t *testing.T) {
	golden, err := filepath.Abs("golden")
	if err != nil {
		t.Fatal(err)
	}
	root := newModule(t, "policyengine.dev")
	dir := filepath.Join(root, "tools/pectl/policycmd/golden")
	if code, _, stderr := pectl(t, "new", "require-header", "--dir", dir); code != 0 {
		t.Fatal(stderr)
	}
	got := files(t, dir)
	if *update {
		for name, text := range got {
			write(t, filepath.Join(golden, name), text)
		}
	}
	if diff := cmp.Diff(files(t, golden), got); diff != "" {
		t.Errorf("the scaffold is not as in golden (renew it with -update):\n%s", diff)
	}
}

func TestNewSaysWhatComesNext(t *testing.T) {
	root := newModule(t, "example.com/acme")
	code, out, stderr := pectl(t, "new", "hello-world", "--version", "v0.1.0")
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	for _, want := range []string{
		"hello-world v0.1.0 is in " + filepath.Join(root, "policies/hello-world/v0.1.0"),
		"go test example.com/acme/policies/hello-world/v0.1.0\n",
		"go test -race example.com/acme/policies -run 'TestConformance/hello-world'\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(root, "policies/hello-world/.*")); len(left) > 0 {
		t.Errorf("left over: %q", left)
	}
}

// TestACopyIsANewVersion proves that --from changes what has to be changed, and no
// more.
func TestACopyIsANewVersion(t *testing.T) {
	root := newModule(t, "example.com/acme")
	old, next := filepath.Join(root, "policies/hello/v1.0.0"), filepath.Join(root, "policies/hello/v1.1.0")
	if code, _, stderr := pectl(t, "new", "hello"); code != 0 {
		t.Fatal(stderr)
	}
	write(t, filepath.Join(old, "BUILD.bazel"), "x")
	write(t, filepath.Join(old, "testdata/data.yaml"), "version: v1.0.0")
	if code, _, stderr := pectl(t, "new", "hello", "--version", "v1.1.0", "--from", "v1.0.0"); code != 0 {
		t.Fatal(stderr)
	}
	want := files(t, old)
	for name, text := range want {
		if name != "testdata/data.yaml" {
			want[name] = strings.ReplaceAll(text, "v1.0.0", "v1.1.0")
		}
	}
	if diff := cmp.Diff(want, files(t, next)); diff != "" {
		t.Error(diff)
	}
	if _, err := os.Stat(filepath.Join(next, "BUILD.bazel")); err == nil {
		t.Error("the BUILD file, which is gazelle's, was copied")
	}
	index := files(t, filepath.Join(root, "policies"))["conformance_test.go"]
	for _, want := range []string{`{Dir: "hello/v1.0.0", Policy: hello_v1_0_0.Policy},`, `{Dir: "hello/v1.1.0", Policy: hello_v1_1_0.Policy},`} {
		if !strings.Contains(index, want) {
			t.Errorf("%s is not in the index:\n%s", want, index)
		}
	}
}

func TestIndex(t *testing.T) {
	root := newModule(t, "example.com/acme")
	write(t, filepath.Join(root, "my-policies/a/v1.0.0/policy.yaml"), "")
	write(t, filepath.Join(root, "my-policies/a/v1.0.0/testdata/v1.0.0/policy.yaml"), "")
	code, out, stderr := pectl(t, "index", "--dir", "my-policies")
	if code != 0 || !strings.Contains(out, "lists 1 policy versions") {
		t.Errorf("exit code %d: %s%s", code, out, stderr)
	}
	index := files(t, root)["my-policies/conformance_test.go"]
	for _, want := range []string{"package my_policies_test\n", `a_v1_0_0 "example.com/acme/my-policies/a/v1.0.0"`} {
		if !strings.Contains(index, want) {
			t.Errorf("%q is not in the index:\n%s", want, index)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, tt := range []struct {
		name  string
		setup func(t *testing.T, root string)
		args  []string
		code  int
		want  string
	}{
		{"no name", nil, []string{"new"}, 2, "NAME is missing"},
		{"a name that is none", nil, []string{"new", "Hello_World"}, 1, "Hello_World v1.0.0 cannot be a policy: name: not a policy's name"},
		{"a name that is a path", nil, []string{"new", "../x"}, 1, "name:"},
		{"a version that is none", nil, []string{"new", "hello", "--version", "1.0"}, 1, "version:"},
		{"a name that is a word of Go", nil, []string{"new", "func"}, 1, "choose another name"},
		{"a name that the scaffold uses", nil, []string{"new", "policy"}, 1, "choose another name"},
		{"a version that is there", func(t *testing.T, root string) {
			write(t, filepath.Join(root, "policies/hello/v1.0.0/policy.yaml"), "mine")
		}, []string{"new", "hello"}, 1, "already exists"},
		{"no module", func(t *testing.T, root string) {
			if err := os.Remove(filepath.Join(root, "go.mod")); err != nil {
				t.Fatal(err)
			}
		}, []string{"new", "hello"}, 1, "go mod init"},
		{"a go.mod without a module", func(t *testing.T, root string) {
			write(t, filepath.Join(root, "go.mod"), "go 1.26\n")
		}, []string{"new", "hello"}, 1, "names no module"},
		{"a version to copy that is not there", func(t *testing.T, root string) {
			write(t, filepath.Join(root, "policies/hello/v1.2.0/policy.yaml"), "")
		}, []string{"new", "hello", "--version", "v2.0.0", "--from", "v1.0.0"}, 1, "there is v1.2.0"},
		{"nothing to list", nil, []string{"index"}, 1, "there is no policy version in"},
		{"an index of something", nil, []string{"index", "x"}, 2, "unexpected argument"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := newModule(t, "example.com/acme")
			if tt.setup != nil {
				tt.setup(t, root)
			}
			before := files(t, root)
			code, out, stderr := pectl(t, tt.args...)
			if code != tt.code || out != "" || !strings.Contains(stderr, tt.want) {
				t.Errorf("exit code %d, want %d; %q is not in\n%s%s", code, tt.code, tt.want, out, stderr)
			}
			if diff := cmp.Diff(before, files(t, root)); diff != "" {
				t.Errorf("something was written:\n%s", diff)
			}
		})
	}
}
