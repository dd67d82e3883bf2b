package kernel

import (
	"context"
	"time"

	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

// schedule adds a phase to the agenda if it is still to run.
func (e *Exchange) schedule(s *side, p policy.Phase) {
	if s.pending.Has(p) {
		s.pending &^= policy.Phases(p)
		e.agenda[e.steps] = p
		e.steps++
	}
}

// advance runs what is on the agenda and then admits the part.
func (e *Exchange) advance() Next {
	for e.at < e.steps {
		p := e.agenda[e.at]
		e.at++
		var out worker.Outcome
		switch p {
		case policy.RequestBodyChunks, policy.ResponseBodyChunks:
			out = e.executor.RunChunk(e.ctx, p, e.left(), e.piece(p), e)
		default:
			out = e.executor.Run(e.ctx, p, e.left(), e)
		}
		if next, more := e.accept(out); !more {
			return next
		}
	}
	return e.admit()
}

// left is what is left of the budget for the part in hand.
func (e *Exchange) left() time.Duration { return max(e.terms.Budget-e.SinceArrival(), 0) }

// Resume implements worker.Resumer for the executor.
func (e *Exchange) Resume(x worker.Executor, outcome worker.Outcome) {
	e.executor = x
	e.carrier.Resume(outcome)
}

// GoOn continues with the part in hand after a call of a step was abandoned. See
// [Carrier.Resume].
func (e *Exchange) GoOn(outcome worker.Outcome) Next {
	if next, more := e.accept(outcome); !more {
		return next
	}
	return e.advance()
}

// accept takes the outcome of what ran last. more is false if nothing else runs for the
// part in hand.
func (e *Exchange) accept(out worker.Outcome) (next Next, more bool) {
	switch out.Kind {
	case worker.TakenOver:
		return Elsewhere, false
	case worker.Gone:
		// An error, since a proxy that still waits would take a clean end for leave to
		// go on.
		err := e.ctx.Err()
		if err == nil {
			err = context.Canceled
		}
		return e.fail(err), false
	case worker.Respond:
		return e.respond(out), false
	}
	if e.at == 0 {
		// A refusal was to be shaped, and the request must not pass.
		return e.fail(ErrInternal), false
	}
	switch p := e.agenda[e.at-1]; p {
	case policy.RequestBody, policy.ResponseBody:
		if body := e.body(directionOf(p)); body.Changed {
			e.addKept(int64(len(body.Bytes)))
		}
	case policy.RequestBodyChunks, policy.ResponseBodyChunks:
		d := directionOf(p)
		e.chunk = out.Chunk
		if e.TakesWhole(d) && out.Chunk.Changed {
			e.body(d).Replace(out.Chunk.Data)
		}
		if !e.takeHeld() {
			return e.Overloaded(d), false
		}
	}
	return PassOn, true
}

// respond answers the client in the upstream's place.
func (e *Exchange) respond(out worker.Outcome) Next {
	if e.observed {
		return Done
	}
	e.kernel.options.Streams.Responded(out.Details)
	e.answer = out
	return Answer
}

// Refuse answers with a reason of the engine's own. It never returns [PassOn].
func (e *Exchange) Refuse(r worker.Reason, cause worker.Cause) Next {
	e.kernel.options.Streams.Refusals[cause.Kind()].Add(1)
	if e.executor == nil {
		out := r.Outcome()
		e.record(out, cause)
		return e.respond(out)
	}
	left := e.left()
	// From here on an outcome that is no answer is a fault.
	e.at, e.steps = 0, 0
	next, _ := e.accept(e.executor.Reject(e.ctx, worker.Refusal{Reason: r, Cause: cause}, left, e))
	return next
}

// admit decides, after the phases of a part have run, whether what they leave of the
// exchange can be served.
func (e *Exchange) admit() Next {
	if e.needs.Conditional && !e.narrow() {
		return e.Refuse(worker.FilterCannotServeChain, errNarrowed)
	}
	d := e.hand
	if !e.headers || e.sides[d].ended || !e.TakesWhole(d) || !e.BodyPending(d) {
		return PassOn
	}
	n, announced := e.ContentLength(d)
	switch {
	case announced && n > e.BodyLimit():
		return e.tooLarge(d, telemetry.LengthAnnounced, n)
	case announced && !e.kernel.options.Memory.Fits(n):
		return e.Overloaded(d)
	}
	return PassOn
}

// narrow drops the phases in which no step can run any more, now that conditions have been
// decided. It reports false if the proxy cannot show what is left; that does not happen,
// since what suffices for a chain suffices for a part of it.
func (e *Exchange) narrow() bool {
	left := e.executor.Needs()
	before := e.sides[Request].pending | e.sides[Response].pending
	e.needs = left
	if before&^left.Phases == 0 {
		return true
	}
	e.sides[Request].pending &= left.Phases
	e.sides[Response].pending &= left.Phases
	if !e.headers || e.hand != Request {
		// The proxy can be asked for less only with the request's headers.
		return true
	}
	return e.carrier.Narrowed()
}

// Ran reports whether a phase ran for the part in hand.
func (e *Exchange) Ran() bool { return e.steps > 0 }

// RanBody reports whether a phase of the body ran for the part in hand, which is trailers.
func (e *Exchange) RanBody() bool {
	return e.steps > 0 && e.agenda[0] != e.hand.headers()+toTrailers
}

// Chunk is the piece that chunk steps have left of the part in hand.
func (e *Exchange) Chunk() *worker.Chunk { return &e.chunk }

// body is the whole body of a direction.
func (e *Exchange) body(d Direction) *exchange.Body {
	x := e.executor.Exchange()
	if d == Response {
		return &x.Response.Body
	}
	return &x.Request.Body
}

// piece is the chunk that a chunk phase runs on.
func (e *Exchange) piece(p policy.Phase) worker.Chunk {
	if d := directionOf(p); e.TakesWhole(d) {
		return worker.Chunk{Data: e.body(d).Bytes, Last: true}
	}
	return e.chunk
}

// headersOf are the headers of a direction.
func (e *Exchange) headersOf(d Direction) *exchange.Headers {
	x := e.executor.Exchange()
	if d == Response {
		return &x.Response.Headers
	}
	return &x.Request.Headers
}

// trailersOf are the trailers of a direction.
func (e *Exchange) trailersOf(d Direction) *exchange.Headers {
	x := e.executor.Exchange()
	if d == Response {
		return &x.Response.Trailers
	}
	return &x.Request.Trailers
}
