package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/structpb"

	"policyengine.dev/runtime/config"
	"policyengine.dev/runtime/engine"
	"policyengine.dev/runtime/extproc/wire"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
)

// careless is a policy that does one thing wrong, with what it has of the request.
type careless struct {
	p       carelessParams
	nothing []int
}

type carelessParams struct {
	Key policy.Secret `json:"key"`
	Act string        `json:"act"`
}

func newCareless(p carelessParams, _ policy.Host) (*careless, error) { return &careless{p: p}, nil }

func (c *careless) OnRequestHeaders(_ context.Context, req *policy.RequestContext) (policy.RequestAction, error) {
	value := req.Headers().Get("authorization")
	set := func(name, value string) policy.RequestAction {
		return &policy.RequestMutation{Headers: policy.HeaderMutation{Set: []policy.Header{{Name: name, Value: value}}}}
	}
	switch c.p.Act {
	case "header":
		return set("x-copy", value), nil
	case "bad value":
		return set("x-copy", value+"\n"), nil
	case "bad path":
		return &policy.RequestMutation{Path: "no path " + value}, nil
	case "bad authority":
		return &policy.RequestMutation{Authority: value + "\n"}, nil
	case "bad method":
		return &policy.RequestMutation{Method: value}, nil
	case "query":
		return &policy.RequestMutation{Query: policy.QueryMutation{Set: []policy.Param{{Name: "copy", Value: value}}}}, nil
	case "bad reason":
		return policy.Reject(403, value, ""), nil
	case "panic":
		return nil, fmt.Errorf("%d", c.nothing[len(value)])
	case "refuse":
		return policy.Reject(403, "NO", ""), nil
	}
	return nil, nil
}

// spans keeps what a collector gets, as text.
type spans struct {
	collectorpb.UnimplementedTraceServiceServer
	mu  sync.Mutex
	all strings.Builder
}

func (s *spans) Export(_ context.Context, r *collectorpb.ExportTraceServiceRequest) (*collectorpb.ExportTraceServiceResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all.WriteString(r.String())
	return &collectorpb.ExportTraceServiceResponse{}, nil
}

func (s *spans) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.String()
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// The canaries: each is in one place where secrets are.
var canaries = map[string]string{
	"a header":      "canary-header-7f31",
	"a cookie":      "canary-cookie-5c02",
	"the query":     "canary-query-9d44",
	"the authority": "canary-user-1b8e",
	"a parameter":   "canary-parameter-e650",
	"a refused one": "canary-refused-a3c9",
}

// TestSecretsStayInside proves that nothing an engine tells of itself has a header's
// value, a cookie, a query, a password or a secret parameter in it, whatever goes wrong
// on the way: neither the log at its most verbose, nor the spans, metrics and admin
// pages, nor an answer to a client.
func TestSecretsStayInside(t *testing.T) {
	collector := &spans{}
	endpoint, stopCollector := collect(t, collector)
	defer stopCollector()
	routes := []struct{ name, act, when, reply string }{
		{"passes", "", "", "headers"},
		{"copies", "header", "", "headers"},
		{"adds a parameter", "query", "", "headers"},
		{"sets a header that is none", "bad value", "", "POLICY_ERROR"},
		{"sets a path that is none", "bad path", "", "POLICY_ERROR"},
		{"sets an authority that is none", "bad authority", "", "POLICY_ERROR"},
		{"sets a method that is none", "bad method", "", "POLICY_ERROR"},
		{"panics", "panic", "", "POLICY_PANIC"},
		{"refuses", "refuse", "", "NO"},
		{"gives a reason that is none", "bad reason", "", "POLICY_ERROR"},
		{"has a condition that fails on a header", "", `int(request.headers["authorization"]) > 1`, "POLICY_ERROR"},
		{"has a condition that fails on the query", "", `int(request.query) > 1`, "POLICY_ERROR"},
		{"has a condition that fails on the path", "", `timestamp(request.headers["cookie"]) > timestamp("2020-01-01T00:00:00Z")`, "POLICY_ERROR"},
	}
	var content, list strings.Builder
	for i, r := range routes {
		fmt.Fprintf(&content, "- {name: c%d, policies: [{name: careless, version: v1, params: {key: %s, act: %q}, when: '%s'}]}\n", i, canaries["a parameter"], r.act, r.when)
		fmt.Fprintf(&list, "- {name: r%d, chain: c%d}\n", i, i)
	}
	dir := t.TempDir()
	r := &running{t: t, dir: dir, result: make(chan error, 1)}
	good := "chains:\n" + strings.ReplaceAll(content.String(), ", when: ''", "") + "routes:\n" + list.String()
	r.write(good)
	static := config.DefaultEngine()
	static.Chains = filepath.Join(dir, "chains.yaml")
	static.Listeners = []config.Listener{{Address: config.Address{Network: "unix", Address: filepath.Join(dir, "s")}, Mode: 0o600}}
	static.Admin = config.Address{Network: "tcp", Address: "127.0.0.1:0"}
	static.Telemetry.Tracing = config.Tracing{Endpoint: endpoint, Insecure: true, SampleRatio: 1}
	registry, err := worker.NewRegistry(worker.Entry{
		Definition: `{"apiVersion":"policyengine/v1","name":"careless","version":"v1.0.0","description":"Is careless.","phases":["request_headers"],
"parameters":{"type":"object","additionalProperties":false,"properties":{"key":{"type":"string","x-secret":true,"maxLength":30},"act":{"type":"string"}}}}`,
		Factory: policy.Define(newCareless),
	})
	if err != nil {
		t.Fatal(err)
	}
	log := &syncBuffer{}
	r.Engine, err = engine.New(static, registry, slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	stop, end := context.WithCancel(context.Background())
	defer end()
	go func() { r.result <- r.Run(stop, stop) }()
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(log.String())
		}
	})
	r.waitReady()

	conn, err := grpc.NewClient("unix:"+r.Addr(0).String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for i, route := range routes {
		reply := askWithSecrets(t, conn, fmt.Sprint("r", i))
		if text := reply.String(); route.reply == "headers" && reply.GetRequestHeaders() == nil || route.reply != "headers" && !strings.Contains(text, route.reply) {
			t.Errorf("%s: the reply is %s", route.name, text)
		}
		if ir := reply.GetImmediateResponse(); ir != nil {
			noCanary(t, "the answer where a policy "+route.name, ir.String()+string(ir.Body))
		}
	}
	for _, params := range []string{
		"{key: {a: " + canaries["a refused one"] + "}}",
		"{key: [" + canaries["a refused one"] + "]}",
		"{key: " + canaries["a refused one"] + "-and-much-longer-than-it-may-be}",
	} {
		before := strings.Count(log.String(), "chains and routes refused")
		r.write("chains:\n- {name: c, policies: [{name: careless, version: v1, params: " + params + "}]}\nroutes: [{name: r, chain: c}]\n")
		until(t, "it to be refused", func() bool { return strings.Count(log.String(), "chains and routes refused") > before })
		for _, path := range []string{"/config_dump", "/"} {
			_, page := r.page(path)
			noCanary(t, path+" after a refused update", page)
		}
	}
	until(t, "the spans to be sent", func() bool {
		_, page := r.page("/metrics")
		return strings.Contains(page, fmt.Sprintf("policy_engine_traces_sent_total %d\n", len(routes)))
	})
	for _, path := range []string{"/config_dump", "/", "/metrics"} {
		status, page := r.page(path)
		if status != 200 || !strings.Contains(page, "careless") {
			t.Errorf("%s: status %d, %s", path, status, page)
		}
		noCanary(t, path, page)
	}
	end()
	if err := r.ended(); err != nil {
		t.Error(err)
	}
	noCanary(t, "the log", log.String())
	noCanary(t, "the spans", collector.String())
	if s := collector.String(); strings.Count(s, "policy chain c") != len(routes) || !strings.Contains(s, "/path") {
		t.Errorf("the spans are %s", s)
	}
	if n := strings.Count(log.String(), `"msg":"decision"`); n != len(routes) {
		t.Errorf("%d decisions are on the log, want %d", n, len(routes))
	}
}

func noCanary(t *testing.T, where, text string) {
	t.Helper()
	for what, canary := range canaries {
		if i := strings.Index(text, canary); i >= 0 {
			t.Errorf("%s of the request is in %s: ...%s...", what, where, text[max(0, i-200):min(len(text), i+60)])
		}
	}
}

func askWithSecrets(t *testing.T, conn *grpc.ClientConn, route string) *extprocv3.ProcessingResponse {
	t.Helper()
	s, err := extprocv3.NewExternalProcessorClient(conn).Process(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	var headers []*corev3.HeaderValue
	for _, h := range [][2]string{
		{":method", "GET"}, {":path", "/path?token=" + canaries["the query"]}, {":authority", "user:" + canaries["the authority"] + "@example.org"},
		{"authorization", "Bearer " + canaries["a header"]}, {"cookie", "session=" + canaries["a cookie"]},
		{"traceparent", canaries["a header"]}, {"tracestate", canaries["a cookie"]},
	} {
		headers = append(headers, &corev3.HeaderValue{Key: h[0], RawValue: []byte(h[1])})
	}
	_ = s.Send(&extprocv3.ProcessingRequest{
		Request: &extprocv3.ProcessingRequest_RequestHeaders{RequestHeaders: &extprocv3.HttpHeaders{EndOfStream: true, Headers: &corev3.HeaderMap{Headers: headers}}},
		Attributes: map[string]*structpb.Struct{wire.AttributesKey: {Fields: map[string]*structpb.Value{
			"xds.route_name": structpb.NewStringValue(route)}}},
		ProtocolConfig: &extprocv3.ProtocolConfiguration{},
	})
	reply, err := s.Recv()
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

// holding is a collector that takes spans and never answers.
type holding struct {
	collectorpb.UnimplementedTraceServiceServer
	called chan struct{}
}

func (h holding) Export(ctx context.Context, _ *collectorpb.ExportTraceServiceRequest) (*collectorpb.ExportTraceServiceResponse, error) {
	select {
	case h.called <- struct{}{}:
	default:
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestCollectorThatHangs proves that an engine whose collector hangs serves, says so in
// its metrics, and ends as if nothing were wrong.
func TestCollectorThatHangs(t *testing.T) {
	h := holding{called: make(chan struct{}, 1)}
	endpoint, stop := collect(t, h)
	defer stop()
	r := start(t, chains("{value: hello}"), func(e *config.Engine) {
		e.Telemetry.Tracing = config.Tracing{Endpoint: endpoint, Insecure: true, SampleRatio: 1}
	})
	r.waitReady()
	conn := r.dial(nil)
	for range 3 {
		if reply, err := ask(t, conn); err != nil || greeting(reply) != "hello" {
			t.Fatalf("%v, %v", reply, err)
		}
	}
	conn.Close() // which ends the streams
	select {
	case <-h.called:
	case <-time.After(patience):
		t.Error("the collector got nothing")
	}
	if _, page := r.page("/metrics"); !strings.Contains(page, "policy_engine_traces_sent_total 0\n") {
		t.Errorf("nothing about traces in %s", page)
	}
	r.stop()
	if err := r.ended(); err != nil {
		t.Errorf("the engine ends with %v", err)
	}
}

// collect runs a collector until stop is called.
func collect(t *testing.T, c collectorpb.TraceServiceServer) (endpoint string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	collectorpb.RegisterTraceServiceServer(server, c)
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(l) }()
	return l.Addr().String(), func() { server.Stop(); <-served }
}
