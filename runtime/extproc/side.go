package extproc

import (
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"policyengine.dev/runtime/extproc/negotiate"
	"policyengine.dev/runtime/extproc/wire"
	"policyengine.dev/runtime/kernel/coding"
	"policyengine.dev/sdk/policy"
)

// side is the state of one direction of an exchange: the request or the response.
type side struct {
	// base is the direction's headers phase.
	base policy.Phase
	// shown is what Envoy shows of it.
	shown negotiate.Side
	// pending are the chain's phases that have not run and may still.
	pending policy.PhaseSet
	at      progress
	// whole says that the body phases run once, on the whole body, and seen that
	// they have.
	whole, seen bool
	// gathering says that the pieces of the body are put together here, and
	// that the answer to the headers waits for the end. gathered is the body so
	// far.
	gathering bool
	gathered  []byte
	// codings are those in which the body comes, or codingErr says why that
	// cannot be told; decoded says that they were undone for the policies.
	codings   coding.Codings
	codingErr error
	decoded   bool
}

// progress is how far a message has come.
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

// settle notes how the body comes, now that it is settled what is shown.
func (s *side) settle(d negotiate.Side) {
	s.whole = d.Body == wire.BodyBuffered || s.shown.Body == wire.BodyBuffered
	s.gathering = d.Body == wire.BodyBuffered && s.shown.Body != wire.BodyBuffered
}

// bodyPhases are the direction's phases that need the body.
func (s *side) bodyPhases() policy.PhaseSet {
	return s.pending & policy.Phases(s.base+toBody, s.base+toChunks)
}

// open reports that Envoy waits for a body in full duplex, of which what has been
// sent is lost if the stream ends.
func (s *side) open() bool { return s.shown.Body == wire.BodyFullDuplex && s.at != atEnd }
