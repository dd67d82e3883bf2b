// Package inmemory carries exchanges made of Go values: a request, and the response of an
// upstream that is a function, become what the upstream and the client would get. It is a
// carrier of package kernel, as package extproc is, without a proxy.
//
// Nothing limits what it can change: bodies can be replaced, held back and added wherever
// policies do so. A proxy may refuse some of that; see the documentation of its carrier.
package inmemory

import (
	"context"
	"slices"
	"strings"
	"time"

	"policyengine.dev/runtime/kernel"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/exchange"
)

// Request is a request as the client sends it, or as the upstream gets it.
type Request struct {
	// Route is the name of the route that the proxy chose.
	Route string
	// Method, Scheme, Authority and Path are the pseudo-headers; Path has the query.
	Method, Scheme, Authority, Path string
	// Headers are the other headers. Names are in lower case in results, and are
	// compared without regard to case in what is given.
	Headers []exchange.Field
	// Body has the pieces of the body, as they come. nil is not a body.
	Body [][]byte
	// Trailers follow the body; nil is none.
	Trailers []exchange.Field
	// Attributes answer for the proxy's attributes; nil has none.
	Attributes exchange.Attributes
}

// Response is a response as the upstream sends it, or as the client gets it.
type Response struct {
	Status   int
	Headers  []exchange.Field
	Body     [][]byte
	Trailers []exchange.Field
}

// Result is what became of an exchange.
type Result struct {
	// Request is what the upstream got: nil if its headers never went on, and without
	// its end if the client was answered meanwhile.
	Request *Request
	// Response is what the client got; nil if there was none.
	Response *Response
	// Answer is set if the engine answered in the upstream's place. It must not be
	// modified.
	Answer *worker.Outcome
	// Metadata is the dynamic metadata that policies set for the proxy.
	Metadata map[string]any
	// Reroute says that the proxy has to choose the route again.
	Reroute bool
}

// Options configure a [Carrier]. The zero value is usable.
type Options struct {
	// Terms are those of the proxy that the carrier stands for. A budget of 0 means
	// [DefaultBudget]; there is no limit to headers by default.
	Terms kernel.Terms
	// Observed has exchanges only shown to the chain: nothing that it decides counts.
	Observed bool
}

// DefaultBudget is the time for the phases of one part. It is what extproc gives them under
// Envoy's default message_timeout.
const DefaultBudget = 180 * time.Millisecond

// Carrier carries exchanges to one kernel. Safe for concurrent use.
type Carrier struct {
	kernel   *kernel.Kernel
	terms    kernel.Terms
	observed bool
}

// New returns a carrier for the kernel's chains.
func New(k *kernel.Kernel, o Options) *Carrier {
	if o.Terms.Budget <= 0 {
		o.Terms.Budget = DefaultBudget
	}
	return &Carrier{kernel: k, terms: o.Terms, observed: o.Observed}
}

// Do carries one exchange. The upstream gets the request after the policies, and its
// response goes back through them; it is not called if the engine answers. A nil upstream,
// or a nil response, ends the exchange with the request.
//
// The error is that of the context, or [kernel.ErrInternal]: what a policy refuses is in the
// result. A policy that does not return keeps one goroutine until it does, but not Do.
func (c *Carrier) Do(ctx context.Context, request Request, upstream func(*Request) *Response) (*Result, error) {
	t := &transfer{carrier: c, upstream: upstream, request: request, over: make(chan struct{})}
	t.begin(ctx)
	// On its own goroutine, since a policy may end the one that it is called on.
	go t.run()
	<-t.over
	return &t.result, t.err
}

// lower returns a copy of fields with names in lower case.
func lower(fields []exchange.Field) []exchange.Field {
	all := slices.Clone(fields)
	for i := range all {
		all[i].Name = exchange.Lower(strings.TrimSpace(all[i].Name))
	}
	return all
}
