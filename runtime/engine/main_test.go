package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"policyengine.dev/runtime/admin"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
)

type quiet struct{}

func newQuiet(struct{}, policy.Host) (quiet, error) { return quiet{}, nil }

func (quiet) OnRequestHeaders(context.Context, *policy.RequestContext) (policy.RequestAction, error) {
	return nil, nil
}

const quietDefinition = `{"apiVersion":"policyengine/v1","name":"quiet","version":"v1.0.0","description":"Says nothing.","phases":["request_headers"]}`

// TestCommandLine proves what each flag prints and with which code the process ends.
func TestCommandLine(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("good.yaml", "chains: [{name: c, policies: []}]\nroutes: [{name: r, chain: c}]\n")
	write("bad.yaml", "chains: [{name: c, policies: [{name: nosuch, version: v1}]}]\nroutes: [{name: r, chain: d}]\n")
	good := write("good-engine.yaml", "source: {path: good.yaml}\n")
	bad := write("bad-engine.yaml", "source: {path: bad.yaml}\n")
	for name, tc := range map[string]struct {
		args []string
		code int
		out  string
		errs []string
	}{
		"version":             {[]string{"-version"}, 0, "policy-engine ", nil},
		"help":                {[]string{"-h"}, 0, "", []string{"Usage: policy-engine", "-config", "-check", "-dump"}},
		"an unknown flag":     {[]string{"-nosuch"}, 2, "", []string{"-nosuch"}},
		"an argument":         {[]string{"serve"}, 2, "", []string{"takes no arguments"}},
		"dump without check":  {[]string{"-config", good, "-dump"}, 2, "", []string{"-dump goes with -check"}},
		"no such file":        {[]string{"-config", filepath.Join(dir, "none")}, 1, "", []string{"none"}},
		"check of a good one": {[]string{"-config", good, "-check"}, 0, "1 chains and 1 routes, nothing wrong", nil},
		"check of a bad one": {[]string{"-config", bad, "-check"}, 1, "", []string{
			"bad.yaml:1:", "no policy is called", "bad.yaml:2:", `no chain is called "d"`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			if code := run(tc.args, nil, nil, &out, &errs); code != tc.code {
				t.Errorf("ended with %d, want %d: %s", code, tc.code, errs.String())
			}
			if !strings.Contains(out.String(), tc.out) || tc.out == "" && out.Len() > 0 {
				t.Errorf("printed %q, want %q", out.String(), tc.out)
			}
			for _, want := range tc.errs {
				if !strings.Contains(errs.String(), want) {
					t.Errorf("errors lack %q: %s", want, errs.String())
				}
			}
		})
	}
}

func TestDumpOfWhatWouldBeInForce(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"engine.yaml": "source: {path: chains.yaml}\n",
		"chains.yaml": "chains: [{name: c, bodyLimit: 7, policies: [{name: quiet, version: v1}]}]\nroutes: [{name: r, chain: c}]\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	entries := []worker.Entry{{Definition: quietDefinition, Factory: policy.Define(newQuiet)}}
	var out, errs bytes.Buffer
	if code := run([]string{"-config", filepath.Join(dir, "engine.yaml"), "-check", "-dump"}, entries, nil, &out, &errs); code != 0 {
		t.Fatalf("ended with %d: %s", code, errs.String())
	}
	var d admin.Dump
	if err := json.Unmarshal(out.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	if d.Ready || d.Config == nil || d.Config.Routes["r"] != "c" || d.Config.Chains[0].BodyLimit != 7 || d.Config.Chains[0].Steps[0].Version != "v1.0.0" {
		t.Errorf("dumped %s", out.String())
	}
}
