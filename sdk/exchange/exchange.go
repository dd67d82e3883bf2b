package exchange

import "iter"

// Exchange is one HTTP request and its response, and what policies share about
// them. The zero value is an exchange of which nothing is known yet.
type Exchange struct {
	// Route is the route's name, as Envoy names it.
	Route string
	// Request and Response are the two messages.
	Request  Request
	Response Response
	// Principal is who the request was authenticated as, or nil. It is never
	// modified once it is here.
	Principal *Principal
	// Metadata is what policies tell each other about this exchange.
	Metadata Metadata
	// Dynamic is what policies tell the proxy: filter metadata under one
	// namespace. Only what has not been sent yet is in it.
	Dynamic Metadata
	// TraceParent and TraceState are the proxy's own trace context for this
	// exchange (W3C Trace Context), where it tells one apart from the headers.
	TraceParent, TraceState string
	// Identity is what [Exchange.RequestID] is made from, if the proxy has sent none.
	Identity Identity
	// Attributes answers for the proxy's attributes; nil where there are none.
	Attributes Attributes

	requestID string
}

// Attributes looks up what the proxy says about a request beside its headers:
// Envoy's attributes, by the flat names under which they were asked for. A value
// is a string, float64, bool, nil, []any or map[string]any. Implementations may
// parse on demand but have to be safe for concurrent readers.
type Attributes interface {
	// Lookup returns the value of name, and whether there is one.
	Lookup(name string) (value any, ok bool)
	// All yields every attribute once, in no order, with the value that Lookup returns.
	All() iter.Seq2[string, any]
}

// Principal is an authenticated caller. It is immutable once it has been handed
// over: policies that want another one set another one.
type Principal struct {
	// Subject names the caller: a token's `sub`, an API key's id.
	Subject string
	// Issuer names who vouches for it: a token's `iss`; empty for keys.
	Issuer string
	// Scopes are what the caller may do (RFC 6749, section 3.3).
	Scopes []string
	// Claims are further verified statements, in JSON's types. A number is a
	// float64, or a json.Number if a float64 does not tell it from others: a whole
	// number from 2^53 on, or a fraction of more than 15 digits.
	Claims map[string]any
}

// Body is the whole body of a message, or that of the chunk in hand.
type Body struct {
	// Bytes is the body as policies see it; nil where it has not come.
	Bytes []byte
	// Present says that the whole body has arrived (it may be empty).
	Present bool
	// Changed says that a policy has replaced it.
	Changed bool
}

// Replace makes b the body.
func (b *Body) Replace(bytes []byte) { b.Bytes, b.Changed = bytes, true }

// Request is the request as policies see it.
type Request struct {
	// Method, Scheme, Authority and Path are the pseudo-headers :method,
	// :scheme, :authority and :path (with the query). Policies change them
	// by the Set functions.
	Method, Scheme, Authority, Path string
	Headers                         Headers
	Trailers                        Headers
	Body                            Body

	changed pseudo
}

// pseudo is a set of pseudo-headers.
type pseudo uint8

const (
	pseudoMethod pseudo = 1 << iota
	pseudoAuthority
	pseudoPath
	pseudoStatus
)

// SetMethod changes the method.
func (r *Request) SetMethod(m string) {
	if r.Method != m {
		r.Method, r.changed = m, r.changed|pseudoMethod
	}
}

// SetAuthority changes the authority.
func (r *Request) SetAuthority(a string) {
	if r.Authority != a {
		r.Authority, r.changed = a, r.changed|pseudoAuthority
	}
}

// SetPath changes the path, query included.
func (r *Request) SetPath(p string) {
	if r.Path != p {
		r.Path, r.changed = p, r.changed|pseudoPath
	}
}

// MethodChanged reports whether a policy has changed the method.
func (r *Request) MethodChanged() bool { return r.changed&pseudoMethod != 0 }

// AuthorityChanged reports whether a policy has changed the authority.
func (r *Request) AuthorityChanged() bool { return r.changed&pseudoAuthority != 0 }

// PathChanged reports whether a policy has changed path or query.
func (r *Request) PathChanged() bool { return r.changed&pseudoPath != 0 }

// HeadersChanged reports whether headers or pseudo-headers have been changed.
func (r *Request) HeadersChanged() bool { return r.changed != 0 || r.Headers.Changed() }

// SettleHeaders says that the changes to headers and pseudo-headers are known to
// the proxy: they stay, and count as changes no more.
func (r *Request) SettleHeaders() { r.changed = 0; r.Headers.Settle() }

// Response is the response as policies see it.
type Response struct {
	// Status is :status; 0 where no response has arrived.
	Status   int
	Headers  Headers
	Trailers Headers
	Body     Body

	changed pseudo
}

// SetStatus changes the status.
func (r *Response) SetStatus(s int) {
	if r.Status != s {
		r.Status, r.changed = s, r.changed|pseudoStatus
	}
}

// StatusChanged reports whether a policy has changed the status.
func (r *Response) StatusChanged() bool { return r.changed&pseudoStatus != 0 }

// HeadersChanged reports whether headers or the status have been changed.
func (r *Response) HeadersChanged() bool { return r.changed != 0 || r.Headers.Changed() }

// SettleHeaders says that the changes to headers and status are known to the proxy.
func (r *Response) SettleHeaders() { r.changed = 0; r.Headers.Settle() }

// Clone returns a copy that shares nothing mutable with e. It may be made while
// another goroutine reads e, not while one changes it.
func (e *Exchange) Clone() *Exchange {
	c := *e
	c.Request.Headers = e.Request.Headers.Clone()
	c.Request.Trailers = e.Request.Trailers.Clone()
	c.Response.Headers = e.Response.Headers.Clone()
	c.Response.Trailers = e.Response.Trailers.Clone()
	c.Metadata = e.Metadata.Clone()
	c.Dynamic = e.Dynamic.Clone()
	return &c
}

// Reset makes e the zero value again and keeps its storage for the next use.
func (e *Exchange) Reset() {
	e.Route, e.Principal, e.TraceParent, e.TraceState, e.requestID = "", nil, "", "", ""
	e.Identity, e.Attributes = Identity{}, nil
	e.Metadata.reset()
	e.Dynamic.reset()
	e.Request.reset()
	e.Response.reset()
}

func (r *Request) reset() {
	r.Method, r.Scheme, r.Authority, r.Path, r.changed = "", "", "", "", 0
	r.Body = Body{}
	r.Headers.empty()
	r.Trailers.empty()
}

func (r *Response) reset() {
	r.Status, r.changed, r.Body = 0, 0, Body{}
	r.Headers.empty()
	r.Trailers.empty()
}
