package cases

import (
	"context"
	"encoding/hex"
	"maps"
	"net"
	"slices"
	"sync"
	"testing"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"

	"policyengine.dev/envoy_test/harness"
)

// Span is a span that is made of an exchange.
type Span struct {
	// Service is the one that makes it; the engine by default.
	Service string `yaml:"service"`
	Name    string `yaml:"name,required"`
	// Trace is the trace that it belongs to, in hexadecimal digits; empty is
	// not looked at.
	Trace string `yaml:"trace"`
	// Parent is the name of the span that it continues, of whatever service,
	// or the identifier of the client's in hexadecimal digits; empty is that it
	// continues none.
	Parent string `yaml:"parent"`
	// Attributes are some of its attributes.
	Attributes map[string]any `yaml:"attributes"`
}

const (
	// collectorCluster is Envoy's name for the collector.
	collectorCluster = "collector"
	// engineService is service.name in the engine's spans.
	engineService = "policy-engine"
)

// collector takes spans (OTLP over gRPC) and keeps them.
type collector struct {
	collectorpb.UnimplementedTraceServiceServer
	address string

	mu    sync.Mutex
	spans []span
	// past is how many of them have been looked at.
	past int
}

// span is one that was collected.
type span struct {
	service string
	*tracepb.Span
}

func startCollector(t *testing.T) *collector {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &collector{address: listener.Addr().String()}
	server := grpc.NewServer()
	collectorpb.RegisterTraceServiceServer(server, c)
	ended := make(chan struct{})
	go func() { defer close(ended); _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Stop(); <-ended })
	return c
}

// use has Envoy and the engine send their spans to the collector, soon after they
// are made.
func (c *collector) use(o *harness.Options) {
	o.Bootstrap.Clusters = map[string]string{collectorCluster: c.address}
	if o.Engine.Path == "" {
		return
	}
	config := maps.Clone(o.Engine.Config)
	if config == nil {
		config = map[string]any{}
	}
	config["telemetry"] = map[string]any{"tracing": map[string]any{"endpoint": c.address, "insecure": true}}
	o.Engine.Config = config
	o.Engine.Environment = append(o.Engine.Environment, "OTEL_BSP_SCHEDULE_DELAY=20")
}

// Export implements the service.
func (c *collector) Export(_ context.Context, r *collectorpb.ExportTraceServiceRequest) (*collectorpb.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range r.GetResourceSpans() {
		service, _ := attribute(resource.GetResource().GetAttributes(), "service.name").(string)
		for _, scope := range resource.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				c.spans = append(c.spans, span{service, s})
			}
		}
	}
	return &collectorpb.ExportTraceServiceResponse{}, nil
}

// compare looks at the spans that have arrived since the last call of done: those that
// are wanted have to be there, and no others of the engine.
func (c *collector) compare(d *differences, want []Span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fresh := slices.Clone(c.spans[c.past:])
	for _, w := range want {
		if w.Service == "" {
			w.Service = engineService
		}
		at := slices.IndexFunc(fresh, func(s span) bool { return s.service == w.Service && s.GetName() == w.Name })
		if at < 0 {
			d.add("there is no span %q of %s", w.Name, w.Service)
			continue
		}
		c.span(d, fresh[at], w)
		fresh = slices.Delete(fresh, at, at+1)
	}
	for _, s := range fresh {
		if s.service == engineService {
			d.add("there is a span %q", s.GetName())
		}
	}
}

// done says that the spans that are there have been looked at.
func (c *collector) done() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.past = len(c.spans)
}

func (c *collector) span(d *differences, got span, want Span) {
	if trace := hex.EncodeToString(got.GetTraceId()); want.Trace != "" && trace != want.Trace {
		d.add("the span %q belongs to the trace %s, want %s", want.Name, trace, want.Trace)
	}
	parent := hex.EncodeToString(got.GetParentSpanId())
	for _, s := range c.spans {
		if slices.Equal(s.GetSpanId(), got.GetParentSpanId()) && slices.Equal(s.GetTraceId(), got.GetTraceId()) {
			parent = s.GetName()
		}
	}
	if parent != want.Parent {
		d.add("the span %q continues %q, want %q", want.Name, parent, want.Parent)
	}
	for name, value := range want.Attributes {
		if a := attribute(got.GetAttributes(), name); !same(a, value) {
			d.add("the span %q has %s %#v, want %#v", want.Name, name, a, value)
		}
	}
}

// attribute is the value of an attribute, nil where it is not there.
func attribute(all []*commonpb.KeyValue, name string) any {
	for _, a := range all {
		if a.GetKey() != name {
			continue
		}
		switch v := a.GetValue().GetValue().(type) {
		case *commonpb.AnyValue_StringValue:
			return v.StringValue
		case *commonpb.AnyValue_IntValue:
			return v.IntValue
		case *commonpb.AnyValue_BoolValue:
			return v.BoolValue
		}
	}
	return nil
}
