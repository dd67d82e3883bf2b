package extproc

import (
	"policyengine.dev/runtime/extproc/wire"
	"policyengine.dev/runtime/kernel"
	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
)

// body carries the body of one direction, by the mode in which Envoy sends it. There is an
// implementation for each mode, the same for requests and responses: [none], [streamed],
// [buffered] and [duplex].
type body interface {
	// take brings the body message in hand to the kernel.
	take(m *wire.Message) kernel.Next
	// headers answers the headers of the direction, after their phases.
	headers() error
	// piece answers the body message in hand, after its phases.
	piece() error
	// beforeTrailers sends what has to come before the answer to trailers, after a
	// phase of the body ran for them. answered says that Envoy expects no other answer.
	beforeTrailers() (answered bool, err error)
	// pass lets the body message in hand go on as it is.
	pass(m *wire.Message) error
	// lose says what becomes of a body that policies took away by the status they gave
	// the response: drop has Envoy drop it with the answer to the headers.
	lose() (drop bool, err error)
	// resizes reports whether pieces may change the length of the body after its
	// headers were answered.
	resizes() bool
}

// none is a body that Envoy does not show. What there is of it goes past the engine.
type none struct{ *side }

func (b none) take(m *wire.Message) kernel.Next {
	return b.stream.exchange.Body(b.direction, m.Body, b.at == atEnd)
}

func (b none) headers() error { return b.stream.answerHeaders(b.side, b.at == atEnd) }

func (b none) piece() error { return b.stream.answerPlainly() }

// beforeTrailers implements body: the answer to trailers cannot change what came before
// them.
func (b none) beforeTrailers() (answered bool, err error) {
	e := &b.stream.exchange
	if _, filled := e.BodyChanged(b.direction); filled || e.HeadersChanged(b.direction) {
		return false, kernel.Refused(trailersNotSupported(b.direction), errChangedBehind)
	}
	return false, nil
}

func (b none) pass(*wire.Message) error { return b.stream.answerPlainly() }

func (b none) lose() (drop bool, err error) { return b.at != atEnd, nil }

func (b none) resizes() bool { return false }

// streamed is a body of which Envoy sends each piece and waits for the answer to it. A
// piece can be replaced or emptied, but not held back beyond the trailers.
type streamed struct{ none }

func (b streamed) piece() error {
	st := b.stream
	if !st.exchange.Ran() {
		return st.answerPlainly()
	}
	st.reply.Reset(st.reader.in.Kind)
	st.tell()
	if c := st.exchange.Chunk(); c.Changed {
		st.reply.ReplaceBody(c.Data)
	}
	return st.send()
}

func (b streamed) beforeTrailers() (answered bool, err error) {
	if len(b.stream.exchange.Chunk().Data) > 0 {
		return false, kernel.Refused(trailersNotSupported(b.direction), errHeldBehind)
	}
	return false, nil
}

func (b streamed) resizes() bool { return true }

// buffered is a body that Envoy holds until all of it has arrived. It holds the headers too,
// so that they can be changed with the body.
type buffered struct{ none }

func (b buffered) take(m *wire.Message) kernel.Next {
	st := b.stream
	if st.exchange.BodyPending(b.direction) {
		// Policies may look at it until the exchange is over.
		st.reader.keep()
	}
	return b.none.take(m)
}

func (b buffered) piece() error {
	st := b.stream
	if !st.exchange.Ran() {
		return st.answerPlainly()
	}
	st.reply.Reset(st.reader.in.Kind)
	data, changed, err := st.exchange.WholeBodyWithLength(b.direction)
	if err != nil {
		return err
	}
	if changed {
		st.reply.ReplaceBody(data)
	}
	if err := st.changeHeaders(b.side); err != nil {
		return err
	}
	return st.send()
}

func (b buffered) lose() (drop bool, err error) {
	return b.at != atEnd && !b.stream.exchange.BodyPending(b.direction), nil
}

func trailersNotSupported(d kernel.Direction) worker.Reason {
	if d.IsResponse() {
		return worker.ResponseTrailersNotSupported
	}
	return worker.TrailersNotSupported
}

// dropBody has Envoy drop the body of the response whose headers are being answered. Envoy
// shows nothing more of it.
func (st *stream) dropBody(s *side) error {
	if st.exchange.Pending(s.direction).Has(policy.ResponseTrailers) {
		// Its trailers would pass without the policies that want them.
		return kernel.Refused(worker.FilterCannotServeChain, errNotRemovable)
	}
	st.exchange.ForgetBody()
	st.reply.ReplaceBody(nil)
	st.reply.ReplaceMessage()
	return st.send()
}

var (
	errNotRemovable   = kernel.NewCause(telemetry.BodyNotRemovable, "a policy set a status that has no body, and Envoy cannot remove the body of this response, because policies use its trailers or it is sent in full duplex")
	errChangedBehind  = kernel.NewCause(telemetry.BehindTrailers, "the message has trailers and no body, and policies changed its headers or body, which Envoy supports only in full duplex")
	errHeldBehind     = kernel.NewCause(telemetry.BehindTrailers, "policies still held back a part of the body when its trailers came; Envoy can send that part before the trailers only in full duplex")
	errTrailersBehind = kernel.NewCause(telemetry.BehindTrailers, "the message has trailers and no body, and policies added a body and changed the trailers; Envoy can do only one of the two")
)
