// Package tracing turns decision records into OpenTelemetry spans: one for each
// exchange and, beneath it, one for each policy that ran. They continue the caller's
// trace (W3C Trace Context).
//
// Spans are made when an exchange is over, from what was recorded, so that the request
// path has no span to carry and tracing that is off costs nothing.
package tracing

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"policyengine.dev/runtime/telemetry"
)

// Options say where spans go.
type Options struct {
	// Endpoint is host:port of an OTLP collector over gRPC.
	Endpoint string
	// Insecure sends spans in plaintext.
	Insecure bool
	// SampleRatio is the part of the exchanges without a sampled parent that is
	// traced, from 0 to 1. Those with one follow it.
	SampleRatio float64
	// Service is service.name; empty counts as "policy-engine".
	Service string
}

// Tracer records decisions as spans. Safe for concurrent use. Shut it down.
type Tracer struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	// exporter is what the provider sends with; nil in tests.
	exporter sdktrace.SpanExporter
}

// New returns a tracer to an OTLP collector. It does not wait for the collector:
// spans are kept, within bounds, and dropped beyond them.
func New(ctx context.Context, o Options) (*Tracer, error) {
	if o.SampleRatio < 0 || o.SampleRatio > 1 {
		return nil, fmt.Errorf("setting up tracing: a sample ratio of %v is not between 0 and 1", o.SampleRatio)
	}
	options := []otlptracegrpc.Option{otlptracegrpc.WithEndpoint(o.Endpoint)}
	if o.Insecure {
		options = append(options, otlptracegrpc.WithInsecure())
	}
	exporter, err := otlptracegrpc.New(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("setting up tracing: %w", err)
	}
	t := NewWith(sdktrace.NewBatchSpanProcessor(exporter), o)
	t.exporter = exporter
	return t, nil
}

// NewWith returns a tracer whose spans go to a processor, for tests. Of o it uses
// SampleRatio and Service.
func NewWith(processor sdktrace.SpanProcessor, o Options) *Tracer {
	if o.Service == "" {
		o.Service = "policy-engine"
	}
	p := sdktrace.NewTracerProvider(
		sdktrace.WithSpanProcessor(processor),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(o.SampleRatio))),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", o.Service))),
	)
	return &Tracer{provider: p, tracer: p.Tracer("policyengine.dev/runtime")}
}

// Shutdown sends what is left, until ctx ends.
func (t *Tracer) Shutdown(ctx context.Context) error {
	err := t.provider.Shutdown(ctx)
	if err == nil {
		return nil
	}
	if t.exporter != nil {
		// The provider leaves it trying to send.
		_ = t.exporter.Shutdown(ctx)
	}
	return errors.Join(errors.New("shutting down tracing"), err)
}

var propagator propagation.TraceContext

// carrier is a decision's trace context as the propagator wants it.
type carrier struct{ d *telemetry.Decision }

func (c carrier) Get(key string) string {
	switch key {
	case "traceparent":
		return c.d.TraceParent
	case "tracestate":
		return c.d.TraceState
	}
	return ""
}
func (carrier) Set(string, string) {}
func (carrier) Keys() []string     { return []string{"traceparent", "tracestate"} }

// Record implements telemetry.Recorder.
func (t *Tracer) Record(d *telemetry.Decision) {
	ctx := propagator.Extract(context.Background(), carrier{d})
	ctx, span := t.tracer.Start(ctx, "policy chain "+d.Chain,
		trace.WithTimestamp(d.Began), trace.WithSpanKind(trace.SpanKindServer))
	end := d.Began
	if span.IsRecording() {
		span.SetAttributes(
			attribute.String("policy_engine.route", d.Route), attribute.String("policy_engine.chain", d.Chain),
			attribute.String("policy_engine.config", d.Config), attribute.Bool("policy_engine.denied", d.Denied),
			attribute.String("http.request.method", d.Method), attribute.String("url.path", d.Path),
			attribute.String("server.address", d.Authority),
		)
		if d.Denied {
			span.SetAttributes(attribute.Int("http.response.status_code", d.Status), attribute.String("policy_engine.reason", d.Reason))
		}
		if d.Denied && d.Status >= 500 {
			span.SetStatus(codes.Error, d.Reason)
		}
	}
	for i := range d.Steps {
		s := &d.Steps[i]
		at := d.Began.Add(s.At)
		if e := at.Add(s.Took); e.After(end) {
			end = e
		}
		if span.IsRecording() && s.Outcome != telemetry.Skipped {
			t.step(ctx, s, d)
		}
	}
	span.End(trace.WithTimestamp(end))
}

func (t *Tracer) step(ctx context.Context, s *telemetry.StepDecision, d *telemetry.Decision) {
	at := d.Began.Add(s.At)
	_, span := t.tracer.Start(ctx, s.Policy+"@"+s.Version+" "+s.Phase.String(), trace.WithTimestamp(at))
	span.SetAttributes(
		attribute.String("policy_engine.policy", s.Policy), attribute.String("policy_engine.version", s.Version),
		attribute.String("policy_engine.id", s.ID), attribute.String("policy_engine.phase", s.Phase.String()),
		attribute.String("policy_engine.outcome", s.Outcome.String()), attribute.Bool("policy_engine.shadow", s.Shadow),
	)
	if s.Changes != "" {
		span.SetAttributes(attribute.String("policy_engine.changes", s.Changes))
	}
	switch s.Outcome {
	case telemetry.Errored, telemetry.TimedOut, telemetry.Panicked, telemetry.Stalled:
		span.SetStatus(codes.Error, s.Reason)
	}
	span.End(trace.WithTimestamp(at.Add(s.Took)))
}
