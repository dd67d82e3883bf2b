package extproc

import (
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"policyengine.dev/runtime/extproc/negotiate"
	"policyengine.dev/runtime/extproc/wire"
	"policyengine.dev/runtime/kernel"
)

// side is what the stream knows of one direction of its exchange.
type side struct {
	stream    *stream
	direction kernel.Direction
	at        progress
	// shown is what Envoy shows of the direction, and body how its body comes and goes.
	shown negotiate.Side
	body  body
}

// progress is how far a direction has got.
type progress uint8

const (
	atStart progress = iota
	atHeaders
	atBody
	atEnd
)

var (
	errNothing  = status.Error(codes.InvalidArgument, "a message with nothing in it")
	errSequence = status.Error(codes.InvalidArgument, "a message out of sequence")
)

func (s *side) begin(st *stream, d kernel.Direction) {
	s.stream, s.direction = st, d
	s.body = none{s}
}

// sideOf is the side that a message belongs to.
func (st *stream) sideOf(k wire.Kind) *side {
	if k.IsResponse() {
		return &st.response
	}
	return &st.request
}

// accept moves the side on to the part that m is, or says that it cannot come now.
func (s *side) accept(m *wire.Message) error {
	switch m.Kind {
	case wire.None:
		return errNothing
	case wire.RequestHeaders, wire.ResponseHeaders:
		if s.at != atStart {
			return errSequence
		}
		s.at = atHeaders
	case wire.RequestBody, wire.ResponseBody:
		if s.at == atEnd {
			return errSequence
		}
		s.at = atBody
	case wire.RequestTrailers, wire.ResponseTrailers:
		if s.at == atEnd {
			return errSequence
		}
		s.at = atEnd
	}
	if m.EndOfStream {
		s.at = atEnd
	}
	return nil
}

// show notes what Envoy shows of the direction.
func (s *side) show(shown negotiate.Side) {
	s.shown = shown
	switch shown.Body {
	case wire.BodyStreamed, wire.BodyBufferedPartial:
		s.body = streamed{none{s}}
	case wire.BodyBuffered:
		s.body = buffered{none{s}}
	case wire.BodyFullDuplex:
		s.body = duplex{s}
	default:
		s.body = none{s}
	}
}

// open reports that Envoy waits for a body in full duplex, of which what has been sent is
// lost if the stream ends.
func (s *side) open() bool { return s.shown.Body == wire.BodyFullDuplex && s.at != atEnd }

// headersKind and bodyKind are the kinds of the direction's messages.
func (s *side) headersKind() wire.Kind {
	if s.direction.IsResponse() {
		return wire.ResponseHeaders
	}
	return wire.RequestHeaders
}

func (s *side) bodyKind() wire.Kind {
	if s.direction.IsResponse() {
		return wire.ResponseBody
	}
	return wire.RequestBody
}
