package kernel

import (
	"time"

	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
)

// Carrier is the kernel's view of the carrier of one exchange. Its methods are called on
// the goroutine that has the exchange.
type Carrier interface {
	// Resume is called on its own goroutine after a step did not return in time
	// and its call was abandoned. The carrier calls [Exchange.GoOn] with the outcome and
	// continues as if the call for the part in hand had returned the result. That call
	// itself returns [Elsewhere] when the policy returns, which may be never.
	Resume(outcome worker.Outcome)
	// Narrowed is called while the request's headers are in hand, after the conditions
	// of steps were decided and [Exchange.Needs] has become less. The carrier asks the
	// proxy for less and calls [Exchange.TakeBody] again. It reports false if the proxy
	// cannot show what is left.
	Narrowed() bool
	// Describe fills in what identifies the request, for the record of a refusal
	// before a chain was found.
	Describe(d *telemetry.Decision)
}

// Terms are the conditions under which a proxy shows exchanges. They are immutable and
// shared by exchanges.
type Terms struct {
	// Budget is the time for the phases of one part.
	Budget time.Duration
	// RequestHeaders and ResponseHeaders are how many headers a message may have, and how
	// many bytes of them, once they were changed. The zero value sets no limit.
	RequestHeaders, ResponseHeaders Size
	// Rules say which headers may be changed; nil allows all that policies may change.
	Rules Rules
}

// Rules say which headers the proxy lets the engine change. Safe for concurrent use.
type Rules interface {
	// MayChange reports whether a header or pseudo-header, in lower case, may be set or
	// removed.
	MayChange(name string) bool
}

// Size is the size of a header list with its pseudo-headers: the number of fields, and
// the bytes of names and values.
type Size struct{ Count, Bytes int }

// Next says what the carrier does after the kernel has decided on a part.
type Next uint8

const (
	// PassOn: the part goes on to the other party, with its net changes.
	PassOn Next = iota
	// Answer: the client gets [Exchange.Answer] in the upstream's place. The carrier
	// brings nothing more of the exchange.
	Answer
	// Done: nothing more of the exchange matters, and there is nothing to tell. Only an
	// observed exchange ends so.
	Done
	// Fail: the exchange ends with [Exchange.Err]. Nothing of it may pass.
	Fail
	// Elsewhere: another goroutine has the exchange. The caller must not touch it, or
	// the carrier, any more. See [Carrier.Resume].
	Elsewhere
)

// Direction is one of the two messages of an exchange.
type Direction uint8

// The directions.
const (
	Request Direction = iota
	Response
)

// IsResponse reports whether d is [Response].
func (d Direction) IsResponse() bool { return d == Response }

// headers is the direction's headers phase.
func (d Direction) headers() policy.Phase {
	if d == Response {
		return policy.ResponseHeaders
	}
	return policy.RequestHeaders
}

// directionOf is the direction that a phase belongs to.
func directionOf(p policy.Phase) Direction {
	if p.IsResponse() {
		return Response
	}
	return Request
}

// The phases of a direction, counted from its headers.
const (
	toBody     = policy.RequestBody - policy.RequestHeaders
	toChunks   = policy.RequestBodyChunks - policy.RequestHeaders
	toTrailers = policy.RequestTrailers - policy.RequestHeaders
)

// Intake is how the body of a direction comes to the kernel, and so to policies.
type Intake uint8

const (
	// Pieces: chunk phases run on each piece as it comes.
	Pieces Intake = iota
	// Gathered: pieces come and the kernel puts them together. Body phases run once,
	// on the whole body.
	Gathered
	// Whole: the body comes in one piece. Body phases run once, on that.
	Whole
)

// WantsWhole reports whether a chain wants a direction's body whole: for a step that acts
// on whole bodies, or for chunk steps that want compressed bodies plain, since a piece of
// a compressed body is of no use to them.
func WantsWhole(n *worker.Needs, d Direction) bool {
	decodes := n.DecodeRequestBody
	if d == Response {
		decodes = n.DecodeResponseBody
	}
	return n.Phases.Has(d.headers()+toBody) || n.Phases.Has(d.headers()+toChunks) && decodes
}
