package envoyconfig_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"policyengine.dev/envoy_test/harness"
	"policyengine.dev/envoy_test/policies/probe/v1.0.0"
	"policyengine.dev/runtime/config"
	"policyengine.dev/runtime/engine"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/tools/envoy"
	"policyengine.dev/tools/pectl/envoyconfig/internal/sample"
)

const probeDefinition = `{"apiVersion":"policyengine/v1","name":"probe","version":"v1.0.0","description":"Does what it is told.","body":"raw",
"phases":["request_headers","request_body","request_body_chunks","request_trailers","response_headers","response_body","response_body_chunks","response_trailers"],
"parameters":{"type":"object"}}`

// entries are the policies of the engines here.
var entries = []worker.Entry{{Definition: probeDefinition, Factory: probe.Policy}}

// chains has a chain of every kind that makes a difference to Envoy.
const chains = `
chains:
- name: headers
  policies:
  - {name: probe, version: v1, params: {requestHeaders: {headers: {set: [{name: x-probe, value: seen}]}}}, when: 'attributes["source.port"] > 0.0'}
- name: refusing
  policies: [{name: probe, version: v1, params: {requestHeaders: {respond: {status: 403, body: "no\n"}}}}]
- name: responses
  policies: [{name: probe, version: v1, params: {responseHeaders: {headers: {set: [{name: x-probe, value: answered}]}}}, when: 'attributes["response.code"] == 200.0'}]
- name: bodies
  policies: [{name: probe, version: v1, params: {requestBody: {bodyPrefix: "in:"}, responseBody: {bodyPrefix: "out:"}}}]
- name: pieces
  policies: [{name: probe, version: v1, params: {requestChunks: {upper: true}}}]
- name: holding
  policies: [{name: probe, version: v1, params: {requestChunks: {hold: 4, upper: true}, responseHeaders: {headers: {set: [{name: x-probe, value: held}]}}}}]
- name: delaying
  policies: [{name: probe, version: v1, params: {responseChunks: {hold: 4, upper: true}}}]
- name: everything
  policies: [{name: probe, version: v1, params: {requestChunks: {hold: 4, upper: true}, requestTrailers: {trailers: {set: [{name: x-request, value: seen}]}},
    responseBody: {bodyPrefix: "out:"}, responseTrailers: {trailers: {set: [{name: x-response, value: seen}]}}}}]
- name: rerouting
  reroute: true
  policies: [{name: probe, version: v1, params: {requestHeaders: {method: PUT, authority: elsewhere.example.org, path: /to-bodies}}}]
- name: none
  policies: []
routes:
`

// names are the names of the chains.
var names = []string{"headers", "refusing", "responses", "bodies", "pieces", "holding", "delaying", "everything", "rerouting", "none"}

// writeChains writes the chains, each with a route that is named after it.
func (d *directory) writeChains() {
	d.Helper()
	content := chains
	for _, chain := range names {
		content += fmt.Sprintf("- {name: to-%s, chain: %s}\n", chain, chain)
	}
	d.write("chains.yaml", content)
}

// startEngine runs an engine in this process and returns its engine.yaml, as it
// listens, with more at its end.
func startEngine(t *testing.T, d *directory, more ...string) string {
	t.Helper()
	d.writeChains()
	listeners := fmt.Sprintf("listeners: [{address: \"unix:%s\"}]\nadmin: {address: \"unix:%s\"}\nsource: {path: chains.yaml}\n", d.file("e"), d.file("a"))
	static, err := config.LoadEngine(d.write("engine.yaml", listeners+strings.Join(more, "")))
	if err != nil {
		t.Fatal(err)
	}
	registry, err := worker.NewRegistry(entries...)
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(static, registry, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	stop, end := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(stop, stop) }()
	t.Cleanup(func() {
		end()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-e.Ready():
	case err := <-done:
		done <- nil
		t.Fatal(err)
	case <-time.After(time.Minute):
		t.Fatal("the engine is not ready")
	}
	return d.file("engine.yaml")
}

// TestBundle proves that a bundle's own binary says what the running engine does.
func TestBundle(t *testing.T) {
	dir, err := os.MkdirTemp("", "circle")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	d := &directory{t, dir}
	engineFile := startEngine(t, d)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	_, running, _ := d.pectl("--config", engineFile)
	t.Setenv(engineVariable, "real")
	code, out, errors := d.pectl("--config", engineFile, "--engine", self)
	if code != 0 || out != running || !strings.Contains(out, "to-holding") {
		t.Errorf("exit code %d: %s%s\nand running %s", code, out, errors, running)
	}
}

// TestFullCircle proves with a real engine and the pinned Envoy that what is
// generated serves chains of every kind, with mode overrides and without: each does
// what it is there for, Envoy counts nothing that went wrong, and a check of the
// configuration finds nothing.
func TestFullCircle(t *testing.T) {
	binary := envoy.Binary(t)
	dir, err := os.MkdirTemp("", "circle") // short enough for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	d := &directory{t, dir}
	engineFile := startEngine(t, d)
	for name, flags := range map[string][]string{"as by default": nil, "fixed modes": {"--fixed-modes"}, "overrides": {"--prefer-mode-override"}} {
		t.Run(name, func(t *testing.T) {
			d := &directory{t, dir}
			engineFile := engineFile
			if name == "overrides" {
				if err := os.Mkdir(d.file("prefers"), 0o700); err != nil {
					t.Fatal(err)
				}
				engineFile = startEngine(t, &directory{t, d.file("prefers")}, "filter: {preferModeOverride: true}\n")
			}
			// Nothing but engine.yaml is needed where the engine runs.
			code, out, errors := d.pectl(append([]string{"--config", engineFile}, flags...)...)
			if code != 0 {
				t.Fatal(errors)
			}
			upstream, err := harness.StartUpstream()
			if err != nil {
				t.Fatal(err)
			}
			defer upstream.Close()
			src := throughUpstream(t, d, out, upstream.Address())
			if code, out, errors := d.pectl("check", "--strict", "--config", engineFile, d.write("envoy.json", string(src))); code != 0 {
				t.Errorf("the check finds something: %s%s", out, errors)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			e, err := harness.StartEnvoy(ctx, harness.EnvoyOptions{Path: binary, Config: src, Dir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Stop()
			for _, x := range exchanges {
				t.Run(x.path, func(t *testing.T) { x.run(ctx, t, upstream, e.Listener("main")) })
			}
			noFailures(ctx, t, e)
			if t.Failed() {
				t.Log(e.Log())
			}
		})
	}
}

// throughUpstream makes a whole configuration of what is generated, with an upstream
// behind every route.
func throughUpstream(t *testing.T, d *directory, generated, upstream string) []byte {
	t.Helper()
	parts := sample.Parse(t, []byte(generated))
	var routes []any
	for _, chain := range names {
		name := "to-" + chain
		route := sample.Tree{"name": name, "match": sample.Tree{"path": "/" + name}, "route": sample.Tree{"cluster": "upstream"}}
		if blocks, ok := parts["routes"].(sample.Tree)[name].(sample.Tree); ok {
			for field, v := range blocks {
				route[field] = v
			}
		}
		routes = append(routes, route)
	}
	tree := sample.BootstrapWith(parts, routes)
	host, port, _ := strings.Cut(upstream, ":")
	static := tree["static_resources"].(sample.Tree)
	static["clusters"] = append(static["clusters"].([]any), sample.Parse(t, fmt.Appendf(nil, `
name: upstream
type: STATIC
load_assignment: {cluster_name: upstream, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: %s, port_value: %s}}}}]}]}
`, host, port)))
	src, err := json.MarshalIndent(tree, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// exchange is a request, and what becomes of it.
type exchange struct {
	path, body string
	chunked    bool // no declared length
	status     int
	// reached is what the upstream sees, as method, target and body; nothing
	// where it is empty.
	reached string
	// want is in the response's body, probe its header x-probe.
	want, probe string
}

var exchanges = []exchange{
	{path: "/to-headers", status: 200, reached: "GET /to-headers seen ", want: "hello"},
	{path: "/to-refusing", status: 403, want: "no\n"},
	{path: "/to-responses", status: 200, reached: "GET /to-responses  ", want: "hello", probe: "answered"},
	{path: "/to-bodies", body: "question", status: 200, reached: "POST /to-bodies  in:question", want: "out:hello"},
	{path: "/to-bodies", status: 200, reached: "GET /to-bodies  in:", want: "out:hello"},
	{path: "/to-pieces", body: "question", status: 200, reached: "POST /to-pieces  QUESTION", want: "hello"},
	{path: "/to-pieces", body: strings.Repeat("x", 3<<20), status: 200, reached: "POST /to-pieces  " + strings.Repeat("X", 3<<20), want: "hello"},
	{path: "/to-holding", body: "question", status: 200, reached: "POST /to-holding  QUESTION", want: "hello", probe: "held"},
	{path: "/to-holding", status: 200, reached: "GET /to-holding  ", want: "hello", probe: "held"},
	{path: "/to-delaying", body: "question", status: 200, reached: "POST /to-delaying  question", want: "HELLO FROM THE UPSTREAM"},
	{path: "/to-everything", body: "question", status: 200, reached: "POST /to-everything  QUESTION", want: "out:hello"},
	{path: "/to-everything", status: 200, reached: "GET /to-everything  ", want: "out:hello"},
	{path: "/to-rerouting", status: 200, reached: "PUT /to-bodies  ", want: "hello"},
	{path: "/to-none", body: "question", status: 200, reached: "POST /to-none  question", want: "hello"},
	// Three times Envoy's own buffer limit, more than any chain's, and just that.
	{path: "/to-bodies", body: strings.Repeat("x", 3<<20), status: 200, reached: "POST /to-bodies  in:" + strings.Repeat("x", 3<<20), want: "out:hello"},
	{path: "/to-bodies", body: strings.Repeat("x", 11<<20), status: 413}, // by the engine or by Envoy
	{path: "/to-bodies", body: strings.Repeat("x", 10<<20), chunked: true, status: 200, reached: "POST /to-bodies  in:" + strings.Repeat("x", 10<<20), want: "out:hello"},
}

func (x *exchange) run(ctx context.Context, t *testing.T, upstream *harness.Upstream, address string) {
	t.Helper()
	before := len(upstream.Received())
	method, body := http.MethodGet, io.Reader(nil)
	if x.body != "" {
		method, body = http.MethodPost, strings.NewReader(x.body)
		if x.chunked {
			body = struct{ io.Reader }{body}
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://"+address+x.path, body)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != x.status || !strings.Contains(string(got), x.want) || response.Header.Get("x-probe") != x.probe {
		t.Errorf("status %d, x-probe %q, body %q", response.StatusCode, response.Header.Get("x-probe"), short(string(got)))
	}
	reached := ""
	for _, r := range upstream.Received()[before:] {
		reached += strings.Join([]string{r.Method, r.Target, r.Header.Get("x-probe"), string(r.Body)}, " ")
	}
	if reached != x.reached {
		t.Errorf("the upstream saw %q, want %q", short(reached), short(x.reached))
	}
}

func short(s string) string { return s[:min(len(s), 100)] }

// noFailures looks at Envoy's own counters of what went wrong.
func noFailures(ctx context.Context, t *testing.T, e *harness.Envoy) {
	t.Helper()
	stats, err := e.Admin(ctx, "/stats?filter=ext_proc|policy-engine.upstream_rq_pending_overflow")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(stats), "\n") {
		name, count, _ := strings.Cut(line, ": ")
		for _, bad := range []string{"streams_failed", "spurious", "rejected", "failure_mode_allowed", "message_timeouts", "overflow", "ignored", "disabled"} {
			if strings.Contains(name, bad) && count != "0" {
				t.Error(line)
			}
		}
	}
	if !strings.Contains(string(stats), "ext_proc.streams_started") {
		t.Errorf("no counters: %s", stats)
	}
}
