package envoyconfig_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"policyengine.dev/runtime/commandline"
	"policyengine.dev/runtime/config"
	"policyengine.dev/tools/pectl/envoyconfig"
	"policyengine.dev/tools/pectl/envoyconfig/check"
	"policyengine.dev/tools/pectl/envoyconfig/generate"
	"policyengine.dev/tools/pectl/envoyconfig/internal/sample"
)

// bootstrap is the configuration that the engine needs, with changes.
func (d *directory) bootstrap(changes ...string) string {
	d.Helper()
	b, err := json.Marshal(sample.Generated(d.T, sample.Needs(d.T, config.DefaultEngine()), generate.Options{}))
	if err != nil {
		d.Fatal(err)
	}
	s := string(b)
	for i := 0; i < len(changes); i += 2 {
		if !strings.Contains(s, changes[i]) {
			d.Fatalf("there is no %s", changes[i])
		}
		s = strings.ReplaceAll(s, changes[i], changes[i+1])
	}
	return s
}

// TestCheck proves that what is generated has nothing wrong, and what a check says
// and ends with where something is.
func TestCheck(t *testing.T) {
	d := newDirectory(t, "")
	good := d.write("good.json", d.bootstrap())
	bad := d.write("bad.json", d.bootstrap(`"failure_mode_allow":false`, `"failure_mode_allow":true`))
	doubtful := d.write("doubtful.json", d.bootstrap(`"untyped":["policyengine"]`, `"untyped":[]`))
	const none = "0 errors, 0 warnings, 0 notes in 1 listener, 1 connection manager, 12 routes and 1 cluster (the engine: 1)\n"
	for _, tt := range []struct {
		name string
		args []string
		code int
		out  string
	}{
		{"what is generated", []string{good}, 0, none},
		{"an error", []string{bad}, 3, ": error: requests pass without any chain when the engine cannot be reached, fails or takes too long [failure-mode-allow]\n" +
			"    in:     listener main, filter envoy.filters.http.ext_proc\n    remedy: take it out, or set it to false\n1 error, "},
		{"an error, flags behind", []string{bad, "--strict"}, 3, "[failure-mode-allow]"},
		{"a warning", []string{doubtful}, 0, ": warning: "},
		{"a warning that counts", []string{"--strict", doubtful}, 3, "0 errors, 1 warning, "},
		{"nothing, strictly", []string{"--strict", good}, 0, none},
		{"a listener that need not pass", []string{"--except-listener", "main", bad}, 0, "0 errors, 0 warnings, 0 notes in 1 listener, 0 connection managers, 0 routes and 1 cluster (the engine: 0)\n"},
		{"another cluster", []string{"--cluster", "engines", bad}, 3, "[failure-mode-allow]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			args := append([]string{"check", "--config", d.file("engine.yaml"), "--dump", d.file("dump.json")}, tt.args...)
			code, out, errors := d.pectl(args...)
			if code != tt.code || !strings.Contains(out, tt.out) || errors != "" {
				t.Errorf("exit code %d, want %d; output\n%s\nwant in it\n%s\nerrors %q", code, tt.code, out, tt.out, errors)
			}
		})
	}
}

func TestCheckJSON(t *testing.T) {
	d := newDirectory(t, "")
	bad := d.write("bad.json", d.bootstrap(`"failure_mode_allow":false`, `"failure_mode_allow":true`))
	code, out, _ := d.pectl("check", "--json", "--config", d.file("engine.yaml"), "--dump", d.file("dump.json"), bad)
	var r check.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	if code != 3 || r.Errors != 1 || len(r.Findings) != 1 || r.Findings[0].Rule != check.FailureModeAllow || r.Findings[0].File != bad || r.Looked.Routes != 12 {
		t.Errorf("exit code %d: %+v", code, r)
	}
}

func TestCheckStandardInput(t *testing.T) {
	d := newDirectory(t, "")
	var out bytes.Buffer
	code := commandline.Main(t.Context(), envoyconfig.Command(),
		[]string{"check", "--config", d.file("engine.yaml"), "--dump", d.file("dump.json"), "-"},
		commandline.IO{In: strings.NewReader(d.bootstrap()), Out: &out, Err: &out})
	if code != 0 || !strings.HasPrefix(out.String(), "0 errors") {
		t.Errorf("exit code %d: %s", code, out.String())
	}
}

// TestCheckCannot proves that a configuration that was not checked is no good one.
func TestCheckCannot(t *testing.T) {
	d := newDirectory(t, "")
	good := d.write("good.json", d.bootstrap())
	for _, tt := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"no file named", nil, 2, "FILE is missing"},
		{"a file named twice", []string{good, good}, 2, "given twice"},
		{"no file there", []string{d.file("none.yaml")}, 1, "none.yaml"},
		{"a file with nothing in it", []string{d.write("pod.yaml", "kind: Pod\n")}, 1, "pod.yaml:1:1"},
		{"two files with something wrong", []string{d.write("a.yaml", "a: ["), d.write("b.yaml", "b: [")}, 1, "b.yaml:"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out, errors := d.pectl(append([]string{"check", "--config", d.file("engine.yaml"), "--dump", d.file("dump.json")}, tt.args...)...)
			if code != tt.code || out != "" || !strings.Contains(errors, tt.want) {
				t.Errorf("exit code %d, want %d; output %q, errors %q, want %q", code, tt.code, out, errors, tt.want)
			}
		})
	}
}
