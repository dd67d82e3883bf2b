package negotiate

import (
	"policyengine.dev/runtime/extproc/wire"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
)

// Plan is what a chain has to be shown of each direction. It is immutable; a chain without
// needs has the zero value.
type Plan struct {
	request, response Side
	// keepsRequest and keepsResponse say that a body comes in pieces whose length no policy
	// changes, so that its content-length can stay.
	keepsRequest, keepsResponse bool
}

// KeepsRequest reports whether the request's body comes in pieces whose length no policy
// changes.
func (p *Plan) KeepsRequest() bool { return p.keepsRequest }

// HoldsRequest reports whether pieces of the request's body are held back.
func (p *Plan) HoldsRequest() bool { return p.request.Body == wire.BodyFullDuplex }

// planBits are the facts about a chain that its plan depends on: the phases, and
// two for each direction.
const (
	planHoldsRequest = 1 << (iota + policy.PhaseCount)
	planHoldsResponse
	planDecodesRequest
	planDecodesResponse
	planChangesRequest
	planChangesResponse
	planCount
)

// plans has the plan for every combination of facts, so that none has to be made,
// or looked up by chain, while a request waits.
var plans = func() (all [planCount]Plan) {
	for i := range all {
		n := worker.Needs{
			Phases:             policy.PhaseSet(i & (1<<policy.PhaseCount - 1)),
			HoldsRequestChunks: i&planHoldsRequest != 0, HoldsResponseChunks: i&planHoldsResponse != 0,
			DecodeRequestBody: i&planDecodesRequest != 0, DecodeResponseBody: i&planDecodesResponse != 0,
			ChangesRequestChunks: i&planChangesRequest != 0, ChangesResponseChunks: i&planChangesResponse != 0,
		}
		p := &all[i]
		p.request, p.response = Demand(&n)
		p.keepsRequest, p.keepsResponse = Keeps(&n)
	}
	return all
}()

// PlanFor returns the plan of a chain.
func PlanFor(n *worker.Needs) *Plan {
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
	if n.ChangesRequestChunks {
		i |= planChangesRequest
	}
	if n.ChangesResponseChunks {
		i |= planChangesResponse
	}
	return &plans[i]
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
func override(request, response Side) *wire.ModeOverride {
	return overrides[index(response.Headers)][request.Body][index(request.Trailers)][response.Body][index(response.Trailers)]
}
