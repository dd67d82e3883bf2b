package kernel

import (
	"context"
	"errors"
	"time"

	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

// ErrInternal is a fault of the engine itself.
var ErrInternal = errors.New("the policy engine failed on this exchange")

// Exchange decides one HTTP exchange, from the headers of the request to the last part of
// the response. The carrier calls it in this order:
//
//  1. [Exchange.Begin], and [Exchange.Observe] if the proxy waits for no decision.
//  2. [Exchange.Arrive] for each part that comes, before anything else about it.
//  3. For the request's headers: [Exchange.Acquire] and [Exchange.Find]; then the carrier
//     fills [Exchange.Content], calls [Exchange.TakeBody] for both directions, and
//     [Exchange.RequestHeaders].
//  4. For each later part: [Exchange.ResponseHeaders], [Exchange.Body] or
//     [Exchange.Trailers], after it has filled in headers and trailers.
//  5. After [PassOn], the methods that return the net changes of the part.
//  6. [Exchange.End] and [Exchange.GiveBack].
//
// Used by one goroutine at a time. The zero value is ready for Begin.
type Exchange struct {
	kernel   *Kernel
	carrier  Carrier
	ctx      context.Context
	snapshot Snapshot
	executor worker.Executor // nil if there is no chain
	needs    worker.Needs
	terms    *Terms
	// route is the route's name, for the record of a refusal without a chain.
	route string

	sides [2]side
	// came is the status with which the response came.
	came int

	// agenda are the phases to run for the part in hand: steps of them, at the next one.
	agenda    [4]policy.Phase
	at, steps int
	// hand is the direction of the part in hand, and headers says that it is headers.
	hand    Direction
	headers bool
	chunk   worker.Chunk
	arrived time.Duration

	// kept and held are what the exchange has taken of the memory account, in bytes:
	// until its end, and for what chunk steps hold back.
	kept, held int64

	observed, unfinished bool
	answer               worker.Outcome
	err                  error
	changes              changes
}

// side is the state of one direction.
type side struct {
	// pending are the chain's phases that have not run and may still.
	pending policy.PhaseSet
	intake  Intake
	// ended says that the last part of the direction has come, and seen that the body
	// phases have run on the whole body.
	ended, seen bool
	// gathered is the body so far, where the kernel puts it together.
	gathered []byte
	codings  codings
}

// Begin makes e, which is the zero value, ready for an exchange. The context is that of the
// exchange.
func (e *Exchange) Begin(ctx context.Context, k *Kernel, c Carrier) {
	e.kernel, e.carrier, e.ctx = k, c, ctx
}

// Observe says that the proxy only shows the exchange and waits for nothing: all steps run
// in shadow mode. It is called before [Exchange.Find].
func (e *Exchange) Observe() { e.observed = true }

// Observed reports whether [Exchange.Observe] was called.
func (e *Exchange) Observed() bool { return e.observed }

// Arrive notes that a part has come, from which its budget counts.
func (e *Exchange) Arrive() {
	e.at, e.steps = 0, 0
	e.arrived = e.kernel.options.Elapsed()
}

// SinceArrival is how long ago the part in hand came.
func (e *Exchange) SinceArrival() time.Duration { return e.kernel.options.Elapsed() - e.arrived }

// Acquire takes the configuration in force for the exchange, or refuses the exchange if
// there is none.
func (e *Exchange) Acquire() Next {
	if e.snapshot = e.kernel.source.Acquire(); e.snapshot == nil {
		return e.Refuse(worker.NotReady, errNoConfiguration)
	}
	return PassOn
}

// Find finds the chain of the route and begins it. Without one, it refuses the request
// or, where the configuration lets requests on unknown routes pass, returns [PassOn] and
// [Exchange.HasChain] is false; the carrier then passes every part on as it is.
func (e *Exchange) Find(route string, terms *Terms) Next {
	e.route = route
	chain, ok := e.snapshot.Chain(route)
	if !ok {
		if e.snapshot.OnUnknownRoute(route) == worker.ContinueUnknownRoute {
			return PassOn
		}
		return e.Refuse(worker.RouteUnknown, &routeCause{route})
	}
	e.terms, e.needs = terms, chain.Needs()
	if e.observed {
		e.executor = e.snapshot.BeginShadow(chain)
	} else {
		e.executor = e.snapshot.Begin(chain)
	}
	e.executor.Exchange().Route = route
	e.sides[Request].pending = e.needs.Phases & requestPhases
	e.sides[Response].pending = e.needs.Phases & responsePhases
	return PassOn
}

const (
	requestPhases  policy.PhaseSet = 1<<policy.ResponseHeaders - 1
	responsePhases                 = ^requestPhases
)

// HasChain reports whether a chain decides the exchange.
func (e *Exchange) HasChain() bool { return e.executor != nil }

// Route is the name of the route that [Exchange.Find] was called with.
func (e *Exchange) Route() string { return e.route }

// Terms are those that [Exchange.Find] was called with, if there is a chain.
func (e *Exchange) Terms() *Terms { return e.terms }

// Needs is what the chain still has to see. It must not be modified.
func (e *Exchange) Needs() *worker.Needs { return &e.needs }

// Content is the exchange as the carrier fills it and as policies see it; nil without a
// chain.
func (e *Exchange) Content() *exchange.Exchange {
	if e.executor == nil {
		return nil
	}
	return e.executor.Exchange()
}

// TakeBody says how the body of a direction will come.
func (e *Exchange) TakeBody(d Direction, i Intake) { e.sides[d].intake = i }

// Pending are the phases of a direction that are still to run.
func (e *Exchange) Pending(d Direction) policy.PhaseSet { return e.sides[d].pending }

// BodyPending reports whether a phase that needs the body of a direction is still to run.
func (e *Exchange) BodyPending(d Direction) bool { return e.bodyPhases(d) != 0 }

// bodyPhases are the pending phases that need the body.
func (e *Exchange) bodyPhases(d Direction) policy.PhaseSet {
	return e.sides[d].pending & policy.Phases(d.headers()+toBody, d.headers()+toChunks)
}

// SawWhole reports whether the phases of a direction's whole body have run.
func (e *Exchange) SawWhole(d Direction) bool { return e.sides[d].seen }

// TakesWhole reports whether policies get the body of a direction as a whole.
func (e *Exchange) TakesWhole(d Direction) bool { return e.sides[d].intake != Pieces }

// Gathers reports whether the kernel puts the body of a direction together.
func (e *Exchange) Gathers(d Direction) bool { return e.sides[d].intake == Gathered }

// Decided reports whether no phase of the chain is left to run.
func (e *Exchange) Decided() bool { return e.sides[Request].pending|e.sides[Response].pending == 0 }

// Answer is what the client gets after the result [Answer]. It must not be modified.
func (e *Exchange) Answer() *worker.Outcome { return &e.answer }

// Err is why the exchange ends after the result [Fail]: the error of its context, or
// [ErrInternal].
func (e *Exchange) Err() error { return e.err }

func (e *Exchange) fail(err error) Next {
	e.err = err
	return Fail
}

// CutShort notes that the proxy ended the exchange, which counts as canceled if phases
// are still to run.
func (e *Exchange) CutShort() { e.unfinished = !e.Decided() }

// End ends the chain and lets go of the configuration. A second call does nothing.
func (e *Exchange) End() {
	if e.executor != nil {
		e.executor.End(e.unfinished)
		e.executor = nil
	}
	if e.snapshot != nil {
		e.snapshot.Release()
		e.snapshot = nil
	}
}

// Abandon is End after a panic: the executor, which may be in any state, is left alone.
func (e *Exchange) Abandon() {
	e.executor = nil
	e.End()
}

// record records and logs a refusal before a chain was found; a chain records its own.
func (e *Exchange) record(out worker.Outcome, cause worker.Cause) {
	o := &e.kernel.options
	if e.observed {
		return
	}
	suppressed, logs := o.Refusals.Turn(out.Details, false, int64(o.Elapsed()))
	if !logs && o.Recorder == nil {
		return
	}
	d := &telemetry.Decision{Began: o.Now(), Route: telemetry.Clip(e.route, telemetry.MaxName)}
	d.Denied, d.Status, d.Reason, d.Details = true, out.Response.Status, out.Response.Reason, out.Details
	d.Explain(cause)
	if e.snapshot != nil {
		d.Config = e.snapshot.Version()
	}
	e.carrier.Describe(d)
	if logs {
		o.Refusals.Write(d, suppressed)
	}
	if o.Recorder != nil {
		o.Recorder.Record(d)
	}
}
