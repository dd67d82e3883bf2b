package trycmd_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"policyengine.dev/envoy_test/engines"
	"policyengine.dev/runtime/commandline"
	"policyengine.dev/tools/pectl/trycmd"
)

const chains = `
chains:
- name: payments
  policies:
  - name: request-id
    version: v1.0.0
  - name: set-header
    version: v1.0.0
    id: mark-writes
    when: request.method != "GET"
    params: {request: {set: [{name: x-write, value: "yes"}], remove: [x-internal]}}
  - name: ip-allow-deny
    version: v1.0.0
    params: {deny: [192.0.2.0/24]}
  - name: set-header
    version: v1.0.0
    id: hide-server
    params: {response: {remove: [server]}}
routes:
- {name: charge, chain: payments}
`

// try runs the command with the engine of the payments bundle.
func try(t *testing.T, request string, flags ...string) (code int, out, problems string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"chains.yaml": chains, "request.yaml": request} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	args := append([]string{filepath.Join(dir, "chains.yaml"), filepath.Join(dir, "request.yaml"), "--engine", engines.Binary(t, engines.Payments)}, flags...)
	var stdout, stderr bytes.Buffer
	code = commandline.Main(t.Context(), trycmd.Command(), args, commandline.IO{Out: &stdout, Err: &stderr})
	return code, stdout.String(), stderr.String()
}

// TestTry proves what the command prints of a request that passes, with and without a step
// that a condition rules out, and of one that a policy answers.
func TestTry(t *testing.T) {
	for _, tt := range []struct {
		name, request string
		says, not     []string
	}{
		{"a request that passes, and its response",
			"{route: charge, method: POST, path: /charges, headers: {x-internal: '1', cookie: a=b}, body: hello, attributes: {source.address: '198.51.100.1:4711'}, response: {headers: {server: x, via: y}, body: ok}}",
			[]string{"route charge, chain payments", "mark-writes (set-header@v1.0.0): mutate", `when: request.method != "GET"`, "changes: remove x-internal, set x-write",
				"outcome: passed", "to the upstream\n  POST https://example.com/charges", "x-write: yes", "cookie: (hidden", "hello", "to the client\n  200", "via: y", "ok"},
			[]string{"x-internal: 1", "server: x", "a=b"}},
		{"a step that its condition rules out",
			"{route: charge, attributes: {source.address: '198.51.100.1:4711'}}",
			[]string{"mark-writes (set-header@v1.0.0): skip", "outcome: passed"}, []string{"x-write: yes", "to the client"}},
		{"a request that a policy answers",
			"{route: charge, attributes: {source.address: '192.0.2.1:4711'}}",
			[]string{"ip-allow-deny (ip-allow-deny@v1.0.0): respond", "outcome: answered", "decided by: ip-allow-deny", "to the client\n  403", "policy_engine.ip-allow-deny@v1.0.0."},
			[]string{"to the upstream"}},
		{"a route without a chain", "{route: other}",
			[]string{"outcome: refused", "reason: ROUTE_UNKNOWN", `cause: no entry of routes matches the route "other"`, "to the client\n  500"}, []string{"to the upstream"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out, problems := try(t, tt.request)
			if code != 0 {
				t.Fatalf("exit code %d: %s", code, problems)
			}
			for _, text := range tt.says {
				if !strings.Contains(out, text) {
					t.Errorf("the output does not say %q", text)
				}
			}
			for _, text := range tt.not {
				if strings.Contains(out, text) {
					t.Errorf("the output says %q", text)
				}
			}
			if t.Failed() {
				t.Log(out)
			}
		})
	}
}

// TestTryInJSON proves that the report is JSON, with secrets only if they are asked for.
func TestTryInJSON(t *testing.T) {
	code, out, problems := try(t, "{route: charge, headers: {cookie: a=b}, attributes: {source.address: '198.51.100.1:4711'}}", "--json", "--show-secrets")
	var report struct {
		Chain, Outcome string
		Steps          []struct{ ID, Outcome string }
		Request        struct {
			Headers []struct{ Name, Value string }
		}
	}
	if err := json.Unmarshal([]byte(out), &report); code != 0 || err != nil {
		t.Fatalf("exit code %d, %v: %s%s", code, err, out, problems)
	}
	if report.Chain != "payments" || report.Outcome != "passed" || len(report.Steps) < 3 || !strings.Contains(out, "a=b") {
		t.Errorf("the report is %s", out)
	}
}

// TestProblems proves that what is wrong with the files is reported with its place.
func TestProblems(t *testing.T) {
	code, _, problems := try(t, "{rute: charge}")
	if code != commandline.ExitFailed || !strings.Contains(problems, `request.yaml:1:2: rute: unknown field; did you mean "route"?`) {
		t.Errorf("exit code %d: %s", code, problems)
	}
}
