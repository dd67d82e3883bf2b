package policytest_test

import (
	"strings"
	"testing"

	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policytest"
)

// A watched directory has the files that a test sets below its path.
func TestFilesOfADirectory(t *testing.T) {
	h := policytest.NewHost()
	w := policy.WatchDirectory(h.Policy(), "/keys", ".json", func(files []policy.NamedFile) (string, error) {
		var all []string
		for _, f := range files {
			all = append(all, f.Name+"="+string(f.Content))
		}
		return strings.Join(all, " "), nil
	}, policy.MaxFileSize(10))
	if _, err := w.Value(); err == nil {
		t.Error("a directory without files is there")
	}
	for path, content := range map[string]string{"/keys/b.json": "2", "/keys/a.json": "1", "/keys/c.txt": "3", "/keys/.d.json": "4", "/keys/e/f.json": "5", "/keysg.json": "6"} {
		h.Files.Set(path, content)
	}
	want := func(want string) {
		t.Helper()
		if got, err := w.Value(); got != want || err != nil {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
	want("a.json=1 b.json=2")
	h.Files.Remove("/keys/a.json")
	want("b.json=2")
	h.Files.Set("/keys/a.json", strings.Repeat("x", 10))
	want("b.json=2")
	if !strings.Contains(h.Logs.String(), "too large") {
		t.Errorf("logged %q", h.Logs)
	}
}
