package engine

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"policyengine.dev/runtime/configdiff"
)

// TestDiff proves what the command reports, and with which exit code.
func TestDiff(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	const routes = "routes: [{name: r, chain: c}]\n"
	enforces := write("enforces.yaml", "chains: [{name: c, policies: [{name: nothing, version: v1}]}]\n"+routes)
	shadows := write("shadows.yaml", "chains: [{name: c, policies: [{name: nothing, version: v1, mode: shadow}]}]\n"+routes)
	unknown := write("unknown.yaml", "chains: [{name: c, policies: [{name: nothing, version: v9}]}]\n"+routes)
	broken := write("broken.yaml", "chains: 7\n")
	limited := write("limited.yaml", "chains: [{name: c, bodyLimit: 1MiB, policies: [{name: nothing, version: v1}]}]\n"+routes)
	engine := write("engine.yaml", "source: {path: none}\nlimits: {body: 1KiB, memory: 2KiB}\n")
	for _, tt := range []struct {
		name        string
		args        []string
		code        int
		out, stderr string
	}{
		{"nothing", []string{enforces, enforces, "--fail-on-widening"}, exitOK, "no changes\n", ""},
		{"what may widen", []string{enforces, shadows}, exitOK, "may widen: the step no longer enforces", ""},
		{"what may widen is a failure", []string{enforces, shadows, "--fail-on-widening"}, 3, "may widen: the step no longer enforces", ""},
		{"what narrows is none", []string{shadows, enforces, "--fail-on-widening"}, exitOK, "mode: shadow -> enforce", ""},
		{"a broken new one", []string{enforces, broken}, exitFailed, "", "broken.yaml:1:"},
		{"a refused new one", []string{enforces, unknown}, exitFailed, "", "nothing has no version v9"},
		{"a broken old one", []string{broken, enforces}, exitFailed, "", "broken.yaml:1:"},
		{"a refused old one", []string{unknown, enforces}, exitOK, "version: v9 -> v1", "warning: this engine would refuse the old configuration:\n"},
		{"limits of engine.yaml", []string{enforces, limited, "--config", engine}, exitFailed, "", "chains[0].bodyLimit"},
		{"without them", []string{enforces, limited}, exitOK, "bodyLimit: default -> 1048576", ""},
		{"a file that is missing", []string{enforces, filepath.Join(dir, "none")}, exitFailed, "", "no such file"},
		{"one file", []string{enforces}, exitUsage, "", "NEW is missing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out, stderr := call(t, append([]string{"diff"}, tt.args...)...)
			if code != tt.code || !strings.Contains(out, tt.out) || !strings.Contains(stderr, tt.stderr) || tt.stderr == "" && stderr != "" {
				t.Errorf("exit code %d, want %d: %s%s", code, tt.code, out, stderr)
			}
		})
	}
	code, out, _ := call(t, "diff", "--json", enforces, shadows)
	var report configdiff.Report
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != exitOK || !report.MayWiden || len(report.Changes) != 1 || report.Changes[0].MayWiden != configdiff.ShadowsStep {
		t.Errorf("exit code %d, %v: %s", code, err, out)
	}
}
