package configcmd_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"policyengine.dev/envoy_test/engines"
	"policyengine.dev/runtime/admin"
	"policyengine.dev/runtime/commandline"
	"policyengine.dev/tools/pectl/configcmd"
)

// call runs a command of the group in dir, with the engine of the payments bundle.
func call(t *testing.T, dir string, args ...string) (code int, out, problems string) {
	t.Helper()
	engine := engines.Binary(t, engines.Payments)
	t.Chdir(dir)
	var stdout, stderr bytes.Buffer
	code = commandline.Main(t.Context(), configcmd.Command(), append(args, "--engine", engine), commandline.IO{Out: &stdout, Err: &stderr})
	return code, stdout.String(), stderr.String()
}

// files writes files to a new directory.
func files(t *testing.T, all map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range all {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const (
	chains = "chains:\n- name: payments\n  policies:\n  - {name: request-id, version: v1}\n"
	routes = "routes:\n- {name: charge, chain: payments}\n"
)

// TestCheck proves that the command gives the engine's verdicts, on one file, on several
// and on directories, in each format and with its exit code.
func TestCheck(t *testing.T) {
	bad := files(t, map[string]string{
		"a,b.yaml":       "chains:\n- name: payments\n  policies:\n  - {name: request-id, version: v9}\n- name: unused\n  policies: []\n",
		"more/r:1%.yaml": "routes:\n- {name: charge, chain: payment}\n",
	})
	for _, tt := range []struct {
		name  string
		dir   string
		args  []string
		code  int
		says  []string
		fails string
	}{
		{"one file", files(t, map[string]string{"c.yaml": chains + routes}), []string{"c.yaml"}, 0, []string{"1 chains and 1 routes, nothing wrong\n"}, ""},
		{"several files", files(t, map[string]string{"c.yaml": chains, "r.yaml": routes}), []string{"c.yaml", "r.yaml"}, 0, []string{"1 chains and 1 routes"}, ""},
		{"a directory and a file", files(t, map[string]string{"d/c.yaml": chains, "r.yaml": routes}), []string{"d", "r.yaml"}, 0, []string{"1 chains and 1 routes"}, ""},
		{"policies that are started", files(t, map[string]string{"c.yaml": chains + routes}), []string{"c.yaml", "--start"}, 0, []string{"every policy has started"}, ""},
		{"a warning", files(t, map[string]string{"c.yaml": chains}), []string{"c.yaml"}, 0, []string{"c.yaml:2:3: warning: chains[0]: no route uses chain \"payments\"\n", "nothing wrong"}, ""},
		{"limits of engine.yaml", files(t, map[string]string{"c.yaml": chains + "  bodyLimit: 1MiB\n" + routes, "engine.yaml": "source: {path: none}\nlimits: {body: 1KiB, memory: 2KiB}\n"}), []string{"c.yaml", "--config", "engine.yaml"}, 3, []string{"chains[0].bodyLimit"}, ""},
		{"problems, as text", bad, []string{"a,b.yaml", "more"}, 3, []string{
			"a,b.yaml:4:", "chains[0].policies[0].version: request-id has no version v9; compiled in are v1.",
			"more/r:1%.yaml:2:25: routes[0].chain: no chain is called \"payment\"; did you mean \"payments\"?\n",
		}, ""},
		{"problems, for GitHub", bad, []string{"a,b.yaml", "more", "--format", "github"}, 3, []string{
			"::error file=a%2Cb.yaml,line=4,col=", "::error file=more/r%3A1%25.yaml,line=2,col=25::routes[0].chain: no chain is called \"payment\"; did you mean \"payments\"?\n",
		}, ""},
		{"a warning, for GitHub", files(t, map[string]string{"c.yaml": chains}), []string{"c.yaml", "--format", "github"}, 0, []string{"::warning file=c.yaml,line=2,col=3::chains[0]: no route uses chain"}, ""},
		{"a file that is not there", files(t, nil), []string{"none.yaml"}, 3, []string{"none.yaml: no such file"}, ""},
		{"a file that is not there, for GitHub", files(t, nil), []string{"none.yaml", "--format", "github"}, 3, []string{"::error::reading chains and routes: "}, ""},
		{"an unknown format", files(t, nil), []string{"none.yaml", "--format", "xml"}, 2, nil, `there is no format "xml"; write one of github, json, sarif, text`},
		{"no files", files(t, nil), nil, 2, nil, "CHAINS is missing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out, problems := call(t, tt.dir, append([]string{"check"}, tt.args...)...)
			if code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			for _, text := range tt.says {
				if !strings.Contains(out, text) {
					t.Errorf("the output does not say %q", text)
				}
			}
			if !strings.Contains(problems, tt.fails) || tt.fails == "" && problems != "" {
				t.Errorf("the error output is not %q", tt.fails)
			}
			if t.Failed() {
				t.Logf("%s%s", out, problems)
			}
		})
	}
}

// TestCheckInJSON proves that the JSON is the engine's own report.
func TestCheckInJSON(t *testing.T) {
	dir := files(t, map[string]string{"c.yaml": "chains: 7\n"})
	code, out, problems := call(t, dir, "check", "c.yaml", "--format=json")
	var report admin.CheckReport
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != 3 || report.Valid || len(report.Problems) != 1 || report.Problems[0].File != "c.yaml" || report.Problems[0].Line != 1 {
		t.Errorf("exit code %d, %v, %+v: %s", code, err, report, problems)
	}
}

// TestCheckNeedsAnEngine proves that a binary that is no engine is told from a
// configuration with problems.
func TestCheckNeedsAnEngine(t *testing.T) {
	for name, script := range map[string]string{
		"one that writes no report":             "echo hello",
		"one that fails":                        "exit 1",
		"one that contradicts its own report":   `echo '{"valid": true}'; exit 1`,
		"one whose report contradicts its code": `echo '{"valid": false}'`,
	} {
		t.Run(name, func(t *testing.T) {
			engine := filepath.Join(t.TempDir(), "engine")
			if err := os.WriteFile(engine, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			var stdout, stderr bytes.Buffer
			code := commandline.Main(t.Context(), configcmd.Command(), []string{"check", "c.yaml", "--engine", engine}, commandline.IO{Out: &stdout, Err: &stderr})
			if code != commandline.ExitFailed || stdout.Len() > 0 || !strings.Contains(stderr.String(), "the engine ended with exit code") {
				t.Errorf("exit code %d: %s%s", code, stdout.String(), stderr.String())
			}
		})
	}
}
