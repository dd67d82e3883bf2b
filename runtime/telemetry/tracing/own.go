package tracing

import (
	"context"
	"encoding/binary"
	"log/slog"
	"math/rand/v2"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"policyengine.dev/sdk/exchange"
)

// own makes the span of a part of a call that the policy has told of. ctx has the step's
// span.
func (t *Tracer) own(ctx context.Context, s *exchange.Span) {
	kind := trace.SpanKindInternal
	if s.Client {
		kind = trace.SpanKindClient
	}
	_, span := t.tracer.Start(context.WithValue(ctx, knownID{}, trace.SpanID(s.ID)), s.Name, trace.WithTimestamp(s.Began), trace.WithSpanKind(kind))
	for _, a := range s.Attributes {
		span.SetAttributes(attributeOf(a.Key, a.Value))
	}
	if s.Error != "" {
		span.SetStatus(codes.Error, s.Error)
	}
	span.End(trace.WithTimestamp(s.Ended))
}

// attributeOf is an annotation, or an attribute of a span, as OpenTelemetry has it.
func attributeOf(key string, v slog.Value) attribute.KeyValue {
	switch v.Kind() {
	case slog.KindBool:
		return attribute.Bool(key, v.Bool())
	case slog.KindInt64:
		return attribute.Int64(key, v.Int64())
	case slog.KindFloat64:
		return attribute.Float64(key, v.Float64())
	case slog.KindDuration:
		return attribute.Float64(key, v.Duration().Seconds())
	}
	return attribute.String(key, v.String())
}

// knownID is the key of an id that a span has to have, since others were told it while the
// exchange ran.
type knownID struct{}

// ids makes the ids of traces and spans. Those that are known already it takes from the
// context.
type ids struct{}

// NewIDs implements sdktrace.IDGenerator.
func (g ids) NewIDs(ctx context.Context) (id trace.TraceID, span trace.SpanID) {
	for !id.IsValid() {
		binary.BigEndian.PutUint64(id[:8], rand.Uint64())
		binary.BigEndian.PutUint64(id[8:], rand.Uint64())
	}
	return id, g.NewSpanID(ctx, id)
}

// NewSpanID implements sdktrace.IDGenerator.
func (ids) NewSpanID(ctx context.Context, _ trace.TraceID) (id trace.SpanID) {
	if known, ok := ctx.Value(knownID{}).(trace.SpanID); ok && known.IsValid() {
		return known
	}
	for !id.IsValid() {
		binary.BigEndian.PutUint64(id[:], rand.Uint64())
	}
	return id
}
