package wrapper

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestWatch runs a script in Bazel's place: it writes the events of a test that was
// skipped, and ends as a failed build does.
func TestWatch(t *testing.T) {
	dir := t.TempDir()
	xml := filepath.Join(dir, "test.xml")
	script := filepath.Join(dir, "bazel")
	for file, text := range map[string]string{
		xml: `<testsuites><testsuite><testcase name="TestContainer"><skipped>    x_test.go:1: no user namespaces</skipped></testcase></testsuite></testsuites>`,
		script: `#!/bin/sh
echo "args: $*"
for arg; do case $arg in --build_event_json_file=*) events=${arg#*=} ;; esac; done
echo '{"id":{"testResult":{"label":"//a","run":1,"shard":1}},"testResult":{"testActionOutput":[{"name":"test.xml","uri":"file://` + xml + `"}]}}' >"$events"
echo '{"id":{"testSummary":{"label":"//a"}},"testSummary":{"overallStatus":"PASSED"}}' >>"$events"
exit 3
`,
	} {
		if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var stdout, stderr bytes.Buffer
	w := &Wrapper{Cache: t.TempDir(), Stdout: &stdout, Stderr: &stderr}
	err := w.watch(t.Context(), script, []string{"--bazelrc=x", "test", "//..."}, 1)
	var status ExitStatus
	if !errors.As(err, &status) || status != 3 {
		t.Errorf("watch = %v, want Bazel's own status 3", err)
	}
	if said := stdout.String(); !strings.HasPrefix(said, "args: --bazelrc=x test --build_event_json_file=") || !strings.HasSuffix(said, " //...\n") {
		t.Errorf("Bazel got %s", said)
	}
	if said := stderr.String(); !strings.Contains(said, "skipped, so that they prove nothing (1)") || !strings.Contains(said, "//a TestContainer: no user namespaces") {
		t.Errorf("said %q", said)
	}
	if left, err := os.ReadDir(w.Cache); err != nil || len(left) > 0 {
		t.Errorf("%d files are left (%v)", len(left), err)
	}
}

// TestWatchPassesSignalsOn: bazelw ends as Bazel does by the signal.
func TestWatchPassesSignalsOn(t *testing.T) {
	script := filepath.Join(t.TempDir(), "bazel")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nkill -TERM $PPID\nwhile :; do sleep 0.1; done\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	w := &Wrapper{Cache: t.TempDir(), Stdout: new(bytes.Buffer), Stderr: new(bytes.Buffer)}
	err := w.watch(t.Context(), script, []string{"build"}, 0)
	var status ExitStatus
	if !errors.As(err, &status) || status != 128+15 {
		t.Errorf("watch = %v, want the status of SIGTERM", err)
	}
}
