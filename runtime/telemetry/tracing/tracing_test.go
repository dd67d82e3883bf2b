package tracing_test

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/runtime/telemetry/tracing"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

func TestMain(m *testing.M) {
	// The system's certificates are read once, by the first handshake that needs them,
	// which nobody can interrupt. On a busy machine it would outlive the tests.
	_, _ = x509.SystemCertPool()
	goleak.VerifyTestMain(m)
}

var began = time.Unix(1_700_000_000, 0)

func decision() *telemetry.Decision {
	return &telemetry.Decision{
		Began: began, Route: "charge", Chain: "payments", Method: "POST", Path: "/v1/charges",
		TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		Denied:      true, Status: 504, Reason: "POLICY_TIMEOUT",
		Steps: []telemetry.StepDecision{
			{ID: "a", Policy: "set-header", Version: "v1.0.0", Phase: policy.RequestHeaders, Outcome: telemetry.Mutated, At: time.Millisecond, Took: time.Millisecond},
			{ID: "b", Policy: "set-header", Version: "v1.0.0", Outcome: telemetry.Skipped},
			{ID: "c", Policy: "jwt-validation", Version: "v2.0.0", Phase: policy.RequestHeaders, Outcome: telemetry.TimedOut, Reason: "POLICY_TIMEOUT", At: 2 * time.Millisecond, Took: 5 * time.Millisecond},
		},
	}
}

func TestSpans(t *testing.T) {
	out := tracetest.NewInMemoryExporter()
	tracer := tracing.NewWith(out, tracing.Options{})
	tracer.Record(decision())
	tracer.Flush(context.Background())
	spans := out.GetSpans()
	if len(spans) != 3 {
		t.Fatalf("%d spans, want one for the exchange and one for each policy that ran", len(spans))
	}
	first, second, root := spans[0], spans[1], spans[2]
	if root.Name != "policy chain payments" || root.Parent.SpanID().String() != "b7ad6b7169203331" ||
		root.SpanContext.TraceID().String() != "0af7651916cd43dd8448eb211c80319c" || root.Status.Code != codes.Error {
		t.Errorf("root span %+v", root)
	}
	if !root.StartTime.Equal(began) || !root.EndTime.Equal(began.Add(7*time.Millisecond)) {
		t.Errorf("root from %v to %v", root.StartTime, root.EndTime)
	}
	if first.Name != "set-header@v1.0.0 request_headers" || first.Parent.SpanID() != root.SpanContext.SpanID() || first.EndTime.Sub(first.StartTime) != time.Millisecond {
		t.Errorf("first span %+v", first)
	}
	if second.Status.Code != codes.Error || second.Status.Description != "POLICY_TIMEOUT" {
		t.Errorf("second span %+v", second)
	}
	if err := tracer.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestSampling(t *testing.T) {
	for name, tc := range map[string]struct {
		parent string
		ratio  float64
		want   bool
	}{
		"a sampled parent":       {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", 0, true},
		"a parent not sampled":   {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", 1, false},
		"no parent, ratio 1":     {"", 1, true},
		"no parent, ratio 0":     {"", 0, false},
		"a broken parent, ratio": {"00-xyz", 1, true},
	} {
		out := tracetest.NewInMemoryExporter()
		tracer := tracing.NewWith(out, tracing.Options{SampleRatio: tc.ratio})
		d := decision()
		d.TraceParent = tc.parent
		tracer.Record(d)
		tracer.Flush(context.Background())
		if got := len(out.GetSpans()) > 0; got != tc.want {
			t.Errorf("%s: traced is %v", name, got)
		}
		_ = tracer.Shutdown(context.Background())
	}
}

// collector is a real OTLP server that keeps what it gets.
type collector struct {
	collectorpb.UnimplementedTraceServiceServer
	mu    sync.Mutex
	names []string
}

func (c *collector) Export(_ context.Context, r *collectorpb.ExportTraceServiceRequest) (*collectorpb.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, rs := range r.ResourceSpans {
		for _, ss := range rs.ScopeSpans {
			for _, s := range ss.Spans {
				c.names = append(c.names, s.Name)
			}
		}
	}
	return &collectorpb.ExportTraceServiceResponse{}, nil
}

func TestOTLP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &collector{}
	server := grpc.NewServer()
	collectorpb.RegisterTraceServiceServer(server, c)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	tracer, err := tracing.New(context.Background(), tracing.Options{Endpoint: l.Addr().String(), Insecure: true, SampleRatio: 1})
	if err != nil {
		t.Fatal(err)
	}
	tracer.Record(decision())
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := tracer.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	server.Stop()
	<-served
	if len(c.names) != 3 {
		t.Errorf("the collector has %v", c.names)
	}
}

func TestSampleRatioIsChecked(t *testing.T) {
	if _, err := tracing.New(context.Background(), tracing.Options{Endpoint: "127.0.0.1:1", SampleRatio: 2}); err == nil {
		t.Error("a ratio of 2 is accepted")
	}
}

// TestSpansOfPolicies proves that what a policy tells of a call is below the span of its
// step, with the ids that others were told, and that annotations are attributes of the step.
func TestSpansOfPolicies(t *testing.T) {
	out := tracetest.NewInMemoryExporter()
	tracer := tracing.NewWith(out, tracing.Options{})
	d := decision()
	id := [8]byte{1, 2, 3, 4, 5, 6, 7, 8}
	d.Steps = d.Steps[:1]
	d.Steps[0].Annotations = []slog.Attr{slog.Int("score", 7), slog.Duration("age", 1500*time.Millisecond), slog.String("rule", "r"), slog.Bool("new", true), slog.Float64("share", 0.5), slog.Uint64("n", 8)}
	d.Steps[0].Spans = []exchange.Span{
		{Name: "ask", Began: began, Ended: began.Add(time.Millisecond), ID: id, Client: true, Attributes: []slog.Attr{slog.Int("status", 503)}, Error: "refused"},
		{Name: "search", Began: began, Ended: began.Add(time.Millisecond)},
	}
	tracer.Record(d)
	tracer.Flush(context.Background())
	spans := out.GetSpans()
	if len(spans) != 4 {
		t.Fatalf("%d spans, want 4", len(spans))
	}
	ask, search, step := spans[0], spans[1], spans[2]
	for _, s := range []tracetest.SpanStub{ask, search} {
		if s.Parent.SpanID() != step.SpanContext.SpanID() || !s.EndTime.Equal(began.Add(time.Millisecond)) {
			t.Errorf("the span %s is %+v", s.Name, s)
		}
	}
	if ask.SpanContext.SpanID() != id || ask.SpanKind != trace.SpanKindClient || ask.Status.Description != "refused" {
		t.Errorf("the span of the question is %+v", ask)
	}
	if search.SpanContext.SpanID() == id || !search.SpanContext.SpanID().IsValid() || search.SpanKind != trace.SpanKindInternal {
		t.Errorf("the span of the search is %+v", search)
	}
	got := map[string]string{}
	for _, a := range step.Attributes {
		got[string(a.Key)] = a.Value.Emit()
	}
	for key, want := range map[string]string{"score": "7", "age": "1.5", "rule": "r", "new": "true", "share": "0.5", "n": "8"} {
		if got["policy_engine.annotation."+key] != want {
			t.Errorf("the annotation %s is %q, want %q", key, got["policy_engine.annotation."+key], want)
		}
	}
	if err := tracer.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}
