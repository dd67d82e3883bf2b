package auditlog_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	auditlog "policyengine.dev/policies/audit-log/v1.0.0"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// log is a policy that writes to a file of the test.
type log struct {
	*policytest.Policy
	path string
}

func start(t testing.TB, params string, opts ...policytest.Option) log {
	t.Helper()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	return log{policytest.New(t, auditlog.Policy, fmt.Sprintf("output: {file: %q}\n%s", path, params), opts...), path}
}

// lines ends the policy, which writes what waits, and returns the file's lines.
func (l log) lines(t testing.TB) (all []map[string]any) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(l.path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(data) {
		var v map[string]any
		if err := json.Unmarshal(line, &v); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		all = append(all, v)
	}
	return all
}

// TestLines proves what the two lines of an exchange show, and what they leave out.
func TestLines(t *testing.T) {
	l := start(t, `
requestHeaders: [user-agent, x-note]
responseHeaders: [content-type]
claims: [org, roles, absent]
query: names
redact: ["[0-9]{13,19}"]
`)
	x := l.Send(t, policytest.Request{
		Method: "POST", Target: "/cards/4111111111111111?card=4111111111111111&x=1", Route: "charge",
		Headers:   policytest.Headers("user-agent", "curl", "x-note", "pan 4111111111111111", "x-note", "b", "authorization", "Bearer secret", "x-request-id", "id-1"),
		Principal: &policy.Principal{Subject: "alice", Issuer: "https://issuer", Claims: map[string]any{"org": "acme", "roles": []any{"a"}, "other": "hidden"}},
	})
	l.Host.Clock.Advance(1500 * time.Microsecond)
	x.Respond(t, policytest.Response{Status: 201, Headers: policytest.Headers("content-type", "text/plain", "set-cookie", "secret")})
	all := l.lines(t)
	if len(all) != 2 {
		t.Fatalf("%d lines", len(all))
	}
	request := map[string]any{
		"time": "2000-01-01T00:00:00Z", "event": "request", "request_id": "id-1", "route": "charge", "method": "POST", "authority": "example.com",
		"path": "/cards/[redacted]", "query": "card&x", "subject": "alice", "issuer": "https://issuer",
		"claims":          map[string]any{"org": "acme", "roles": `["a"]`},
		"request_headers": map[string]any{"user-agent": []any{"curl"}, "x-note": []any{"pan [redacted]", "b"}},
	}
	want(t, all[0], request)
	request["time"], request["event"], request["status"], request["duration_ms"] = "2000-01-01T00:00:00.0015Z", "response", 201.0, 1.5
	request["response_headers"] = map[string]any{"content-type": []any{"text/plain"}}
	want(t, all[1], request)
	if info, err := os.Stat(l.path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %v, %v", info.Mode(), err)
	}
	if got := l.Host.Metrics.Value("lines_written_total"); got != 2 {
		t.Errorf("%v lines are counted", got)
	}
}

func want(t *testing.T, got, want map[string]any) {
	t.Helper()
	g, _ := json.Marshal(got)
	w, _ := json.Marshal(want)
	if !bytes.Equal(g, w) {
		t.Errorf("the line is\n%s, want\n%s", g, w)
	}
}

// TestQueries proves how much of a query is shown.
func TestQueries(t *testing.T) {
	for mode, want := range map[string]any{"none": nil, "names": "a&b&c", "all": "a=1;b=2&c"} {
		l := start(t, "query: "+mode)
		l.Send(t, policytest.Request{Target: "/?a=1;b=2&c"})
		if got := l.lines(t)[0]["query"]; got != want {
			t.Errorf("%s: %v", mode, got)
		}
	}
}

// TestLongTexts proves that a client cannot make lines long, and that lines stay JSON.
func TestLongTexts(t *testing.T) {
	long := strings.Repeat("é", 5000)
	l := start(t, "requestHeaders: [x-long]\nquery: all\nredact: [zzz]")
	headers := policytest.Headers("x-long", "a\xffb")
	for range 100 {
		headers = append(headers, policy.Header{Name: "x-long", Value: long})
	}
	l.Send(t, policytest.Request{Target: "/" + long + "?" + long, Headers: headers[:2]})
	l.Send(t, policytest.Request{Target: "/", Headers: headers})
	l.Send(t, policytest.Request{Target: "/" + long[:100]})
	all := l.lines(t)
	if path := all[0]["path"].(string); len(path) > 1100 || all[0]["truncated"] != true {
		t.Errorf("%d bytes of path, truncated: %v", len(path), all[0]["truncated"])
	}
	if v := all[0]["request_headers"].(map[string]any)["x-long"].([]any); v[0] != "a\uFFFDb" || len(v[1].(string)) > 1100 {
		t.Errorf("%v", v)
	}
	if all[1]["request_headers"] != nil || all[1]["truncated"] != true {
		t.Errorf("a line of %d fields", len(all[1]))
	}
	if all[2]["truncated"] != nil {
		t.Error("a short line is truncated")
	}
}

// TestAFullQueueDrops proves that a request never waits for the output, and that what
// is dropped is counted.
func TestAFullQueueDrops(t *testing.T) {
	h := policytest.NewHost()
	l := start(t, "queue: 3", policytest.WithHost(h), policytest.WithoutStart())
	for range 10 {
		l.Send(t, policytest.Request{}) // nothing writes yet
	}
	if got := h.Metrics.Value("lines_dropped_total", policy.Label{Name: "cause", Value: "full"}); got != 7 {
		t.Errorf("%v dropped lines are counted", got)
	}
	if err := l.Instance.(policy.Starter).Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := len(l.lines(t)); got != 3 {
		t.Errorf("%d lines", got)
	}
}

// TestRotation proves that a file which was moved away is made again, and that no line
// is lost by it.
func TestRotation(t *testing.T) {
	l := start(t, "events: [request]")
	l.Send(t, policytest.Request{Target: "/1"})
	wait(t, func() bool { return l.Host.Metrics.Value("lines_written_total") == 1 })
	if err := os.Rename(l.path, l.path+".1"); err != nil {
		t.Fatal(err)
	}
	l.Host.Clock.Advance(time.Second)
	l.Send(t, policytest.Request{Target: "/2"})
	if all := l.lines(t); len(all) != 1 || all[0]["path"] != "/2" {
		t.Errorf("the new file has %v", all)
	}
	if data, err := os.ReadFile(l.path + ".1"); err != nil || strings.Count(string(data), "\n") != 1 {
		t.Errorf("the old file has %q, %v", data, err)
	}
}

// TestAFullDisk proves that lines which cannot be written are counted and complained of
// once, that requests pass, and that the file of a later time is whole again.
func TestAFullDisk(t *testing.T) {
	h := policytest.NewHost()
	p := policytest.New(t, auditlog.Policy, `{output: {file: /dev/full}, events: [request]}`, policytest.WithHost(h))
	for range 5 {
		p.Send(t, policytest.Request{}).WantPassed(t)
	}
	failed := func() float64 {
		return h.Metrics.Value("lines_dropped_total", policy.Label{Name: "cause", Value: "failed"})
	}
	wait(t, func() bool { return failed() == 5 })
	if log := h.Logs.String(); strings.Count(log, "could not be written") != 1 || !strings.Contains(log, "no space left") {
		t.Errorf("the log is %s", log)
	}
	if got := h.Metrics.Value("lines_written_total"); got != 0 {
		t.Errorf("%v lines count as written", got)
	}
}

// TestAnOutputThatCannotBeOpened proves that the policy does not start without its
// output, and starts once it can.
func TestAnOutputThatCannotBeOpened(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	p := policytest.New(t, auditlog.Policy, fmt.Sprintf(`{output: {file: %q}}`, filepath.Join(dir, "audit")), policytest.WithoutStart())
	starter := p.Instance.(policy.Starter)
	if err := starter.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "opening the audit log: open ") {
		t.Errorf("error is %v", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := starter.Start(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestRefusedParameters(t *testing.T) {
	for params, want := range map[string]string{
		`{output: {}}`:                                                    "output: too few fields",
		`{output: {stdout: true, file: /x}}`:                              "output: too many fields",
		`{output: {file: audit.log}}`:                                     "output.file",
		`{output: {stdout: true}, requestHeaders: [Authorization]}`:       `requestHeaders[0]: "authorization" carries credentials`,
		`{output: {stdout: true}, responseHeaders: [server, set-cookie]}`: `responseHeaders[1]: "set-cookie" carries credentials`,
		`{output: {stdout: true}, redact: ["a*"]}`:                        `redact[0]: "a*" matches the empty text`,
		`{output: {stdout: true}, redact: ["("]}`:                         "redact[0]",
		`{output: {stdout: true}, events: []}`:                            "events",
	} {
		if err := policytest.NewError(t, auditlog.Policy, params); !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q is not in the error: %v", params, want, err)
		}
	}
}

// wait waits, for a bounded time, for the goroutine that writes.
func wait(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not in time")
		}
	}
}

func BenchmarkOnRequestHeaders(b *testing.B) {
	for name, params := range map[string]string{"plain": "events: [request]", "with a header and the response": "requestHeaders: [user-agent]"} {
		b.Run(name, func(b *testing.B) {
			l := start(b, params)
			instance := l.Instance.(*auditlog.AuditLog)
			x := l.Send(b, policytest.Request{Headers: policytest.Headers("user-agent", "curl")})
			b.ReportAllocs()
			for b.Loop() {
				if _, err := instance.OnRequestHeaders(b.Context(), &x.Request); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
