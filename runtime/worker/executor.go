package worker

import (
	"context"
	"time"

	"policyengine.dev/sdk/definition"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policy/apply"
)

// Executor drives one exchange through its chain. The kernel fills the exchange,
// calls Run for each phase in the order in which the message's parts come, and tells
// the proxy what has changed. It is used by one goroutine at a time.
type Executor interface {
	// Exchange is what the kernel fills and reads. It is the executor's own.
	Exchange() *exchange.Exchange
	// Run runs the phase's steps. Before those of the request's headers it removes
	// the headers that the chain's policies own. budget bounds the whole phase; ctx is the
	// stream's. For the body phases the exchange's Body has to be present.
	//
	// When a step does not come back in time the call is abandoned and the
	// chain goes on elsewhere: then Run calls t.Resume on another goroutine,
	// with the executor that is to be used from there on, and itself returns,
	// when the policy does at last, with an outcome of kind [TakenOver]. The
	// caller must not touch the stream or this executor any more then.
	Run(ctx context.Context, phase policy.Phase, budget time.Duration, t Resumer) Outcome
	// RunChunk is Run for the chunk phases, on the piece that has come. What is
	// to be sent in its place is the outcome's Chunk.
	RunChunk(ctx context.Context, phase policy.Phase, budget time.Duration, chunk Chunk, t Resumer) Outcome
	// Reject returns the outcome for an answer that the kernel makes itself,
	// such as one for [BodyTooLarge], shaped by the chain's onReject list. As for Run,
	// the outcome may be [TakenOver].
	Reject(ctx context.Context, refusal Refusal, budget time.Duration, t Resumer) Outcome
	// Needs is what the chain still has to see: that of the chain, without the
	// steps whose condition has been decided against, or has failed, on this
	// exchange. It can differ from the chain's only where that is Conditional.
	Needs() Needs
	// Held is how many bytes of bodies chunk steps hold back.
	Held() int64
	// End is called once, when the exchange is over, by whoever has the
	// executor then. unfinished says that it was over before the chain had seen
	// what it needs: the request counts as canceled then, unless it was answered.
	// The executor must not be used afterwards.
	End(unfinished bool)
}

// Resumer goes on with a stream whose goroutine is held up in a policy.
type Resumer interface {
	// Resume is called on a goroutine of its own, once for each call of Run
	// that is abandoned. x takes the place of the executor that ran, outcome
	// is what Run would have returned.
	Resume(x Executor, outcome Outcome)
}

// Chunk is one piece of a body on its way through a chain.
type Chunk struct {
	// Data is the piece. It is not modified in place.
	Data []byte
	// Last says that no piece follows.
	Last bool
	// Changed says that Data is not what came: it was replaced, held back (then
	// it is empty), or has in front of it what was held back before.
	Changed bool
}

// OutcomeKind says how a phase ended.
type OutcomeKind uint8

const (
	// Continue: the message goes on, with whatever has changed in the exchange.
	Continue OutcomeKind = iota
	// Respond: the client is answered in the upstream's place.
	Respond
	// TakenOver: the call was abandoned; see [Executor].
	TakenOver
	// Gone: the stream has ended before the policies have decided. Nobody waits
	// for an answer, and nothing may pass.
	Gone
)

// Outcome is how a phase ended.
type Outcome struct {
	Kind OutcomeKind
	// Response is the answer, where Kind is Respond. It must not be modified.
	Response *policy.ImmediateResponse
	// Details are Envoy's response code details for it:
	// policy_engine.<policy>@<version>.<reason>, or policy_engine.<reason>.
	Details string
	// Chunk is what is to be sent, where a chunk phase ended with Continue.
	Chunk Chunk
}

// Needs is what a chain has to see, and so what the proxy has to be asked for.
type Needs struct {
	// Phases are the phases in which at least one step runs, and that of the
	// request's headers where policies own some.
	Phases policy.PhaseSet
	// HoldsRequestChunks and HoldsResponseChunks say that a chunk policy holds
	// chunks back.
	HoldsRequestChunks, HoldsResponseChunks bool
	// ChangesRequestChunks and ChangesResponseChunks say that a chunk policy may replace
	// chunks or hold them back, so that the length of the body may change.
	ChangesRequestChunks, ChangesResponseChunks bool
	// DecodeRequestBody and DecodeResponseBody say that the body policies want
	// plain bytes rather than compressed ones.
	DecodeRequestBody, DecodeResponseBody bool
	// BodyLimit bounds a whole body in bytes; 0 leaves it to the kernel.
	BodyLimit int64
	// Conditional says that a condition may rule a step out of phases that are
	// still to come when it is decided, so that it is worth asking the executor
	// what it still needs.
	Conditional bool
	// Reroute says that routing has to be done anew when method, path,
	// authority or one of RerouteHeaders (lower case) changed.
	Reroute        bool
	RerouteHeaders []string
}

// admitOwned adds what removing owned headers takes.
func (n *Needs) admitOwned(owned *apply.OwnedHeaders) {
	if len(owned.Names()) > 0 {
		n.Phases |= policy.Phases(policy.RequestHeaders)
	}
}

// admit adds what a step has to see.
func (n *Needs) admit(s *step) {
	phases := s.instance.phases
	n.Phases |= phases
	request := policy.Phases(policy.RequestBody, policy.RequestBodyChunks)
	response := policy.Phases(policy.ResponseBody, policy.ResponseBodyChunks)
	if s.instance.version.Definition.Body == definition.DecodedBody {
		n.DecodeRequestBody = n.DecodeRequestBody || phases&request != 0
		n.DecodeResponseBody = n.DecodeResponseBody || phases&response != 0
	}
	if !s.instance.readsChunks {
		n.ChangesRequestChunks = n.ChangesRequestChunks || phases.Has(policy.RequestBodyChunks)
		n.ChangesResponseChunks = n.ChangesResponseChunks || phases.Has(policy.ResponseBodyChunks)
	}
	if s.instance.holdsChunks {
		n.HoldsRequestChunks = n.HoldsRequestChunks || phases.Has(policy.RequestBodyChunks)
		n.HoldsResponseChunks = n.HoldsResponseChunks || phases.Has(policy.ResponseBodyChunks)
	}
}
