package extproc

import (
	"context"
	"io"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"policyengine.dev/runtime/extproc/negotiate"
	"policyengine.dev/runtime/extproc/wire"
	"policyengine.dev/runtime/kernel"
	"policyengine.dev/runtime/worker"
)

// flow says how a stream continues after a message.
type flow uint8

const (
	// onward: the next message can come.
	onward flow = iota
	// over: the stream ends, with stream.err.
	over
	// elsewhere: another goroutine has the stream. This one must not touch it.
	elsewhere
)

// stage is how far a stream has come.
type stage uint8

const (
	// fresh: no message has come.
	fresh stage = iota
	// deciding: policies may still decide.
	deciding
	// decided: no policy has anything left to decide, and the stream cannot end since
	// its handler is held up. What comes passes.
	decided
	// answered: as decided, and Envoy has an answer for the client. It is about to end the
	// stream.
	answered
)

// stream carries one exchange. It is used by one goroutine at a time: first by grpc's
// handler; if a policy holds that up, by the one on which the kernel calls Resume.
type stream struct {
	service  *Service
	ctx      context.Context
	grpc     grpc.ServerStream
	exchange kernel.Exchange
	reader   reader

	out       wire.Outgoing
	reply     wire.Reply
	immediate wire.Immediate

	request, response side
	allowance         *negotiate.Allowance
	plan              *negotiate.Plan
	override          *wire.ModeOverride
	// responseOverride goes with the answer to the response's headers.
	responseOverride *wire.ModeOverride
	// relied says that the chain depends on Envoy heeding the override.
	relied bool
	// local says that Envoy has made the response itself.
	local bool
	// told and toldAll are the attributes of the request, and those of both.
	told, toldAll attributes

	stage   stage
	resumed bool
	err     error
	// done is sent to when a stream that was resumed elsewhere is over.
	done chan struct{}
	// oneDone is set once either the stream is over or the abandoned call has returned,
	// which still has the exchange's bodies.
	oneDone atomic.Bool
}

// begin takes a stream on.
func (st *stream) begin(ss grpc.ServerStream) {
	st.grpc, st.ctx = ss, ss.Context()
	st.exchange.Begin(st.ctx, st.service.kernel, st)
	st.reader.begin(ss, st, st.service.kernel.Options().Memory, st.service.options.MaxMessage)
	st.request.begin(st, kernel.Request)
	st.response.begin(st, kernel.Response)
}

// loop handles messages until the stream is over or another goroutine has it.
func (st *stream) loop() flow {
	for {
		var f flow
		switch err := st.reader.next(); err {
		case nil:
			f = st.message()
		case errNoRoom, errOverLimit:
			f = st.turnedAway(err)
		default:
			return st.closed(err)
		}
		if f == over && st.resumed && st.err == nil {
			f = st.drain()
		}
		if f != onward {
			return f
		}
	}
}

// drain continues a stream on which everything is decided: it ends when grpc's handler
// returns, which a policy holds up, and until then Envoy wants its answers.
func (st *stream) drain() flow {
	if st.stage != answered {
		st.stage = decided
	}
	return onward
}

// message handles the message in hand.
func (st *stream) message() flow {
	m := &st.reader.in
	if st.stage >= decided {
		return st.afterwards(m)
	}
	st.exchange.Arrive()
	var f flow
	if st.stage == fresh {
		st.stage = deciding
		f = st.first(m)
	} else {
		f = st.later(m)
	}
	st.count(f)
	return f
}

// first handles the first message of the stream.
func (st *stream) first(m *wire.Message) flow {
	if m.Observability {
		st.exchange.Observe()
	}
	switch m.Kind {
	case wire.None:
		return st.fail(errNothing)
	case wire.RequestHeaders:
		_ = st.request.accept(m) // the first message is in sequence
		return st.beginRequest(m)
	case wire.ResponseHeaders:
		_ = st.response.accept(m)
		return st.beginWithResponse(m)
	}
	// A body or trailers of which the headers were not shown.
	return st.refuse(worker.RequestPhaseSkipped, errBodyFirst)
}

// later handles a message that is not the first.
func (st *stream) later(m *wire.Message) flow {
	s := st.sideOf(m.Kind)
	before := s.at
	if err := s.accept(m); err != nil {
		return st.fail(err)
	}
	switch {
	case before != atStart || m.Kind == wire.ResponseHeaders:
		return st.carry(s, m)
	case !m.Kind.IsResponse():
		// The stream began with a response, to which no request belongs.
		return st.refuse(worker.RequestPhaseSkipped, errBodyFirst)
	case st.exchange.Pending(s.direction) != 0:
		// The filter was said to show response headers, and does not.
		return st.refuse(worker.FilterCannotServeChain, errHeadersNotShown)
	}
	return st.carry(s, m)
}

// carry takes a part of side s, other than the request's headers, to the kernel.
func (st *stream) carry(s *side, m *wire.Message) flow {
	if !st.exchange.HasChain() {
		return st.after(kernel.PassOn)
	}
	if cause := st.contradicts(m); cause != nil {
		st.contradict(cause)
		return st.refuse(worker.RequestPhaseSkipped, cause)
	}
	switch m.Kind {
	case wire.ResponseHeaders:
		st.fillResponse(m)
		return st.after(st.exchange.ResponseHeaders(s.at == atEnd))
	case wire.RequestBody, wire.ResponseBody:
		return st.after(s.body.take(m))
	}
	st.fillTrailers(s, m)
	return st.after(st.exchange.Trailers(s.direction))
}

// after does what the kernel has decided on the part in hand.
func (st *stream) after(next kernel.Next) flow {
	if next == kernel.PassOn {
		err := st.answer()
		refusal, refused := err.(*kernel.Refusal)
		switch {
		case refused:
			next = st.exchange.Refuse(refusal.Reason, refusal.Cause)
		case err != nil:
			return st.closed(err)
		default:
			return st.next()
		}
	}
	switch next {
	case kernel.Answer:
		return st.respond()
	case kernel.Done:
		return over
	case kernel.Elsewhere:
		return elsewhere
	}
	return st.fail(statusOf(st.exchange.Err()))
}

// next ends the stream if nothing more can come that matters.
func (st *stream) next() flow {
	if st.exchange.Decided() && !st.request.open() && !st.response.open() {
		return over
	}
	return onward
}

// refuse answers with a reason of the engine's own.
func (st *stream) refuse(r worker.Reason, cause worker.Cause) flow {
	return st.after(st.exchange.Refuse(r, cause))
}

// fail ends the stream with an error, which to Envoy means status_on_error.
func (st *stream) fail(err error) flow {
	st.err = err
	return over
}

// errUndecided ends a stream that Envoy ends first. To Envoy a clean end means that the
// message goes on without the engine. A client that goes away has Envoy end the stream
// too, so this is no failure of the engine: its code is Canceled.
var errUndecided = status.Error(codes.Canceled, "the stream ended before the policies had decided")

// closed ends a stream that Envoy has ended, or that has broken. The engine ends a
// stream itself when nothing is left to decide, so something is left here, except on a
// stream that only waits for its handler, or whose answers Envoy does not read.
func (st *stream) closed(err error) flow {
	switch {
	case err != io.EOF && status.Code(err) != codes.Canceled:
		return st.fail(err)
	case st.stage >= decided:
		return over
	}
	st.exchange.CutShort()
	if st.exchange.Observed() {
		return over
	}
	return st.fail(errUndecided)
}

// afterwards handles a message that comes when all is decided, on a stream that cannot be
// ended yet.
func (st *stream) afterwards(m *wire.Message) flow {
	switch {
	case st.stage == answered:
		return onward
	case m.Kind == wire.None:
		return st.fail(errNothing)
	case st.exchange.Observed():
		return onward
	}
	if err := st.pass(); err != nil {
		return st.closed(err)
	}
	return onward
}

// turnedAway handles a message of which the body was not read.
func (st *stream) turnedAway(err error) flow {
	st.exchange.Arrive()
	f := st.turnAway(err)
	st.count(f)
	return f
}

func (st *stream) turnAway(err error) flow {
	m := &st.reader.in
	d := st.sideOf(m.Kind).direction
	switch {
	case st.stage == answered:
		return onward
	case st.stage == decided:
		// The body was to pass, and cannot.
		st.service.kernel.Options().Memory.Refuse()
		return st.fail(status.Error(codes.ResourceExhausted, err.Error()))
	case m.Kind != wire.None && st.stage == fresh:
		return st.refuse(worker.RequestPhaseSkipped, errBodyFirst)
	case err == errOverLimit:
		return st.after(st.exchange.TooLarge(d))
	}
	return st.after(st.exchange.Overloaded(d))
}

// count counts the message in hand, unless another goroutine has it now.
func (st *stream) count(f flow) {
	if m := &st.reader.in; f != elsewhere && m.Kind != wire.None {
		st.service.kernel.Options().Streams.Parts[m.Kind-wire.RequestHeaders].Observe(st.exchange.SinceArrival())
	}
}

// maxKept bounds the storage for headers that a stream keeps for the next exchange,
// in fields. Few messages have as many.
const maxKept = 1024

// recycle makes the stream ready for another exchange and keeps its storage.
func (st *stream) recycle() {
	st.reply.Release()
	fields, headers := st.reader.in.Fields, st.immediate.Headers
	clear(fields)
	clear(headers)
	*st = stream{service: st.service, done: st.done}
	if cap(fields) <= maxKept {
		st.reader.in.Fields = fields[:0]
	}
	if cap(headers) <= maxKept {
		st.immediate.Headers = headers[:0]
	}
}
