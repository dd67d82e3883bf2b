package negotiate

import (
	"policyengine.dev/runtime/extproc/wire"
	"policyengine.dev/runtime/kernel"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
)

// Side is what is shown of a message, a request or a response, or what has to be. The
// zero value is nothing.
type Side struct {
	// Headers says that the headers come at all. It counts for responses;
	// requests without headers are refused whatever the chain is.
	Headers bool
	// Body is how much comes of the body: nothing, its pieces (STREAMED), all of
	// it at once (BUFFERED), or pieces that may be held back
	// (FULL_DUPLEX_STREAMED). No chain demands BUFFERED_PARTIAL, which shows
	// only the beginning of a long body.
	Body wire.BodyMode
	// Trailers come where there are any.
	Trailers bool
}

// Demand is what a chain demands of both directions.
func Demand(n *worker.Needs) (request, response Side) {
	return side(n, kernel.Request, policy.RequestHeaders, n.HoldsRequestChunks),
		side(n, kernel.Response, policy.ResponseHeaders, n.HoldsResponseChunks)
}

// Keeps reports for each direction whether its body comes in pieces whose length no policy
// changes, so that content-length can stay. Envoy takes it away where a body is STREAMED
// when its headers pass; where the mode is BUFFERED (or NONE) until the answer to the headers
// overrides it, it stays. If Envoy ignores the override from BUFFERED, the body is one piece.
func Keeps(n *worker.Needs) (request, response bool) {
	a, b := Demand(n)
	return a.Body == wire.BodyStreamed && !n.ChangesRequestChunks, b.Body == wire.BodyStreamed && !n.ChangesResponseChunks
}

// side is the demand on a direction, of which base is the headers phase.
func side(n *worker.Needs, direction kernel.Direction, base policy.Phase, holds bool) Side {
	const (
		toChunks   = policy.RequestBodyChunks - policy.RequestHeaders
		toTrailers = policy.RequestTrailers - policy.RequestHeaders
	)
	var d Side
	phases := n.Phases
	chunks := phases.Has(base + toChunks)
	switch {
	case kernel.WantsWhole(n, direction):
		d.Body = wire.BodyBuffered
	case chunks && holds:
		d.Body = wire.BodyFullDuplex
	case chunks:
		d.Body = wire.BodyStreamed
	}
	// A message may consist of headers and trailers alone, and one with both
	// body and trailers has its end of stream in the trailers: body policies
	// would not run, or not learn of the end, if they were not shown.
	d.Trailers = phases.Has(base+toTrailers) || d.Body != wire.BodyNone
	d.Headers = phases.Has(base) || d.Trailers
	return d
}

// Met reports whether what is shown is all that is demanded.
func (d Side) Met(shown Side) bool { return d.Lacks(shown) == Side{} }

// Lacks is what of the demand is not shown.
func (d Side) Lacks(shown Side) Side {
	lacks := Side{Headers: d.Headers && !shown.Headers, Trailers: d.Trailers && !shown.Trailers}
	if !serves(shown.Body, d.Body) {
		lacks.Body = d.Body
	}
	return lacks
}

// serves reports whether a body that is shown in one mode serves who demands another.
func serves(shown, demanded wire.BodyMode) bool {
	switch demanded {
	case wire.BodyNone:
		return true
	case wire.BodyStreamed:
		// A body that comes whole is one piece.
		return shown == wire.BodyStreamed || shown == wire.BodyBuffered || shown == wire.BodyFullDuplex
	}
	// Who wants all of it gathers it in full duplex, and who holds pieces back
	// has nothing to hold where all comes at once.
	return shown == wire.BodyBuffered || shown == wire.BodyFullDuplex
}
