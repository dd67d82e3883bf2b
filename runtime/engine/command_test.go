package engine

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"policyengine.dev/runtime/admin"
	"policyengine.dev/runtime/bundle"
)

// call runs a command to its end.
func call(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = run(args, testManifest, entries(), nil, &out, &err)
	return code, out.String(), err.String()
}

// TestFlagsDoWhatCommandsDo proves that a call of an earlier version, which had flags only,
// ends with the same code and the same output as the command that replaces it.
func TestFlagsDoWhatCommandsDo(t *testing.T) {
	good := files(t, "", "chains: [{name: c, policies: [{name: nothing, version: v1}]}]\nroutes: [{name: r, chain: c}]\n")
	bad := files(t, "", "chains: [{name: c, policies: [{name: nothing, version: v9}]}]\nroutes: []\n")
	none := filepath.Join(t.TempDir(), "none.yaml")
	for _, tt := range []struct {
		name           string
		flags, command []string
		code           int
	}{
		{"version", []string{"-version"}, []string{"version"}, exitOK},
		{"version with two dashes", []string{"--version"}, []string{"version"}, exitOK},
		{"version comes first", []string{"-policies", "-version"}, []string{"version"}, exitOK},
		{"policies", []string{"-policies"}, []string{"policies"}, exitOK},
		{"policies, as a value", []string{"-policies=true"}, []string{"policies"}, exitOK},
		{"check", []string{"-check", "-config", good}, []string{"check", "--config", good}, exitOK},
		{"the configuration first", []string{"-config=" + good, "-check"}, []string{"check", "--config=" + good}, exitOK},
		{"check and start", []string{"-check", "-start", "-config", good}, []string{"check", "--start", "--config", good}, exitOK},
		{"check and dump", []string{"-check", "-dump", "-config", good}, []string{"check", "--config", good, "--dump"}, exitOK},
		{"a bad configuration", []string{"-check", "-config", bad}, []string{"check", "--config", bad}, exitFailed},
		{"a bad configuration at start-up", []string{"-config", bad}, []string{"run", "--config", bad}, exitFailed},
		{"no configuration", []string{"-config", none}, []string{"run", "--config", none}, exitFailed},
		{"nothing, which reads the default", nil, []string{"run"}, exitFailed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out, err := call(t, tt.flags...)
			if code != tt.code {
				t.Errorf("exit code %d, want %d: %s", code, tt.code, err)
			}
			wantCode, wantOut, wantErr := call(t, tt.command...)
			if diff := cmp.Diff([]any{wantCode, wantOut, logLines(wantErr)}, []any{code, out, logLines(err)}); diff != "" {
				t.Errorf("flags and command differ (-command +flags):\n%s", diff)
			}
		})
	}
}

// logTime is the time of a line of a JSON log.
var logTime = regexp.MustCompile(`"time":"[^"]*",`)

// logLines returns the lines of a log without their times, sorted: what starts at the same
// time logs in any order.
func logLines(log string) []string {
	lines := strings.Split(logTime.ReplaceAllString(log, ""), "\n")
	slices.Sort(lines)
	return lines
}

// TestJSON proves that the output with --json is JSON, and has what the text has.
func TestJSON(t *testing.T) {
	good := files(t, "", noChains)
	badEngine := files(t, "nonsense: true\nlimits: {body: -1}\n", noChains)
	badChains := files(t, "", "chains:\n- name: c\n  policies: [{name: nothing, version: v9}]\nroutes: [{name: r, chain: d}]\n")
	t.Run("policies", func(t *testing.T) {
		var got []admin.PolicyDump
		decodeOutput(t, &got, exitOK, "policies", "--json")
		want := []admin.PolicyDump{{Name: "nothing", Version: "v1.2.0", Description: "Does nothing.", Phases: []string{"request_headers"}}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("version", func(t *testing.T) {
		var got admin.Version
		decodeOutput(t, &got, exitOK, "version", "--json")
		if !strings.HasPrefix(got.Engine, "policy-engine ") || !strings.HasPrefix(got.Go, "go1.") {
			t.Errorf("got %+v", got)
		}
		want, err := bundle.Parse([]byte(testManifest))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got.Bundle); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("a good configuration", func(t *testing.T) {
		var got admin.CheckReport
		decodeOutput(t, &got, exitOK, "check", "--json", "--start", "--config", good)
		if diff := cmp.Diff(admin.CheckReport{Valid: true, Started: true, Problems: []admin.ProblemDump{}, Warnings: []admin.ProblemDump{}}, got); diff != "" {
			t.Error(diff)
		}
	})
	for name, tt := range map[string]struct {
		path string
		at   []string
	}{
		"a bad engine.yaml": {badEngine, []string{"nonsense", "limits.body"}},
		"bad chains":        {badChains, []string{"chains[0].policies[0].version", "routes[0].chain"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got admin.CheckReport
			decodeOutput(t, &got, exitFailed, "check", "--json", "--config", tt.path)
			var at []string
			for _, p := range got.Problems {
				if p.File == "" || p.Line == 0 || p.Message == "" {
					t.Errorf("a problem without a place or a message: %+v", p)
				}
				at = append(at, p.Path)
			}
			if diff := cmp.Diff(tt.at, at); got.Valid || diff != "" {
				t.Errorf("valid: %v; problems (-want +got):\n%s", got.Valid, diff)
			}
		})
	}
	t.Run("an engine that cannot serve", func(t *testing.T) {
		code, out, stderr := call(t, "run", "--json", "--config", badEngine)
		var line struct {
			Level, Msg string
			Problems   []admin.ProblemDump
		}
		if err := json.Unmarshal([]byte(stderr), &line); err != nil {
			t.Fatalf("%v: %s", err, stderr)
		}
		if code != exitFailed || out != "" || line.Level != "ERROR" || len(line.Problems) != 2 {
			t.Errorf("exit code %d, output %q, log %+v", code, out, line)
		}
	})
}

// decodeOutput runs a command and decodes its output, which has to be one JSON value.
func decodeOutput(t *testing.T, into any, code int, args ...string) {
	t.Helper()
	got, out, stderr := call(t, args...)
	if got != code || stderr != "" {
		t.Fatalf("exit code %d, want %d; errors %q", got, code, stderr)
	}
	if err := json.Unmarshal([]byte(out), into); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// TestCheckOfAControlPlane proves that check takes an engine.yaml with a control plane, and
// says what it has not checked.
func TestCheckOfAControlPlane(t *testing.T) {
	file := filepath.Join(t.TempDir(), "engine.yaml")
	if err := os.WriteFile(file, []byte("source: {xds: {servers: [{address: 'unix:/run/plane.sock'}]}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, err := call(t, "check", "--config", file)
	if code != exitOK || !strings.Contains(out, "which was not asked") {
		t.Errorf("%d %s %s", code, out, err)
	}
}
