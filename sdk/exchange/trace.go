package exchange

import "encoding/hex"

// TraceContext is a trace that an exchange is a part of (W3C Trace Context). The zero
// value is none.
type TraceContext struct{ Parent, State string }

// Trace returns the proxy's own trace context, or else the one in the request's headers.
func (e *Exchange) Trace() TraceContext {
	if e.TraceParent != "" {
		return TraceContext{e.TraceParent, e.TraceState}
	}
	parent, _ := e.Request.Headers.Get("traceparent")
	state, _ := e.Request.Headers.Get("tracestate")
	return TraceContext{parent, state}
}

// Child returns the traceparent of a span with that id in the trace. It is the trace's own
// parent if the id is zero, and empty if that is not valid.
func (t TraceContext) Child(id [8]byte) string {
	const begin, end = len("00-") + 32 + len("-"), len("00-") + 32 + len("-") + 16
	p := t.Parent
	// Later versions may be longer. Those are not ours to write.
	if len(p) != end+len("-01") || p[:3] != "00-" || p[begin-1] != '-' || p[end] != '-' ||
		!lowerHex(p[3:begin-1]) || !lowerHex(p[begin:end]) || !lowerHex(p[end+1:]) {
		return ""
	}
	if id == [8]byte{} {
		return p
	}
	return p[:begin] + hex.EncodeToString(id[:]) + p[end:]
}

func lowerHex(s string) bool {
	zeros := true
	for i := 0; i < len(s); i++ {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
		zeros = zeros && c == '0'
	}
	return !zeros || len(s) == 2
}
