package kernel

import (
	"policyengine.dev/runtime/kernel/wire"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
)

// plan is what a chain has to be shown of each direction.
type plan struct {
	request, response demand
}

// demand is what has to be shown of a message.
type demand struct {
	// headers says that the headers have to come at all. It counts for
	// responses; requests without headers are refused whatever the chain is.
	headers bool
	// body is how much has to be shown of the body: nothing, its pieces
	// (STREAMED), all of it at once (BUFFERED), or pieces that may be held
	// back (FULL_DUPLEX_STREAMED).
	body wire.BodyMode
	// trailers have to be shown where there are any.
	trailers bool
}

// shown is what Envoy shows of a message.
type shown struct {
	headers  bool
	body     wire.BodyMode
	trailers bool
}

// met reports whether s shows all that d demands.
func (d demand) met(s shown) bool {
	if d.headers && !s.headers || d.trailers && !s.trailers {
		return false
	}
	switch d.body {
	case wire.BodyNone:
		return true
	case wire.BodyStreamed:
		// A body that comes whole is one piece. BUFFERED_PARTIAL shows only
		// the beginning of a long one, and so serves nobody.
		return s.body == wire.BodyStreamed || s.body == wire.BodyBuffered || s.body == wire.BodyFullDuplex
	case wire.BodyBuffered:
		// In full duplex the kernel gathers the body itself.
		return s.body == wire.BodyBuffered || s.body == wire.BodyFullDuplex
	}
	// So is one that comes whole: there is nothing to hold back.
	return s.body == wire.BodyFullDuplex || s.body == wire.BodyBuffered
}

// exact is what shows what d demands and nothing else.
func (d demand) exact() shown { return shown(d) }

// planBits are the facts about a chain that its plan depends on: the phases, and
// two for each direction.
const (
	planHoldsRequest = 1 << (iota + policy.PhaseCount)
	planHoldsResponse
	planDecodesRequest
	planDecodesResponse
	planCount
)

// plans has the plan for every combination of facts, so that none has to be made,
// or looked up by chain, while a request waits.
var plans = func() (all [planCount]plan) {
	for i := range all {
		phases := policy.PhaseSet(i)
		all[i] = plan{
			request:  demandOf(phases, policy.RequestHeaders, i&planHoldsRequest != 0, i&planDecodesRequest != 0),
			response: demandOf(phases, policy.ResponseHeaders, i&planHoldsResponse != 0, i&planDecodesResponse != 0),
		}
	}
	return all
}()

// planFor returns the plan of a chain.
func planFor(n *worker.Needs) *plan {
	i := int(n.Phases)
	if n.HoldsRequestChunks {
		i |= planHoldsRequest
	}
	if n.HoldsResponseChunks {
		i |= planHoldsResponse
	}
	if n.DecodeRequestBody {
		i |= planDecodesRequest
	}
	if n.DecodeResponseBody {
		i |= planDecodesResponse
	}
	return &plans[i]
}

// The phases of a direction, counted from its headers.
const (
	toBody     = policy.RequestBody - policy.RequestHeaders
	toChunks   = policy.RequestBodyChunks - policy.RequestHeaders
	toTrailers = policy.RequestTrailers - policy.RequestHeaders
)

func demandOf(phases policy.PhaseSet, base policy.Phase, holds, decodes bool) demand {
	var d demand
	whole, chunks := phases.Has(base+toBody), phases.Has(base+toChunks)
	switch {
	case whole, chunks && decodes:
		// Compressed pieces are of no use to a policy that wants plain
		// ones, so it gets the body in one.
		d.body = wire.BodyBuffered
	case chunks && holds:
		d.body = wire.BodyFullDuplex
	case chunks:
		d.body = wire.BodyStreamed
	}
	// A message may consist of headers and trailers alone, and one with both
	// body and trailers has its end of stream in the trailers: body policies
	// would not run, or not learn of the end, if they were not shown.
	d.trailers = phases.Has(base+toTrailers) || d.body != wire.BodyNone
	d.headers = phases.Has(base) || d.body != wire.BodyNone || d.trailers
	return d
}

// overrides has a mode override for every demand on both directions.
var overrides = func() (all [2][5][2][5][2]*wire.ModeOverride) {
	for h := range 2 {
		for qb := range wire.BodyMode(5) {
			for qt := range 2 {
				for sb := range wire.BodyMode(5) {
					for st := range 2 {
						all[h][qb][qt][sb][st] = wire.NewModeOverride(wire.ProcessingMode{
							// Not SKIP: Envoy would drop content-length.
							RequestHeaders:   wire.HeaderDefault,
							ResponseHeaders:  headerMode(h == 1),
							RequestBody:      qb,
							ResponseBody:     sb,
							RequestTrailers:  headerMode(qt == 1),
							ResponseTrailers: headerMode(st == 1),
						})
					}
				}
			}
		}
	}
	return all
}()

func headerMode(send bool) wire.HeaderMode {
	// DEFAULT would mean what the filter says, whatever a route says.
	if send {
		return wire.HeaderSend
	}
	return wire.HeaderSkip
}

func index(b bool) int {
	if b {
		return 1
	}
	return 0
}

// override is the mode override that gets a stream exactly what is demanded.
func override(request, response demand) *wire.ModeOverride {
	return overrides[index(response.headers)][request.body][index(request.trailers)][response.body][index(response.trailers)]
}
