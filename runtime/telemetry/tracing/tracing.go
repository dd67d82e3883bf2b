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
	"log/slog"
	"sync"
	"time"

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
//
// The exporter also heeds OpenTelemetry's own variables of the environment, such as
// OTEL_EXPORTER_OTLP_HEADERS and OTEL_EXPORTER_OTLP_CERTIFICATE, and the resource
// OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES, which win over what is here.
type Options struct {
	// Endpoint is host:port of an OTLP collector over gRPC.
	Endpoint string
	// Insecure sends spans in plaintext.
	Insecure bool
	// SampleRatio is the part of the exchanges without a sampled parent that is
	// traced, from 0 to 1. Those with one follow it.
	SampleRatio float64
	// Service, Version and Instance are service.name, service.version and
	// service.instance.id. An empty Service counts as "policy-engine"; the others
	// are left out where they are empty.
	Service, Version, Instance string
	// Logger is told, at a bounded rate, when spans cannot be sent; nil drops it.
	Logger *slog.Logger
	// Counts is what became of exchanges; nil counts for nobody.
	Counts *telemetry.Traces
}

// Bounds. What a collector does not take in time is dropped, so that neither memory nor
// requests nor the end of the process depend on it.
const (
	maxQueue      = 2048 // exchanges that wait
	maxBatch      = 512  // spans that are sent at once
	sendInterval  = time.Second
	exportTimeout = 10 * time.Second
)

// Tracer records decisions as spans. Safe for concurrent use. Shut it down.
type Tracer struct {
	exporter sdktrace.SpanExporter
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	counts   *telemetry.Traces
	errors   *ErrorLog

	queue   chan *telemetry.Decision
	flush   chan chan struct{}
	stop    sync.Once
	stopped chan struct{} // closed: send what is there, and end
	done    chan struct{}
	// sending ends exports when there is no more time.
	sending context.Context
	abort   context.CancelFunc

	// batch are spans that have ended, used by the goroutine of run alone.
	batch []sdktrace.ReadOnlySpan
	// exchanges is how many exchanges they are of.
	exchanges uint64
}

// New returns a tracer to an OTLP collector. It does not wait for the collector:
// decisions are kept, within bounds, and dropped beyond them.
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
	return NewWith(exporter, o), nil
}

// NewWith returns a tracer whose spans go to an exporter. Of o it does not use Endpoint
// and Insecure.
func NewWith(exporter sdktrace.SpanExporter, o Options) *Tracer {
	if o.Counts == nil {
		o.Counts = new(telemetry.Traces)
	}
	t := &Tracer{
		exporter: exporter, counts: o.Counts, errors: NewErrorLog(o.Logger),
		queue: make(chan *telemetry.Decision, maxQueue), flush: make(chan chan struct{}),
		stopped: make(chan struct{}), done: make(chan struct{}),
	}
	t.sending, t.abort = context.WithCancel(context.Background())
	t.provider = sdktrace.NewTracerProvider(
		sdktrace.WithSpanProcessor(ended{t}), sdktrace.WithIDGenerator(ids{}),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(o.SampleRatio))),
		sdktrace.WithResource(resourceOf(o)),
	)
	t.tracer = t.provider.Tracer("policyengine.dev/runtime")
	go t.run()
	return t
}

func resourceOf(o Options) *resource.Resource {
	if o.Service == "" {
		o.Service = "policy-engine"
	}
	attributes := []attribute.KeyValue{attribute.String("service.name", o.Service)}
	if o.Version != "" {
		attributes = append(attributes, attribute.String("service.version", o.Version))
	}
	if o.Instance != "" {
		attributes = append(attributes, attribute.String("service.instance.id", o.Instance))
	}
	own := resource.NewSchemaless(attributes...)
	merged, err := resource.Merge(own, resource.Environment())
	if err != nil {
		return own // the environment's has another schema
	}
	return merged
}

// Record implements telemetry.Recorder. It never waits: where the collector does not
// keep up, the decision is dropped and counted.
func (t *Tracer) Record(d *telemetry.Decision) {
	select {
	case t.queue <- d:
	default:
		t.counts.Dropped.Add(1)
	}
}

// run makes spans of decisions and sends them, away from the request path.
func (t *Tracer) run() {
	defer close(t.done)
	tick := time.NewTicker(sendInterval)
	defer tick.Stop()
	for {
		select {
		case d := <-t.queue:
			t.add(d)
		case <-tick.C:
			t.send()
		case flushed := <-t.flush:
			t.drain()
			close(flushed)
		case <-t.stopped:
			t.drain()
			return
		}
	}
}

func (t *Tracer) add(d *telemetry.Decision) {
	before := len(t.batch)
	t.record(d)
	if len(t.batch) > before {
		t.exchanges++
	}
	if len(t.batch) >= maxBatch {
		t.send()
	}
}

func (t *Tracer) drain() {
	for {
		select {
		case d := <-t.queue:
			t.add(d)
		default:
			t.send()
			return
		}
	}
}

// send exports the spans that have ended.
func (t *Tracer) send() {
	if len(t.batch) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(t.sending, exportTimeout)
	defer cancel()
	if err := t.exporter.ExportSpans(ctx, t.batch); err != nil {
		t.counts.Failed.Add(t.exchanges)
		t.errors.Handle(fmt.Errorf("sending spans: %w", err))
	} else {
		t.counts.Sent.Add(t.exchanges)
	}
	clear(t.batch)
	t.batch, t.exchanges = t.batch[:0], 0
}

// Flush sends what there is, and returns when that has been tried or ctx ends.
func (t *Tracer) Flush(ctx context.Context) {
	flushed := make(chan struct{})
	select {
	case t.flush <- flushed:
	case <-t.done:
		return
	case <-ctx.Done():
		return
	}
	select {
	case <-flushed:
	case <-ctx.Done():
	}
}

// Shutdown sends what is left, for as long as ctx allows. An error says that not all
// of it could be sent in time.
func (t *Tracer) Shutdown(ctx context.Context) error {
	t.stop.Do(func() { close(t.stopped) })
	var err error
	select {
	case <-t.done:
	case <-ctx.Done():
		err = fmt.Errorf("sending the last spans: %w", ctx.Err())
	}
	t.abort()
	<-t.done // at once: every export has been ended
	t.counts.Dropped.Add(uint64(len(t.queue)))
	return errors.Join(err, t.exporter.Shutdown(ctx), t.provider.Shutdown(ctx))
}

// ended takes spans that have ended. Its methods are called on run's goroutine.
type ended struct{ t *Tracer }

func (ended) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

func (e ended) OnEnd(s sdktrace.ReadOnlySpan) {
	if s.SpanContext().IsSampled() {
		e.t.batch = append(e.t.batch, s)
	}
}
func (ended) Shutdown(context.Context) error   { return nil }
func (ended) ForceFlush(context.Context) error { return nil }

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

// record makes the spans of a decision.
func (t *Tracer) record(d *telemetry.Decision) {
	ctx := propagator.Extract(context.Background(), carrier{d})
	ctx, span := t.tracer.Start(ctx, "policy chain "+d.Chain,
		trace.WithTimestamp(d.Began), trace.WithSpanKind(trace.SpanKindServer))
	end := d.Began
	if span.IsRecording() {
		span.SetAttributes(
			attribute.String("policy_engine.route", d.Route), attribute.String("policy_engine.chain", d.Chain),
			attribute.String("policy_engine.config", d.Config), attribute.Bool("policy_engine.denied", d.Denied),
			attribute.String("http.request.method", d.Method), attribute.String("url.path", d.Path),
			attribute.String("server.address", d.Authority), attribute.String("policy_engine.request_id", d.RequestID),
		)
		if d.Denied {
			span.SetAttributes(attribute.Int("http.response.status_code", d.Status), attribute.String("policy_engine.reason", d.Reason))
			if d.Cause != "" {
				span.SetAttributes(attribute.String("policy_engine.cause", d.Cause))
			}
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
		if span.IsRecording() && s.Outcome != telemetry.Skipped && s.Outcome != telemetry.PassedOver {
			t.step(ctx, s, d)
		}
	}
	span.End(trace.WithTimestamp(end))
}

func (t *Tracer) step(ctx context.Context, s *telemetry.StepDecision, d *telemetry.Decision) {
	at := d.Began.Add(s.At)
	ctx, span := t.tracer.Start(ctx, s.Policy+"@"+s.Version+" "+s.Phase.String(), trace.WithTimestamp(at))
	span.SetAttributes(
		attribute.String("policy_engine.policy", s.Policy), attribute.String("policy_engine.version", s.Version),
		attribute.String("policy_engine.id", s.ID), attribute.String("policy_engine.phase", s.Phase.String()),
		attribute.String("policy_engine.outcome", s.Outcome.String()), attribute.Bool("policy_engine.shadow", s.Shadow),
	)
	if s.Changes != "" {
		span.SetAttributes(attribute.String("policy_engine.changes", s.Changes))
	}
	for _, a := range s.Annotations {
		span.SetAttributes(attributeOf("policy_engine.annotation."+a.Key, a.Value))
	}
	switch s.Outcome {
	case telemetry.Errored, telemetry.TimedOut, telemetry.Panicked, telemetry.Stalled:
		span.SetStatus(codes.Error, s.Reason)
	}
	for i := range s.Spans {
		t.own(ctx, &s.Spans[i])
	}
	span.End(trace.WithTimestamp(at.Add(s.Took)))
}
