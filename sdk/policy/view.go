package policy

import (
	"log/slog"

	"policyengine.dev/sdk/exchange"
)

// View is what a [*RequestContext] and a [*ResponseContext] have in common: helpers that
// serve both directions take one. It is valid as long as the context.
type View interface {
	// Route is the name of the route that Envoy chose.
	Route() string
	// Attribute, Principal, Metadata and Shadow are those of [RequestContext].
	Attribute(name string) (any, bool)
	Principal() *Principal
	Metadata(key string) (any, bool)
	Shadow() bool
	// RequestID is the request's id: see [RequestContext.RequestID].
	RequestID() string
	// Logger logs about this exchange: see [RequestContext.Logger].
	Logger() *slog.Logger
	// Annotate tells the operator something about the decision: see
	// [RequestContext.Annotate].
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

// RequestID is the id by which the request is found in Envoy's access log, the decision
// record, the trace and the log. It is Envoy's x-request-id as the engine was sent it, if that
// has up to 128 visible ASCII characters. Otherwise the engine makes one. It is the same for the
// whole exchange, also if a policy changes the header. A client may have chosen it, so that nothing may
// depend on its being unique.
func (c RequestContext) RequestID() string { return c.x.RequestID() }

// RequestID is as [RequestContext.RequestID].
func (c *ResponseContext) RequestID() string { return c.x.RequestID() }

// Annotate adds attributes to the step in the decision record, and to its span. They are
// for the operator, who is told why the policy has decided as it did: which rule, which
// score, which tenant. Neither the client nor the upstream sees them.
//
// A key consists of up to 64 letters, digits, points, hyphens and underscores, and comes
// from the code, never from a request. Of the values numbers, booleans, times, durations,
// strings and errors are kept, texts up to 256 bytes. Any other value counts as a secret and
// becomes "[redacted]", as a [Secret] does; secrets of the policy's parameters are taken
// out of texts. A call may add 16 annotations. What is beyond these bounds is left out and
// counted. It costs next to nothing if nobody records decisions. Safe for concurrent use
// during the call.
func (c RequestContext) Annotate(attrs ...slog.Attr) { c.call.Notes().Annotate(attrs...) }

// Annotate is as [RequestContext.Annotate].
func (c *ResponseContext) Annotate(attrs ...slog.Attr) { c.call.Notes().Annotate(attrs...) }

// StartSpan begins a span for a part of the call, such as a search or a question to another
// server. The trace shows it below the step's own span. End it; one that has not ended when
// the call returns ends then. name comes from the code and has up to 64 bytes. attrs are as
// for [RequestContext.Annotate], up to 8. A call may have 16 spans. Without tracing it costs
// next to nothing. Safe for concurrent use during the call.
//
// The SDK does not depend on OpenTelemetry: the engine makes OpenTelemetry's spans of these
// when the exchange is over.
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

// Span is a part of a call that the trace shows. The zero value records nothing. Safe for
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

// End ends the span. err says what went wrong, or is nil.
func (s Span) End(err error) {
	if s.notes != nil {
		s.notes.End(s.number, err)
	}
}

// TraceParent is the value of the header traceparent (W3C Trace Context) for what the
// policy sends as a part of the span: the exchange's trace with the span's id. Where the
// span is not recorded it is the exchange's own. It is empty if the exchange has no trace.
func (s Span) TraceParent() string { return s.trace.Child(s.id) }
