package policy

import (
	"log/slog"

	"policyengine.dev/sdk/exchange"
)

// View is the common part of [*RequestContext] and [*ResponseContext], for helpers that
// serve both directions. It is valid as long as the context.
type View interface {
	// Route is the name of the route that Envoy chose.
	Route() string
	// Attribute, Principal, Metadata and Shadow are those of [RequestContext].
	Attribute(name string) (any, bool)
	Principal() *Principal
	Metadata(key string) (any, bool)
	Shadow() bool
	// RequestID is the request's ID: see [RequestContext.RequestID].
	RequestID() string
	// Logger logs about this exchange: see [RequestContext.Logger].
	Logger() *slog.Logger
	// Annotate adds attributes to the decision record: see [RequestContext.Annotate].
	Annotate(attrs ...slog.Attr)
	// StartSpan begins a span: see [RequestContext.StartSpan].
	StartSpan(name string, attrs ...slog.Attr) Span

	view() view
}

var (
	_ View = (*RequestContext)(nil)
	_ View = (*ResponseContext)(nil)
)

// view is what is behind a context.
type view struct {
	x    *exchange.Exchange
	call *exchange.Call
}

func (c RequestContext) view() view   { return view{c.x, c.call} }
func (c *ResponseContext) view() view { return view{c.x, c.call} }

// RequestID identifies the request in Envoy's access log, the decision record, the trace
// and the log. It is the x-request-id that Envoy sent to the engine, if that has up to 128
// visible ASCII characters. Otherwise the engine makes one. It stays the same for the whole
// exchange, also if a policy changes the header. A client may have chosen it, so it need
// not be unique.
func (c RequestContext) RequestID() string { return c.x.RequestID() }

// RequestID is as [RequestContext.RequestID].
func (c *ResponseContext) RequestID() string { return c.x.RequestID() }

// Annotate adds attributes to the step in the decision record, and to its span. They tell
// operators why the policy decided: which rule, which score, which tenant. Neither the
// client nor the upstream sees them.
//
// A key has up to 64 letters, digits, points, hyphens and underscores, and must come from
// the code, never from a request. Values are numbers, booleans, times, durations, strings
// and errors; texts are cut to 256 bytes. Any other value, and every [Secret], becomes
// "[redacted]". Secrets of the policy's parameters are removed from texts. A call may add
// 16 annotations. Further ones are dropped and counted. It costs almost nothing if no
// decision is recorded. Safe for concurrent use during the call.
func (c RequestContext) Annotate(attrs ...slog.Attr) { c.call.Notes().Annotate(attrs...) }

// Annotate is as [RequestContext.Annotate].
func (c *ResponseContext) Annotate(attrs ...slog.Attr) { c.call.Notes().Annotate(attrs...) }

// StartSpan begins a span for a part of the call, such as a search or a call of another
// server. The trace has it below the step's own span. Call End; a span that has not ended
// when the call returns ends then. name has up to 64 bytes and must come from the code.
// attrs are as for [RequestContext.Annotate], up to 8. A call may have 16 spans. Without
// tracing it costs almost nothing. Safe for concurrent use during the call.
//
// The SDK does not depend on OpenTelemetry. The engine converts these spans when the
// exchange is over.
func (c RequestContext) StartSpan(name string, attrs ...slog.Attr) Span {
	return c.view().startSpan(name, false, attrs)
}

// StartSpan is as [RequestContext.StartSpan].
func (c *ResponseContext) StartSpan(name string, attrs ...slog.Attr) Span {
	return c.view().startSpan(name, false, attrs)
}

func (v view) startSpan(name string, client bool, attrs []slog.Attr) Span {
	s := Span{trace: v.x.Trace(), number: -1}
	if notes := v.call.Notes(); notes != nil {
		s.notes = notes
		s.number, s.id = notes.Begin(name, client, attrs)
	}
	return s
}

// Span is a part of a call in the trace. The zero value records nothing. Safe for
// concurrent use. It has no effect once the call has returned.
type Span struct {
	trace  exchange.TraceContext
	notes  *exchange.Notes
	number int
	id     [8]byte
}

// Annotate adds attributes, as [RequestContext.StartSpan] does.
func (s Span) Annotate(attrs ...slog.Attr) {
	if s.notes != nil {
		s.notes.AnnotateSpan(s.number, attrs)
	}
}

// End ends the span. err is what went wrong, or nil.
func (s Span) End(err error) {
	if s.notes != nil {
		s.notes.End(s.number, err)
	}
}

// TraceParent is the value of the header traceparent (W3C Trace Context) for messages that
// the policy sends as a part of the span: the trace of the exchange with the ID of the
// span. If the span is not recorded, it is the exchange's own value. It is empty if the
// exchange has no trace.
func (s Span) TraceParent() string { return s.trace.Child(s.id) }
