package runfiles_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"policyengine.dev/tools/runfiles"
)

func TestDir(t *testing.T) {
	root := t.TempDir()
	own, part, test := filepath.Join(root, "prog.runfiles"), filepath.Join(root, "other.runfiles"), filepath.Join(root, "test")
	for _, dir := range []string{own, filepath.Join(part, "_main"), test} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name, program string
		env           map[string]string
		want          string
	}{
		{"a test's directory comes first", filepath.Join(root, "prog"), map[string]string{"TEST_SRCDIR": test}, test},
		{"so does that of the program that ran this one", filepath.Join(root, "prog"), map[string]string{"RUNFILES_DIR": test}, test},
		{"a program's own is beside it", filepath.Join(root, "prog"), nil, own},
		{"a program among runfiles has those", filepath.Join(part, "_main", "prog"), nil, part},
		{"a variable that leads nowhere is passed over", filepath.Join(root, "prog"), map[string]string{"RUNFILES_DIR": filepath.Join(root, "gone")}, own},
		{"without Bazel there are none", filepath.Join(root, "plain"), nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := runfiles.Dir(tt.program, func(k string) string { return tt.env[k] })
			if got != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("Dir = %q, %v; want %q", got, err, tt.want)
			}
			if err != nil && !strings.Contains(err.Error(), "no runfiles") {
				t.Errorf("err = %v", err)
			}
		})
	}
}
