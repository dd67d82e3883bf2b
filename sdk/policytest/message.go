package policytest

import (
	"iter"
	"maps"
	"slices"

	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

// Headers makes a header list of names and values that take turns. It panics where
// a value is missing.
func Headers(namesAndValues ...string) []policy.Header {
	if len(namesAndValues)%2 != 0 {
		panic("policytest.Headers: the last name has no value")
	}
	hs := make([]policy.Header, 0, len(namesAndValues)/2)
	for i := 0; i < len(namesAndValues); i += 2 {
		hs = append(hs, policy.Header{Name: namesAndValues[i], Value: namesAndValues[i+1]})
	}
	return hs
}

// Request is a request as a client sends it. The zero value is a GET of "/" from
// example.com without headers and body.
type Request struct {
	// Method, Scheme, Authority and Target are "GET", "https", "example.com"
	// and "/" where they are empty. Target is path and query.
	Method, Scheme, Authority, Target string
	// Headers are as the proxy hands them on; no pseudo-headers. Names may be
	// in any case.
	Headers []policy.Header
	// Body is the whole body.
	Body string
	// Chunks are the pieces in which a chunk policy sees the body, instead of
	// Body; none means that Body is one piece.
	Chunks []string
	// Trailers: the trailers phase runs only where there are some.
	Trailers []policy.Header

	// Route is the route's name.
	Route string
	// Attributes are the proxy's, by their flat names.
	Attributes map[string]any
	// Principal and Metadata are what earlier policies of the chain have told.
	Principal *policy.Principal
	Metadata  map[string]any
}

// Response is a response as an upstream sends it. The zero value is a 200 without
// headers and body.
type Response struct {
	// Status is 200 where it is 0.
	Status int
	// Headers, Body, Chunks and Trailers are as in [Request].
	Headers  []policy.Header
	Body     string
	Chunks   []string
	Trailers []policy.Header
}

func (r Request) exchange() *exchange.Exchange {
	x := &exchange.Exchange{Route: r.Route, Principal: r.Principal, Identity: exchange.Identity{Key: new([16]byte)}}
	x.Request.Method = or(r.Method, "GET")
	x.Request.Scheme = or(r.Scheme, "https")
	x.Request.Authority = or(r.Authority, "example.com")
	x.Request.Path = or(r.Target, "/")
	x.Request.Headers.Reset(fields(r.Headers))
	x.KnowRequestID()
	for _, key := range slices.Sorted(maps.Keys(r.Metadata)) {
		x.Metadata.Set(key, r.Metadata[key])
	}
	if r.Attributes != nil {
		x.Attributes = attributes(r.Attributes)
	}
	return x
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func fields(hs []policy.Header) []exchange.Field {
	out := make([]exchange.Field, len(hs))
	for i, h := range hs {
		out[i] = exchange.Field{Name: exchange.Lower(h.Name), Value: h.Value}
	}
	return out
}

type attributes map[string]any

func (a attributes) Lookup(name string) (any, bool) {
	v, ok := a[name]
	return v, ok
}

func (a attributes) All() iter.Seq2[string, any] { return maps.All(a) }

// body is a message's body in both of its forms.
type body struct {
	whole  string
	pieces []string
}

func newBody(whole string, pieces []string) body {
	if len(pieces) == 0 {
		return body{whole: whole, pieces: []string{whole}}
	}
	b := body{pieces: pieces}
	for _, p := range pieces {
		b.whole += p
	}
	return b
}
