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
	"policyengine.dev/runtime/kernel"
	"policyengine.dev/runtime/memory"
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
	errOverLimit = errors.New("the body exceeds its limit")

	errCompressed = status.Error(codes.Unimplemented, "compressed messages are not supported")
	errTooLong    = status.Error(codes.ResourceExhausted, "the message is longer than this engine takes")
	errTail       = status.Error(codes.InvalidArgument, "too much follows the body of a message")
	errCutOff     = status.Error(codes.Internal, "the message is cut off")
)

// owner is what a reader needs to know of the exchange that it reads for.
type owner interface {
	// copies reports whether the body of the next message is copied to what was gathered,
	// so that its storage can be used again.
	copies() bool
	// exceeds reports whether a body is larger than policies can be given.
	exceeds(k wire.Kind, size int64) bool
	// keeps takes n bytes of the memory account over, until the exchange is over.
	keeps(n int64)
}

// reader reads the messages of one stream.
type reader struct {
	owner   owner
	grpc    grpc.ServerStream
	account *memory.Account
	// longest bounds a message, in bytes.
	longest int64
	// raw is what messages are read from; nil if grpc's RecvMsg is used. prefix is
	// what comes in front of a message, and unread how much of the message in hand is
	// still to be read.
	raw    rawStream
	prefix [5]byte
	unread int64
	// hand is what was taken from the account for the message in hand, in bytes.
	hand int64
	in   wire.Message
}

func (r *reader) begin(ss grpc.ServerStream, o owner, account *memory.Account, longest int64) {
	r.owner, r.grpc, r.account, r.longest = o, ss, account, longest
	// nil if the stream is not grpc's.
	r.raw, _ = grpc.ServerTransportStreamFromContext(ss.Context()).(rawStream)
}

// next reads the next message into r.in. Besides those of grpc the errors are errNoRoom
// and errOverLimit.
func (r *reader) next() error {
	r.give()
	r.in.Scratch = r.scratch()
	if r.raw == nil {
		if err := r.grpc.RecvMsg(&r.in); err != nil {
			return err
		}
		return r.take(int64(len(r.in.Body)))
	}
	if err := r.discard(); err != nil {
		return err
	}
	if err := r.raw.ReadMessageHeader(r.prefix[:]); err != nil {
		return received(err)
	}
	if r.prefix[0] != 0 {
		return errCompressed
	}
	n := int64(binary.BigEndian.Uint32(r.prefix[1:]))
	if n <= smallMessage {
		if err := r.readWhole(int(n)); err != nil {
			return err
		}
		return r.take(int64(len(r.in.Body)))
	}
	return r.readLarge(n)
}

// scratch is storage for the next message's body if that is only copied; nil if policies
// may keep it.
func (r *reader) scratch() []byte {
	switch {
	case !r.owner.copies():
		return nil
	case r.in.Scratch != nil:
		return r.in.Scratch
	}
	return make([]byte, smallMessage)
}

// readWhole reads a message of n bytes at once.
func (r *reader) readWhole(n int) error {
	data, err := r.raw.Read(n)
	if err != nil {
		return cutOff(err)
	}
	defer data.Free()
	if err := (wire.Codec{}).Unmarshal(data, &r.in); err != nil {
		return status.Errorf(codes.Internal, "reading a message: %v", err)
	}
	return nil
}

// readLarge reads a message of n bytes, which may be too many.
func (r *reader) readLarge(n int64) error {
	first, err := r.raw.Read(smallMessage)
	if err != nil {
		return cutOff(err)
	}
	defer first.Free()
	r.unread = n - smallMessage
	var start [wire.MaxBodyHead]byte
	head, ok := wire.ReadBodyHead(start[:copyOut(start[:], first)], int(n))
	switch size := int64(head.End - head.Start); {
	case !ok:
		return r.readOdd(n, first)
	case r.owner.exceeds(head.Kind, size):
		r.in.Body, r.in.Kind = nil, head.Kind
		return errOverLimit
	case n > r.longest:
		return errTooLong
	case n-int64(head.End) > maxTail:
		return errTail
	default:
		if err := r.take(size); err != nil {
			r.in.Body, r.in.Kind = nil, head.Kind
			return err
		}
	}
	body := wire.NewBodyReader(head, r.in.Scratch)
	for _, b := range first {
		body.Add(b.ReadOnlyData())
	}
	for r.unread > 0 {
		data, err := r.read(readPiece)
		if err != nil {
			return err
		}
		for _, b := range data {
			body.Add(b.ReadOnlyData())
		}
		data.Free()
	}
	if err := body.Decode(&r.in); err != nil {
		return status.Errorf(codes.Internal, "reading a message: %v", err)
	}
	return nil
}

// readOdd reads a large message that is not a plain body: headers, as a rule.
func (r *reader) readOdd(n int64, first mem.BufferSlice) error {
	r.in.Kind = wire.None
	if n > r.longest {
		return errTooLong
	}
	// The message is in memory twice while it is decoded, and once from then on.
	if err := r.take(2 * n); err != nil {
		return err
	}
	whole := make([]byte, n)
	at := copyOut(whole, first)
	for r.unread > 0 {
		data, err := r.read(readPiece)
		if err != nil {
			return err
		}
		at += copyOut(whole[at:], data)
		data.Free()
	}
	if err := wire.Decode(whole, &r.in); err != nil {
		return status.Errorf(codes.Internal, "reading a message: %v", err)
	}
	r.account.Give(n)
	r.hand -= n
	r.keep()
	return nil
}

// read reads most bytes of the message in hand, or what is left of it.
func (r *reader) read(most int64) (mem.BufferSlice, error) {
	n := min(most, r.unread)
	data, err := r.raw.Read(int(n))
	if err != nil {
		return nil, cutOff(err)
	}
	r.unread -= n
	return data, nil
}

// discard reads what is left of a message that was refused.
func (r *reader) discard() error {
	for r.unread > 0 {
		data, err := r.read(readPiece)
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

// take takes n bytes from the account for the message in hand. They are given back when
// the next message is read, unless keep is called. The error is errNoRoom.
func (r *reader) take(n int64) error {
	if !r.account.Take(n) {
		return errNoRoom
	}
	r.hand += n
	return nil
}

// keep leaves what was taken for the message in hand to the exchange.
func (r *reader) keep() {
	r.owner.keeps(r.hand)
	r.hand = 0
}

// give gives back what was taken for the message in hand.
func (r *reader) give() {
	r.account.Give(r.hand)
	r.hand = 0
}

// copies implements owner: gathered pieces are copied, as long as nothing else can come
// in between.
func (st *stream) copies() bool {
	e, q, s := &st.exchange, &st.request, &st.response
	return e.Gathers(kernel.Request) && e.BodyPending(kernel.Request) && s.at == atStart ||
		e.Gathers(kernel.Response) && e.BodyPending(kernel.Response) && q.at == atEnd
}

// exceeds implements owner.
func (st *stream) exceeds(k wire.Kind, size int64) bool {
	return st.exchange.Exceeds(st.sideOf(k).direction, size)
}

// keeps implements owner.
func (st *stream) keeps(n int64) { st.exchange.Keep(n) }
