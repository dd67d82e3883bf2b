package policy

import (
	"context"
	"math/bits"
	"strings"
)

// RequestHeadersPolicy runs when the request's headers have arrived.
type RequestHeadersPolicy interface {
	OnRequestHeaders(ctx context.Context, req *RequestContext) (RequestAction, error)
}

// RequestBodyPolicy runs once with the whole request body, which may be empty. Envoy holds
// the request until the body is complete.
type RequestBodyPolicy interface {
	OnRequestBody(ctx context.Context, req *RequestContext) (RequestAction, error)
}

// RequestBodyChunksPolicy runs for each piece of the request body as it passes. If another
// policy of the chain needs the whole body, the body is one piece.
type RequestBodyChunksPolicy interface {
	OnRequestBodyChunk(ctx context.Context, req *RequestContext, chunk *Chunk) (ChunkAction, error)
}

// RequestTrailersPolicy runs if the request has trailers.
type RequestTrailersPolicy interface {
	OnRequestTrailers(ctx context.Context, req *RequestContext) (RequestAction, error)
}

// ResponseHeadersPolicy runs when the response's headers have arrived. Policies do not see
// the responses that Envoy makes itself.
type ResponseHeadersPolicy interface {
	OnResponseHeaders(ctx context.Context, resp *ResponseContext) (ResponseAction, error)
}

// ResponseBodyPolicy runs once with the whole response body, which may be empty.
type ResponseBodyPolicy interface {
	OnResponseBody(ctx context.Context, resp *ResponseContext) (ResponseAction, error)
}

// ResponseBodyChunksPolicy runs for each piece of the response body as it passes.
type ResponseBodyChunksPolicy interface {
	OnResponseBodyChunk(ctx context.Context, resp *ResponseContext, chunk *Chunk) (ChunkAction, error)
}

// ResponseTrailersPolicy runs if the response has trailers.
type ResponseTrailersPolicy interface {
	OnResponseTrailers(ctx context.Context, resp *ResponseContext) (ResponseAction, error)
}

// Phase is a point in an exchange at which policies run. Phases are ordered as they occur.
type Phase uint8

// The eight phases.
const (
	RequestHeaders Phase = iota
	RequestBody
	RequestBodyChunks
	RequestTrailers
	ResponseHeaders
	ResponseBody
	ResponseBodyChunks
	ResponseTrailers
	// PhaseCount is the number of phases.
	PhaseCount = iota
)

var phaseNames = [PhaseCount]string{
	"request_headers", "request_body", "request_body_chunks", "request_trailers",
	"response_headers", "response_body", "response_body_chunks", "response_trailers",
}

// String is the phase's name in policy.yaml, such as "request_headers".
func (p Phase) String() string {
	if int(p) < len(phaseNames) {
		return phaseNames[p]
	}
	return "unknown_phase"
}

// IsResponse reports whether the phase belongs to the response.
func (p Phase) IsResponse() bool { return p >= ResponseHeaders && p < PhaseCount }

// ParsePhase returns the phase of that name, and whether there is one.
func ParsePhase(name string) (Phase, bool) {
	for i, n := range phaseNames {
		if n == name {
			return Phase(i), true
		}
	}
	return 0, false
}

// PhaseSet is a set of phases. The zero value is empty.
type PhaseSet uint8

// Phases returns the set of ps.
func Phases(ps ...Phase) PhaseSet {
	var s PhaseSet
	for _, p := range ps {
		s |= 1 << p
	}
	return s
}

// Has reports whether p is in the set.
func (s PhaseSet) Has(p Phase) bool { return s&(1<<p) != 0 }

// With returns the set with p in it.
func (s PhaseSet) With(p Phase) PhaseSet { return s | 1<<p }

// Len is the number of phases in the set.
func (s PhaseSet) Len() int { return bits.OnesCount8(uint8(s)) }

// HasRequest and HasResponse report whether a phase of that direction is in the set.
func (s PhaseSet) HasRequest() bool { return s&0x0f != 0 }

// HasResponse reports whether a phase of the response is in the set.
func (s PhaseSet) HasResponse() bool { return s&0xf0 != 0 }

// List returns the phases in order.
func (s PhaseSet) List() []Phase {
	var out []Phase
	for p := Phase(0); p < PhaseCount; p++ {
		if s.Has(p) {
			out = append(out, p)
		}
	}
	return out
}

// String lists the phases' names, separated by commas.
func (s PhaseSet) String() string {
	var b strings.Builder
	for i, p := range s.List() {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(p.String())
	}
	return b.String()
}

// PhasesOf returns the phases that v implements.
func PhasesOf(v any) PhaseSet {
	var s PhaseSet
	add := func(ok bool, p Phase) {
		if ok {
			s = s.With(p)
		}
	}
	_, ok := v.(RequestHeadersPolicy)
	add(ok, RequestHeaders)
	_, ok = v.(RequestBodyPolicy)
	add(ok, RequestBody)
	_, ok = v.(RequestBodyChunksPolicy)
	add(ok, RequestBodyChunks)
	_, ok = v.(RequestTrailersPolicy)
	add(ok, RequestTrailers)
	_, ok = v.(ResponseHeadersPolicy)
	add(ok, ResponseHeaders)
	_, ok = v.(ResponseBodyPolicy)
	add(ok, ResponseBody)
	_, ok = v.(ResponseBodyChunksPolicy)
	add(ok, ResponseBodyChunks)
	_, ok = v.(ResponseTrailersPolicy)
	add(ok, ResponseTrailers)
	return s
}
