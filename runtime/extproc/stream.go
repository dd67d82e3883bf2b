package extproc

import (
	"context"
	"io"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"policyengine.dev/runtime/extproc/wire"
	"policyengine.dev/runtime/kernel"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

// verdict says how a stream goes on after a message.
type verdict uint8

const (
	// proceed: the next message can come.
	proceed verdict = iota
	// finish: the stream ends, with stream.err.
	finish
	// takenOver: another goroutine has the stream. This one must not touch it.
	takenOver
)

// stream is one HTTP exchange. It is used by one goroutine at a time: at first by
// grpc's handler; when a policy holds that up, by the one on which the worker calls
// Resume.
type stream struct {
	kernel *Service
	grpc   grpc.ServerStream
	ctx    context.Context
	// raw is what messages are read from; nil where grpc's RecvMsg is used. prefix
	// is what comes in front of a message, and unread how much of the message in
	// hand is still to be read.
	raw    rawStream
	prefix [5]byte
	unread int64
	// hand, kept and held are what the stream has taken of the account, in bytes:
	// for the message in hand, until its end, and for what chunk steps hold back.
	hand, kept, held int64

	in        wire.Message
	out       wire.Outgoing
	reply     wire.Reply
	immediate wire.Immediate
	visitor   visitor

	snapshot kernel.Snapshot
	x        worker.Executor // nil where there is no chain
	needs    worker.Needs
	plan     *plan
	allowed  *allowance

	request, response side
	// came is the status with which the response came.
	came int
	// told and toldAll are the attributes of the request, and those of both.
	told, toldAll attributes
	override      *wire.ModeOverride
	// relied says that the chain depends on Envoy heeding the override.
	relied bool
	// local says that Envoy has made the response itself.
	local bool

	// agenda are the phases to run for the message in hand, at the next one.
	agenda    [4]policy.Phase
	at, steps int
	chunk     worker.Chunk
	arrived   time.Duration // by the kernel's clock

	// routeName is the route's, for the record of a refusal without a chain.
	routeName string

	begun, observing, resumed, drained, responded bool
	// unfinished says that Envoy ended the stream before the chain was done.
	unfinished bool

	err error
	// done is sent to when a stream that was taken over is over.
	done chan struct{}
	// parted is set once either the stream is over or the call that held it up
	// has come back, which still has the exchange's bodies.
	parted atomic.Bool
}

// begin takes a stream on.
func (st *stream) begin(ss grpc.ServerStream) {
	st.grpc, st.ctx = ss, ss.Context()
	st.raw = newRawStream(ss)
	st.request.base, st.response.base = policy.RequestHeaders, policy.ResponseHeaders
}

// loop answers messages until the stream is over or taken over.
func (st *stream) loop() verdict {
	for {
		var v verdict
		switch err := st.fetch(); err {
		case nil:
			v = st.receive()
		case errNoRoom, errOverLimit:
			v = st.turnedAway(err)
		default:
			return st.closed(err)
		}
		if v != proceed {
			if v == finish && st.resumed && st.err == nil {
				// The stream ends when grpc's handler returns, which a
				// policy holds up. Until then Envoy wants its answers.
				st.drained = true
				continue
			}
			return v
		}
	}
}

// errUndecided ends a stream that Envoy ends first. To Envoy a clean end means that the
// message goes on without the engine. A client that goes away has Envoy end the stream
// too, so this is no failure of the engine: its code is Canceled.
var errUndecided = status.Error(codes.Canceled, "the stream ended before the policies had decided")

// closed ends a stream that Envoy has ended, or that has broken. The engine ends a
// stream itself when nothing is left to decide, so that something is left here, but
// on a stream that only waits for its handler, or whose answers Envoy does not read.
func (st *stream) closed(err error) verdict {
	switch {
	case err != io.EOF && status.Code(err) != codes.Canceled:
		return st.fail(err)
	case st.drained:
		return finish
	}
	st.unfinished = st.request.pending|st.response.pending != 0
	if st.observing {
		return finish
	}
	return st.fail(errUndecided)
}

// end lets go of what the stream used.
func (st *stream) end() {
	if st.x != nil {
		st.x.End(st.unfinished)
		st.x = nil
	}
	if st.snapshot != nil {
		st.snapshot.Release()
		st.snapshot = nil
	}
}

// over is called twice on a stream that was taken over: when it is over, and when the
// call that held it up is. Whoever comes second gives back what its bodies have taken.
func (st *stream) over() {
	if st.parted.Swap(true) {
		st.giveAll()
	}
}

// abandon lets go of what the stream used after a panic, but for the executor, which
// may be in any state.
func (st *stream) abandon() {
	st.x = nil
	st.end()
}

// maxKept bounds the storage for headers that a stream keeps for the next exchange,
// in fields. Few messages have as many.
const maxKept = 1024

// recycle makes the stream ready for another exchange and keeps its storage.
func (st *stream) recycle() {
	st.reply.Release()
	fields, headers := st.in.Fields, st.immediate.Headers
	clear(fields)
	clear(headers)
	*st = stream{kernel: st.kernel, done: st.done}
	if cap(fields) <= maxKept {
		st.in.Fields = fields[:0]
	}
	if cap(headers) <= maxKept {
		st.immediate.Headers = headers[:0]
	}
}

// Resume implements worker.Resumer: it goes on where a policy has held up the
// goroutine that had the stream.
func (st *stream) Resume(x worker.Executor, outcome worker.Outcome) {
	if !st.resumed {
		st.resumed = true
		st.kernel.options.Streams.TakenOver.Add(1)
	}
	st.x = x
	v := finish
	func() {
		defer func() {
			if p := recover(); p != nil {
				st.kernel.panicked(p)
				st.abandon()
				st.err = errInternal
			}
		}()
		if v = st.resume(outcome); v == proceed {
			v = st.loop()
		}
	}()
	if v == takenOver {
		return
	}
	st.end()
	st.over()
	st.done <- struct{}{}
}

func (st *stream) resume(outcome worker.Outcome) verdict {
	v, more := st.settle(outcome)
	if more {
		v = st.advance()
	}
	st.observe(v)
	if v == finish && st.err == nil {
		st.drained = true
		return proceed
	}
	return v
}

// receive handles one message.
func (st *stream) receive() verdict {
	if st.drained {
		return st.afterwards()
	}
	st.arrive()
	var v verdict
	if st.begun {
		v = st.later()
	} else {
		st.begun = true
		v = st.first()
	}
	st.observe(v)
	return v
}

// arrive notes that a message has come.
func (st *stream) arrive() {
	st.at, st.steps = 0, 0
	st.arrived = st.kernel.options.Elapsed()
}

// turnedAway handles a message of which the body was not read.
func (st *stream) turnedAway(err error) verdict {
	st.arrive()
	v := st.turnAway(err)
	st.observe(v)
	return v
}

// afterwards handles a message that comes when all is done, on a stream that cannot be
// ended yet.
func (st *stream) afterwards() verdict {
	switch {
	case st.responded:
		// Envoy has its answer, and is about to end the stream.
		return proceed
	case st.in.Kind == wire.None:
		return st.fail(errNothing)
	}
	return st.pass()
}

// observe counts the message in hand, unless it is in somebody else's hands now.
func (st *stream) observe(v verdict) {
	if v == takenOver || st.in.Kind == wire.None {
		return
	}
	st.kernel.options.Streams.Parts[st.in.Kind-wire.RequestHeaders].Observe(st.sinceArrival())
}

// later handles a message that is not the first.
func (st *stream) later() verdict {
	m := &st.in
	s := &st.request
	if m.Kind.IsResponse() {
		s = &st.response
	}
	before := s.at
	if err := s.accept(m); err != nil {
		return st.fail(err)
	}
	switch {
	case before != atStart || m.Kind == wire.ResponseHeaders:
		return st.part(s)
	case !m.Kind.IsResponse():
		// The stream began with a response, to which no request belongs.
		return st.refuse(worker.RequestPhaseSkipped, errBodyFirst)
	case s.pending != 0:
		// The filter was said to show response headers, and does not.
		return st.refuse(worker.FilterCannotServeChain, errHeadersNotShown)
	}
	return st.part(s)
}

// first handles the first message of the stream.
func (st *stream) first() verdict {
	m := &st.in
	st.observing = m.Observability
	switch m.Kind {
	case wire.None:
		return st.fail(errNothing)
	case wire.RequestHeaders:
		st.request.accept(m)
		return st.beginRequest()
	case wire.ResponseHeaders:
		st.response.accept(m)
		return st.beginWithResponse()
	}
	// A body or trailers of which the headers were not shown.
	return st.refuse(worker.RequestPhaseSkipped, errBodyFirst)
}

// part handles a message of side s other than the request's headers.
func (st *stream) part(s *side) verdict {
	m := &st.in
	if st.x == nil {
		return st.answer()
	}
	if cause := st.contradicts(); cause != nil {
		st.contradict(cause)
		return st.refuse(worker.RequestPhaseSkipped, cause)
	}
	switch m.Kind {
	case wire.ResponseHeaders:
		st.fillResponse()
		return st.headers(s)
	case wire.RequestBody, wire.ResponseBody:
		return st.body(s)
	}
	return st.trailers(s)
}

// fail ends the stream with an error, which to Envoy means status_on_error.
func (st *stream) fail(err error) verdict {
	st.err = err
	return finish
}

// run adds a phase to the agenda if it is still to run.
func (st *stream) run(s *side, p policy.Phase) {
	if s.pending.Has(p) {
		s.pending &^= policy.Phases(p)
		st.agenda[st.steps] = p
		st.steps++
	}
}

// advance runs what is on the agenda, and then answers the message.
func (st *stream) advance() verdict {
	for st.at < st.steps {
		p := st.agenda[st.at]
		st.at++
		var out worker.Outcome
		switch p {
		case policy.RequestBodyChunks, policy.ResponseBodyChunks:
			out = st.x.RunChunk(st.ctx, p, st.left(), st.piece(p), st)
		default:
			out = st.x.Run(st.ctx, p, st.left(), st)
		}
		if v, more := st.settle(out); !more {
			return v
		}
	}
	return st.answer()
}

// sinceArrival is how long ago the message in hand came.
func (st *stream) sinceArrival() time.Duration { return st.kernel.options.Elapsed() - st.arrived }

// left is what is left of the budget for the message in hand.
func (st *stream) left() time.Duration {
	return max(st.allowed.budget-st.sinceArrival(), 0)
}

// settle takes the outcome of the phase that ran last. more is false where the
// agenda ends with it.
func (st *stream) settle(out worker.Outcome) (v verdict, more bool) {
	switch out.Kind {
	case worker.TakenOver:
		return takenOver, false
	case worker.Gone:
		// With an error, lest a proxy that waits all the same let it pass.
		return st.fail(status.FromContextError(st.ctx.Err()).Err()), false
	case worker.Respond:
		if st.observing {
			return finish, false
		}
		return st.respond(out), false
	}
	if st.at == 0 {
		// It was a refusal that was to be shaped, and is one all the same.
		return st.fail(errInternal), false
	}
	switch p := st.agenda[st.at-1]; p {
	case policy.RequestBody, policy.ResponseBody:
		if _, body := st.bodyOf(p); body.Changed {
			st.addKept(int64(len(body.Bytes)))
		}
	case policy.RequestBodyChunks, policy.ResponseBodyChunks:
		st.chunk = out.Chunk
		s, body := st.bodyOf(p)
		if s.whole && out.Chunk.Changed {
			body.Replace(out.Chunk.Data)
		}
		if !st.takeHeld() {
			return st.overloaded(s), false
		}
	}
	return proceed, true
}

// bodyOf returns the side and the body that a phase belongs to.
func (st *stream) bodyOf(p policy.Phase) (*side, *exchange.Body) {
	x := st.x.Exchange()
	if p.IsResponse() {
		return &st.response, &x.Response.Body
	}
	return &st.request, &x.Request.Body
}

// piece is the chunk that a chunk phase is run on.
func (st *stream) piece(p policy.Phase) worker.Chunk {
	if s, body := st.bodyOf(p); s.whole {
		return worker.Chunk{Data: body.Bytes, Last: true}
	}
	return st.chunk
}

// refuse answers with a reason of the engine's own.
func (st *stream) refuse(r worker.Reason, cause worker.Cause) verdict {
	st.kernel.options.Streams.Refusals[cause.Kind()].Add(1)
	if st.x == nil {
		out := r.Outcome()
		st.recordRefusal(out, cause)
		return st.respond(out)
	}
	left := max(st.allowed.budget-st.sinceArrival(), 0)
	// From here on the outcome is an answer, never one to go on with.
	st.at, st.steps = 0, 0
	v, _ := st.settle(st.x.Reject(st.ctx, worker.Refusal{Reason: r, Cause: cause}, left, st))
	return v
}
