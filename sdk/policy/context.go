package policy

import (
	"iter"
	"strings"

	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy/internal/query"
)

// Principal is an authenticated caller: see [RequestMutation.Principal].
type Principal = exchange.Principal

// Headers is a read-only view of a header list. Names are compared without regard to case.
// It is valid as long as the context that it came from.
type Headers struct{ h *exchange.Headers }

// Get returns the first value of name, or "".
func (h Headers) Get(name string) string { v, _ := h.h.Get(name); return v }

// Lookup returns the first value of name, and whether there is one.
func (h Headers) Lookup(name string) (string, bool) { return h.h.Get(name) }

// Has reports whether a field with that name exists.
func (h Headers) Has(name string) bool { _, ok := h.h.Get(name); return ok }

// Count returns the number of fields with that name.
func (h Headers) Count(name string) int { return h.h.Count(name) }

// Values yields every value of name in order.
func (h Headers) Values(name string) iter.Seq[string] { return h.h.Values(name) }

// All yields every field in order, without pseudo-headers. Names are in lower case.
func (h Headers) All() iter.Seq2[string, string] { return h.h.All() }

// Len is the number of fields.
func (h Headers) Len() int { return h.h.Len() }

// RequestContext is a read-only view of a request. The package comment says how long it is
// valid.
type RequestContext struct {
	x      *exchange.Exchange
	call   *exchange.Call
	shadow bool
}

// NewRequestContext returns a view of x. It is for runtimes and for policytest.
func NewRequestContext(x *exchange.Exchange, shadow bool) RequestContext {
	return RequestContext{x: x, shadow: shadow}
}

// WithCall returns the view for one call of a policy. It is for runtimes.
func (c RequestContext) WithCall(call *exchange.Call) RequestContext {
	c.call = call
	return c
}

// Method is the request's method, such as "GET".
func (c RequestContext) Method() string { return c.x.Request.Method }

// Scheme is "http" or "https".
func (c RequestContext) Scheme() string { return c.x.Request.Scheme }

// Authority is the host of the request, with its port if the request has one.
func (c RequestContext) Authority() string { return c.x.Request.Authority }

// Path is the request's path without the query, as received: not decoded.
func (c RequestContext) Path() string {
	path, _, _ := strings.Cut(c.x.Request.Path, "?")
	return path
}

// RawQuery is what follows the first "?" of the target; not decoded.
func (c RequestContext) RawQuery() string {
	_, raw, _ := strings.Cut(c.x.Request.Path, "?")
	return raw
}

// Target is path and query together: Envoy's ":path".
func (c RequestContext) Target() string { return c.x.Request.Path }

// Query returns the first value of a query parameter, decoded, and whether there is
// one. A parameter that cannot be decoded counts as absent.
func (c RequestContext) Query(name string) (string, bool) {
	for v := range c.QueryValues(name) {
		return v, true
	}
	return "", false
}

// QueryValues yields every value of a query parameter, decoded, in order. Values that
// cannot be decoded are left out.
func (c RequestContext) QueryValues(name string) iter.Seq[string] {
	return query.Values(c.RawQuery(), name)
}

// QueryCount is the number of query parameters with that name, including those that cannot
// be decoded. If it is above 1, an upstream may read another value than
// [RequestContext.Query].
func (c RequestContext) QueryCount(name string) int { return query.Count(c.RawQuery(), name) }

// Headers is the request's header list, without pseudo-headers.
func (c RequestContext) Headers() Headers { return Headers{&c.x.Request.Headers} }

// Header returns the first value of a header, or "".
func (c RequestContext) Header(name string) string { return c.Headers().Get(name) }

// Trailers is the request's trailer list; empty before the trailers phase.
func (c RequestContext) Trailers() Headers { return Headers{&c.x.Request.Trailers} }

// Body is the whole body, in the body phase and after it; nil before. It must not
// be modified.
func (c RequestContext) Body() []byte { return c.x.Request.Body.Bytes }

// Route is the name of the route that Envoy chose.
func (c RequestContext) Route() string { return c.x.Route }

// Attribute returns an attribute that Envoy's filter sends, such as "source.address". The
// value is a string, float64, bool, nil, []any or map[string]any.
func (c RequestContext) Attribute(name string) (any, bool) { return attribute(c.x, name) }

// Principal is the authenticated caller, or nil. It must not be modified.
func (c RequestContext) Principal() *Principal { return c.x.Principal }

// Metadata returns the value that an earlier policy set for key.
func (c RequestContext) Metadata(key string) (any, bool) { return c.x.Metadata.Get(key) }

// Shadow reports that the policy runs in shadow mode: its answer is recorded and discarded.
// Avoid other effects then, such as taking from a counter or sending a message.
func (c RequestContext) Shadow() bool { return c.shadow }

// ResponseContext is a read-only view of a response. The package comment says how long it
// is valid.
type ResponseContext struct {
	x      *exchange.Exchange
	call   *exchange.Call
	shadow bool
}

// NewResponseContext returns a view of x. It is for runtimes and for policytest.
func NewResponseContext(x *exchange.Exchange, shadow bool) ResponseContext {
	return ResponseContext{x: x, shadow: shadow}
}

// WithCall returns the view for one call of a policy. It is for runtimes.
func (c ResponseContext) WithCall(call *exchange.Call) ResponseContext {
	c.call = call
	return c
}

// Status is the response's status.
func (c *ResponseContext) Status() int { return c.x.Response.Status }

// Headers is the response's header list, without pseudo-headers.
func (c *ResponseContext) Headers() Headers { return Headers{&c.x.Response.Headers} }

// Header returns the first value of a header, or "".
func (c *ResponseContext) Header(name string) string { return c.Headers().Get(name) }

// Trailers is the response's trailer list; empty before the trailers phase.
func (c *ResponseContext) Trailers() Headers { return Headers{&c.x.Response.Trailers} }

// Body is the whole body, in the body phase and after it; nil before. It must not
// be modified.
func (c *ResponseContext) Body() []byte { return c.x.Response.Body.Bytes }

// Request is the request of this response, as the chain left it.
func (c *ResponseContext) Request() RequestContext {
	return RequestContext{x: c.x, call: c.call, shadow: c.shadow}
}

// Route is the name of the route that Envoy chose.
func (c *ResponseContext) Route() string { return c.x.Route }

// Attribute is as [RequestContext.Attribute].
func (c *ResponseContext) Attribute(name string) (any, bool) { return attribute(c.x, name) }

// Principal is as [RequestContext.Principal].
func (c *ResponseContext) Principal() *Principal { return c.x.Principal }

// Metadata is as [RequestContext.Metadata].
func (c *ResponseContext) Metadata(key string) (any, bool) { return c.x.Metadata.Get(key) }

// Shadow is as [RequestContext.Shadow].
func (c *ResponseContext) Shadow() bool { return c.shadow }

func attribute(x *exchange.Exchange, name string) (any, bool) {
	if x.Attributes == nil {
		return nil, false
	}
	return x.Attributes.Lookup(name)
}

// Chunk is one piece of a body.
type Chunk struct {
	// Data is the piece, after what was held before it. It may be empty. It must not be
	// modified, and may be kept.
	Data []byte
	// Last reports that no piece follows.
	Last bool
	// State belongs to this step, exchange and direction. It is nil at the first piece, and
	// afterwards what the policy stored in it.
	State any
}
