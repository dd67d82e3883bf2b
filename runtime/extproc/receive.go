package extproc

import (
	"encoding/binary"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"

	"policyengine.dev/runtime/extproc/wire"
	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/runtime/worker"
)

// Messages are read from grpc's transport by their length, which comes first, rather than
// by RecvMsg, which returns a message when all of it is in memory. So a body is refused
// before it is buffered, and a large one is copied once, piece by piece, from grpc's
// buffers to where policies read it. See docs/decisions/memory.md.

// rawStream is the part of grpc's server stream that RecvMsg reads from.
type rawStream interface {
	// ReadMessageHeader fills header with the five bytes in front of a message.
	ReadMessageHeader(header []byte) error
	// Read returns the next n bytes.
	Read(n int) (mem.BufferSlice, error)
}

const (
	// smallMessage is the size up to which a message is read at once. Larger ones
	// are taken from the account before they are read.
	smallMessage = 16 << 10
	// readPiece is how much of a large body is in grpc's buffers at a time.
	readPiece = 256 << 10
	// maxTail bounds what may follow the bytes of a large body.
	maxTail = 64 << 10
)

var (
	// errNoRoom says that a message is over limits.memory, and errOverLimit that a
	// body is over its own limit. The rest of the message has not been read.
	errNoRoom    = errors.New("no memory is left for the message")
	errOverLimit = errors.New("the body is over its limit")

	errCompressed = status.Error(codes.Unimplemented, "compressed messages are not supported")
	errTooLong    = status.Error(codes.ResourceExhausted, "the message is longer than this engine takes")
	errTail       = status.Error(codes.InvalidArgument, "too much follows the body of a message")
	errCutOff     = status.Error(codes.Internal, "the message is cut off")
)

// newRawStream returns what RecvMsg reads from, or nil where the stream is not grpc's.
func newRawStream(ss grpc.ServerStream) rawStream {
	raw, _ := grpc.ServerTransportStreamFromContext(ss.Context()).(rawStream)
	return raw
}

// fetch reads the next message into st.in. Besides those of grpc the errors are
// errNoRoom and errOverLimit.
func (st *stream) fetch() error {
	st.giveHand()
	st.in.Scratch = st.scratch()
	if st.raw == nil {
		if err := st.grpc.RecvMsg(&st.in); err != nil {
			return err
		}
		return st.takeHand(int64(len(st.in.Body)))
	}
	if err := st.discard(); err != nil {
		return err
	}
	if err := st.raw.ReadMessageHeader(st.prefix[:]); err != nil {
		return received(err)
	}
	if st.prefix[0] != 0 {
		return errCompressed
	}
	n := int64(binary.BigEndian.Uint32(st.prefix[1:]))
	if n <= smallMessage {
		if err := st.readWhole(int(n)); err != nil {
			return err
		}
		return st.takeHand(int64(len(st.in.Body)))
	}
	return st.readLarge(n)
}

// scratch is storage for the next message's body, where that is a piece which is only
// copied to what has been gathered; nil where it may be kept.
func (st *stream) scratch() []byte {
	q, s := &st.request, &st.response
	gathers := q.gathering && q.bodyPhases() != 0 && s.at == atStart ||
		s.gathering && s.bodyPhases() != 0 && q.at == atEnd
	switch {
	case !gathers:
		return nil
	case st.in.Scratch != nil:
		return st.in.Scratch
	}
	return make([]byte, smallMessage)
}

// readWhole reads a message of n bytes at once.
func (st *stream) readWhole(n int) error {
	data, err := st.raw.Read(n)
	if err != nil {
		return cutOff(err)
	}
	defer data.Free()
	if err := (wire.Codec{}).Unmarshal(data, &st.in); err != nil {
		return status.Errorf(codes.Internal, "reading a message: %v", err)
	}
	return nil
}

// readLarge reads a message of n bytes, which may be too many.
func (st *stream) readLarge(n int64) error {
	first, err := st.raw.Read(smallMessage)
	if err != nil {
		return cutOff(err)
	}
	defer first.Free()
	st.unread = n - smallMessage
	var start [wire.MaxBodyHead]byte
	head, ok := wire.ReadBodyHead(start[:copyOut(start[:], first)], int(n))
	switch size := int64(head.End - head.Start); {
	case !ok:
		return st.readOdd(n, first)
	case st.overLimit(head.Kind, size):
		st.in.Body, st.in.Kind = nil, head.Kind
		return errOverLimit
	case n > st.kernel.options.MaxMessage:
		return errTooLong
	case n-int64(head.End) > maxTail:
		return errTail
	default:
		if err := st.takeHand(size); err != nil {
			st.in.Body, st.in.Kind = nil, head.Kind
			return err
		}
	}
	r := wire.NewBodyReader(head, st.in.Scratch)
	for _, b := range first {
		r.Add(b.ReadOnlyData())
	}
	for st.unread > 0 {
		data, err := st.read(readPiece)
		if err != nil {
			return err
		}
		for _, b := range data {
			r.Add(b.ReadOnlyData())
		}
		data.Free()
	}
	if err := r.Decode(&st.in); err != nil {
		return status.Errorf(codes.Internal, "reading a message: %v", err)
	}
	return nil
}

// readOdd reads a large message that is not a plain body: headers, as a rule.
func (st *stream) readOdd(n int64, first mem.BufferSlice) error {
	st.in.Kind = wire.None
	if n > st.kernel.options.MaxMessage {
		return errTooLong
	}
	// The message is in memory twice while it is decoded, and once from then on.
	if err := st.takeHand(2 * n); err != nil {
		return err
	}
	whole := make([]byte, n)
	at := copyOut(whole, first)
	for st.unread > 0 {
		data, err := st.read(readPiece)
		if err != nil {
			return err
		}
		at += copyOut(whole[at:], data)
		data.Free()
	}
	if err := wire.Decode(whole, &st.in); err != nil {
		return status.Errorf(codes.Internal, "reading a message: %v", err)
	}
	st.kernel.options.Memory.Give(n)
	st.hand -= n
	st.keep()
	return nil
}

// read reads most bytes of the message in hand, or what is left of it.
func (st *stream) read(most int64) (mem.BufferSlice, error) {
	n := min(most, st.unread)
	data, err := st.raw.Read(int(n))
	if err != nil {
		return nil, cutOff(err)
	}
	st.unread -= n
	return data, nil
}

// discard reads what is left of a message that was refused.
func (st *stream) discard() error {
	for st.unread > 0 {
		data, err := st.read(readPiece)
		if err != nil {
			return err
		}
		data.Free()
	}
	return nil
}

// received is an error of grpc's transport as RecvMsg would return it.
func received(err error) error {
	if err == io.EOF {
		return err
	}
	if err == io.ErrUnexpectedEOF {
		return errCutOff
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	return status.Error(codes.Unavailable, err.Error())
}

// cutOff is an error in the midst of a message.
func cutOff(err error) error {
	if err == io.EOF {
		return errCutOff
	}
	return received(err)
}

// copyOut copies data into to and returns how much fits.
func copyOut(to []byte, data mem.BufferSlice) int {
	n := 0
	for _, b := range data {
		n += copy(to[n:], b.ReadOnlyData())
	}
	return n
}

// overLimit reports whether a body of that size, or what there is of it already with
// that many bytes more, is larger than policies can be given.
func (st *stream) overLimit(k wire.Kind, size int64) bool {
	s := &st.request
	if k.IsResponse() {
		s = &st.response
	}
	return st.x != nil && s.whole && s.bodyPhases() != 0 && size+int64(len(s.gathered)) > st.bodyLimit()
}

// turnAway answers a message of which the body was not read.
func (st *stream) turnAway(err error) verdict {
	m, s := &st.in, &st.request
	if m.Kind.IsResponse() {
		s = &st.response
	}
	switch {
	case st.responded:
		return proceed
	case st.drained:
		// The body was to pass, and cannot.
		st.kernel.options.Memory.Refuse()
		return st.fail(status.Error(codes.ResourceExhausted, err.Error()))
	case m.Kind != wire.None && !st.begun:
		return st.refuse(worker.RequestPhaseSkipped, errBodyFirst)
	case err == errOverLimit:
		return st.tooLarge(s, telemetry.LengthReceived, 0)
	}
	return st.overloaded(s)
}

// overloaded refuses a message for want of memory.
func (st *stream) overloaded(s *side) verdict {
	st.kernel.options.Memory.Refuse()
	if s.base.IsResponse() {
		return st.refuse(worker.ResponseOverloaded, errNoMemory)
	}
	return st.refuse(worker.Overloaded, errNoMemory)
}

// takeHand takes n bytes for the message in hand. They are given back when the next
// message is read, unless st.keep is called. The error is errNoRoom.
func (st *stream) takeHand(n int64) error {
	if !st.kernel.options.Memory.Take(n) {
		return errNoRoom
	}
	st.hand += n
	return nil
}

// keep has what was taken for the message in hand stay taken until the stream ends.
func (st *stream) keep() { st.kept, st.hand = st.kept+st.hand, 0 }

func (st *stream) giveHand() {
	st.kernel.options.Memory.Give(st.hand)
	st.hand = 0
}

// takeKept takes n bytes until the stream ends, and reports false where there is no
// room for them.
func (st *stream) takeKept(n int64) bool {
	if !st.kernel.options.Memory.Take(n) {
		return false
	}
	st.kept += n
	return true
}

// addKept takes n bytes that are in memory already.
func (st *stream) addKept(n int64) {
	st.kernel.options.Memory.Add(n)
	st.kept += n
}

// takeHeld takes what chunk steps hold back now, and gives back what they do no more. It
// reports false where there is no room for it.
func (st *stream) takeHeld() bool {
	if !st.needs.HoldsRequestChunks && !st.needs.HoldsResponseChunks {
		return true
	}
	now := st.x.Held()
	if now > st.held {
		if !st.kernel.options.Memory.Take(now - st.held) {
			return false
		}
	} else {
		st.kernel.options.Memory.Give(st.held - now)
	}
	st.held = now
	return true
}

// giveAll gives back all that the stream has taken.
func (st *stream) giveAll() {
	st.kernel.options.Memory.Give(st.hand + st.kept + st.held)
	st.hand, st.kept, st.held = 0, 0, 0
}
