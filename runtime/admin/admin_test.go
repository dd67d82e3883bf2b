package admin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"go.uber.org/goleak"

	"policyengine.dev/runtime/admin"
	"policyengine.dev/runtime/host"
	"policyengine.dev/runtime/memory"
	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/strictyaml"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type key struct{ starts bool }

type keyParams struct {
	Key    policy.Secret `json:"key"`
	Header string        `json:"header"`
	Starts bool          `json:"starts"`
}

func newKey(p keyParams, _ policy.Host) (*key, error) { return &key{p.Starts}, nil }

func (*key) OnRequestHeaders(context.Context, *policy.RequestContext) (policy.RequestAction, error) {
	return nil, nil
}

func (k *key) Start(context.Context) error {
	if k.starts {
		return nil
	}
	return errors.New("the key server <b>is</b> down")
}

const definition = `{"apiVersion":"policyengine/v1","name":"key","version":"v1.0.0","description":"Checks a key.","phases":["request_headers"],
"parameters":{"type":"object","additionalProperties":false,"properties":{"key":{"type":"string","x-secret":true},"header":{"type":"string","default":"x-key"},"starts":{"type":"boolean"}}}}`

type page struct {
	testing.TB
	worker   *worker.Worker
	metrics  *admin.Collector
	handler  http.Handler
	draining bool
	loading  bool
	streams  telemetry.Streams
	traces   telemetry.Traces
	memory   *memory.Account
	source   *admin.SourceDump
}

func newPage(t testing.TB, pprof bool) *page { return newPageWith(t, pprof, worker.StepDetail) }

func newPageWith(t testing.TB, pprof bool, detail worker.Detail) *page {
	t.Helper()
	registry, err := worker.NewRegistry(worker.Entry{Definition: definition, Factory: policy.Define(newKey)})
	if err != nil {
		t.Fatal(err)
	}
	p := &page{TB: t, memory: memory.NewAccount(1000)}
	p.worker = worker.New(registry, worker.Options{Host: policy.Host{Logger: slog.New(slog.DiscardHandler), Clock: host.Clock{}}, Detail: detail})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := p.worker.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	metrics := prometheus.NewPedanticRegistry()
	p.metrics = admin.NewCollector(p.worker, &p.streams, &p.traces, p.memory)
	version := admin.Version{Build: admin.Build{Go: "go1"}, Bundle: manifest}
	metrics.MustRegister(p.metrics, version, admin.NewSourceCollector(func() *admin.SourceDump {
		return &admin.SourceDump{Connected: true, Kept: &admin.KeptDump{Seconds: 7}, Responses: 3, Accepted: 2, Refusals: 1}
	}))
	p.handler = admin.NewHandler(admin.Options{
		Worker: p.worker, Memory: p.memory, Metrics: metrics, Pprof: pprof, Ready: func() bool { return !p.loading }, Draining: func() bool { return p.draining }, Version: version,
		Source: func() *admin.SourceDump { return p.source },
	})
	return p
}

func (p *page) do(method, path string) (int, string) {
	p.Helper()
	w := httptest.NewRecorder()
	p.handler.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	b, _ := io.ReadAll(w.Result().Body)
	return w.Code, string(b)
}

func (p *page) want(path string, status int, parts ...string) string {
	p.Helper()
	got, body := p.do(http.MethodGet, path)
	if got != status {
		p.Errorf("%s: %d, want %d", path, got, status)
	}
	for _, part := range parts {
		if !strings.Contains(body, part) {
			p.Errorf("%s lacks %q: %s", path, part, body)
		}
	}
	return body
}

// use sends a request on a route that has a chain.
func (p *page) use(route string) {
	s := p.worker.Acquire()
	defer s.Release()
	c, _ := s.Chain(route)
	x := s.Begin(c)
	x.Exchange().Route, x.Exchange().Request.Method = route, "POST"
	x.Run(context.Background(), policy.RequestHeaders, time.Second, nil)
	x.End(false)
}

func (p *page) update(params, version string) error {
	_, err := p.worker.Update(context.Background(), worker.Spec{
		Version: version,
		Chains: []worker.ChainSpec{{Name: "payments", Policies: []worker.PolicySpec{{
			Name: "key", Version: "v1", Params: json.RawMessage(params), When: `request.method == "POST"`, Mode: worker.Shadow,
		}}}},
		Routes: []worker.RouteSpec{{Name: "charge", Chain: "payments"}},
	})
	return err
}

func TestReadiness(t *testing.T) {
	p := newPage(t, false)
	p.want("/healthz", 200, "ok")
	p.want("/readyz", 503, "no valid configuration yet")
	if err := p.update(`{"starts":true}`, ""); err != nil {
		t.Fatal(err)
	}
	p.loading = true
	p.want("/readyz", 503, "the first configuration is about to be served")
	p.loading = false
	p.want("/readyz", 200, "ready\nbody memory: 0 of 1000 bytes in use (0%), 0 requests")
	p.memory.Take(1000)
	p.memory.Refuse()
	// An engine that is full is ready all the same.
	p.want("/readyz", 200, "ready\nbody memory: 1000 of 1000 bytes in use (100%), 1 requests")
	p.draining = true
	p.want("/readyz", 503, "draining")
	p.want("/healthz", 200, "ok")
}

// TestPages also proves that a secret parameter is on none of them.
func TestPages(t *testing.T) {
	p := newPage(t, false)
	p.want("/config_dump", 200, `"reason": "no valid configuration yet"`, `"name": "key"`)
	p.want("/", 200, "no valid configuration yet")
	if err := p.update(`{"key":"s3cret"}`, "one"); err != nil {
		t.Fatal(err)
	}
	if err := p.update(`{"kez":"s3cret"}`, "two"); err == nil {
		t.Fatal("accepted")
	}
	p.streams.Started.Add(3)
	p.streams.Responded("policy_engine.key@v1.0.0.KEY_MISSING")
	p.use("charge")
	dump := p.want("/config_dump", 200, `"charge": "payments"`, `"header": "x-key"`, `"key": "[redacted]"`, `"when": "request.method == \"POST\""`,
		`"mode": "shadow"`, `"version": "two"`, `"path": "chains[0].policies[0].params.kez"`, `"onUnknownRoute": "deny"`, "has not started yet")
	console := p.want("/", 200, "charge", "Refused: two", "params.kez", "not started the key server &lt;b&gt;is&lt;/b&gt; down")
	metrics := p.want("/metrics", 200,
		"policy_engine_streams_total 3", `policy_engine_immediate_responses_total{details="policy_engine.key@v1.0.0.KEY_MISSING"} 1`,
		`policy_engine_config_info{version="one"} 1`, "policy_engine_config_rejections_total 1", "policy_engine_config_stale 1",
		`policy_engine_policy_calls_total{chain="payments",id="key",mode="shadow",outcome="error",phase="request_headers",policy="key",version="v1.0.0"} 1`,
		`policy_engine_policy_duration_seconds_count{chain="payments",id="key",mode="shadow",phase="request_headers",policy="key",version="v1.0.0"} 1`,
		`policy_engine_policy_shadow_disagreements_total{chain="payments",id="key",mode="shadow",policy="key",version="v1.0.0"} 1`,
		`policy_engine_requests_total{chain="payments",result="passed",route="charge"} 1`,
		`policy_engine_policy_started{chain="payments",id="key",mode="shadow",policy="key",version="v1.0.0"} 0`)
	for name, page := range map[string]string{"dump": dump, "console": console, "metrics": metrics} {
		if strings.Contains(page, "s3cret") {
			t.Errorf("the secret is in the %s: %s", name, page)
		}
	}
	if problems, err := promlint.New(strings.NewReader(metrics)).Lint(); err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v %v", problems, err)
	}
}

// positions are those of a file in which everything is in one place.
type positions struct{}

func (positions) Position(path string) (worker.Position, bool) {
	return worker.Position{Source: "chains.yaml", Line: 4, Column: 5, Field: "in the file: " + path}, true
}

// TestWarningsSayWhere proves that warnings show with file and line.
func TestWarningsSayWhere(t *testing.T) {
	p := newPage(t, false)
	if _, err := p.worker.Update(context.Background(), worker.Spec{
		Version: "one", Chains: []worker.ChainSpec{{Name: "idle"}}, Positions: positions{},
	}); err != nil {
		t.Fatal(err)
	}
	p.want("/config_dump", 200, `"file": "chains.yaml"`, `"line": 4`, `"column": 5`, `"path": "in the file: chains[0]"`, `"message": "no route uses chain \"idle\""`)
	p.want("/", 200, "chains.yaml:4:5 <code>in the file: chains[0]</code>")
}

// TestTheConsoleShowsWhatTheDumpShows proves that the page for people has what operator.md
// says: everything of /config_dump.
func TestTheConsoleShowsWhatTheDumpShows(t *testing.T) {
	p := newPage(t, false)
	key := worker.PolicySpec{Name: "key", Version: "v1", Params: json.RawMessage(`{"starts":true,"header":"x-api"}`)}
	off, checked := key, key
	off.ID, off.Disabled = "off", true
	checked.ID, checked.Required, checked.Timeout = "checked", true, 250*time.Millisecond
	checked.When = `request.method == "POST" && attributes["xds.cluster_name"] == "a"`
	if _, err := p.worker.Update(context.Background(), worker.Spec{
		Version: "one", OnUnknownRoute: worker.ContinueUnknownRoute,
		Chains: []worker.ChainSpec{{Name: "payments", BodyLimit: 4096, Reroute: true, RerouteHeaders: []string{"x-tenant"}, Policies: []worker.PolicySpec{key, off, checked}}},
		Routes: []worker.RouteSpec{{Name: "charge", Chain: "payments"}},
	}); err != nil {
		t.Fatal(err)
	}
	p.want("/config_dump", 200, `"bodyLimit": 4096`, `"x-tenant"`, `"off"`, `"required": true`, `"250ms"`, `"500ms"`, `"xds.cluster_name"`, `"onUnknownRoute": "continue"`, `"x-api"`, `"go1"`)
	p.want("/", 200, "4096 bytes", "x-tenant", "disabled: off", "(required)", "250ms", "500ms", "<code>xds.cluster_name</code>", "requests pass", "x-api", "go1", "Needs of Envoy: request_headers")
}

// TestRefusedFile proves that a file which never came to the worker shows with the
// places of its problems.
func TestRefusedFile(t *testing.T) {
	p := newPage(t, false)
	p.worker.Refuse("three", strictyaml.Diagnostics{{File: "chains.yaml", Line: 7, Column: 3, Path: "chains[0].polices", Problem: "unknown field"}})
	p.want("/config_dump", 200, `"version": "three"`, `"file": "chains.yaml"`, `"line": 7`, `"column": 3`, `"path": "chains[0].polices"`, `"message": "unknown field"`)
	p.want("/", 200, "Refused: three", "chains.yaml:7:3", "unknown field")
}

func TestNothingCanBeChanged(t *testing.T) {
	p := newPage(t, false)
	for _, path := range []string{"/healthz", "/config_dump", "/metrics", "/"} {
		if status, _ := p.do(http.MethodPost, path); status != 405 {
			t.Errorf("POST %s: %d", path, status)
		}
	}
	p.want("/nothing", 404)
	p.want("/debug/pprof/", 404)
	newPage(t, true).want("/debug/pprof/", 200, "goroutine")
}

// TestAMetricThatTwoMake proves that a policy's metric that has the name of one of the
// engine's, or that cannot be shown, costs no metric of another name, and is told.
func TestAMetricThatTwoMake(t *testing.T) {
	p := newPage(t, false)
	if err := p.update(`{"starts":true}`, "one"); err != nil {
		t.Fatal(err)
	}
	own := host.NewMetrics(slog.New(slog.DiscardHandler))
	own.For(host.Place{Chain: "c", ID: "i", Policy: "streams", Version: "v1.0.0"}).Gauge("open", "").Set(1)
	clash := own.For(host.Place{Chain: "c", ID: "i", Policy: "calls", Version: "v1.0.0"})
	clash.Gauge("total", "A gauge.").Set(1)
	clash.Gauge("odd", "", policy.Label{Name: "l", Value: "\xff"}).Set(1)
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(p.metrics, own)
	var log bytes.Buffer
	p.handler = admin.NewHandler(admin.Options{Worker: p.worker, Metrics: metrics, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	p.want("/metrics", 200, "policy_engine_streams_total 0", `policy_engine_config_info{version="one"} 1`, "policy_engine_policy_streams_open")
	if !strings.Contains(log.String(), "policy_engine_policy_calls_total") || !strings.Contains(log.String(), "not valid UTF-8") {
		t.Errorf("the log is %s", log.String())
	}
}
