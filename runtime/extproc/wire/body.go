package wire

import (
	"errors"
	"slices"
	"strings"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"
)

// A body is most of its message. So that it is copied once, from grpc's buffers to where
// policies read it, a large one is read in three parts: what is in front of the bytes,
// the bytes, and what follows them. The first and the last are the message without its
// body, which is decoded like any other.

// MaxBodyHead bounds what is in front of the bytes of a body: two tags with lengths.
const MaxBodyHead = 2 * (1 + 5)

// BodyHead is what a message says in front of the bytes of a body.
type BodyHead struct {
	// Kind is RequestBody or ResponseBody.
	Kind Kind
	// Start and End are where in the message the bytes are.
	Start, End int
	// part is where the HttpBody ends.
	part int
}

// ReadBodyHead reads the head of a body from the beginning of a message that has total
// bytes. ok is false where the message does not begin with a body in the plain form in
// which Envoy sends it.
func ReadBodyHead(b []byte, total int) (h BodyHead, ok bool) {
	if len(b) == 0 {
		return h, false
	}
	switch b[0] {
	case tag(int(RequestBody), protowire.BytesType):
		h.Kind = RequestBody
	case tag(int(ResponseBody), protowire.BytesType):
		h.Kind = ResponseBody
	default:
		return h, false
	}
	part, ok := lengthAhead(b, 1, total)
	if !ok || part.start >= len(b) || b[part.start] != tag(1, protowire.BytesType) {
		return h, false
	}
	data, ok := lengthAhead(b, part.start+1, part.end)
	h.Start, h.End, h.part = data.start, data.end, part.end
	return h, ok
}

// lengthAhead is length for content of which not all has to be in b.
func lengthAhead(b []byte, i, end int) (s span, ok bool) {
	if i >= len(b) {
		return s, false
	}
	n, l := protowire.ConsumeVarint(b[i:])
	if l < 0 || n > uint64(end-i-l) {
		return s, false
	}
	return span{i + l, i + l + int(n)}, true
}

// BodyReader puts a message with a large body together from its pieces.
type BodyReader struct {
	head BodyHead
	// at is how much of the message has arrived.
	at int
	// The bytes are put into text: a strings.Builder is what allocates memory
	// without clearing it first, which is a fifth of the cost of a large body.
	// Where they need not last, scratch is their storage.
	text    strings.Builder
	scratch []byte
	tail    []byte
}

// NewBodyReader returns a reader of the message of which h is the head. scratch is that
// of the message that it will be read into.
func NewBodyReader(h BodyHead, scratch []byte) *BodyReader {
	r := &BodyReader{head: h}
	if scratch == nil {
		r.text.Grow(h.End - h.Start)
	} else {
		r.scratch = slices.Grow(scratch[:0], h.End-h.Start)
	}
	return r
}

// Add adds the next piece of the message, which is not kept.
func (r *BodyReader) Add(piece []byte) {
	begin, end := r.at, r.at+len(piece)
	r.at = end
	if from, to := max(begin, r.head.Start), min(end, r.head.End); from < to {
		if b := piece[from-begin : to-begin]; r.scratch == nil {
			r.text.Write(b)
		} else {
			r.scratch = append(r.scratch, b...)
		}
	}
	if end > r.head.End {
		r.tail = append(r.tail, piece[max(begin, r.head.End)-begin:]...)
	}
}

var errBodyForm = errors.New("a message with a large body in a form that Envoy does not send")

// Decode reads into m the message of which all pieces have been added. It gives an error
// for a message that says twice what its body is; otherwise it reads what [Decode]
// would. The reader must not be used afterwards.
func (r *BodyReader) Decode(m *Message) error {
	inner := r.head.part - r.head.End
	if inner > len(r.tail) || !bodyOnce(r.tail[:inner], 1, 1) || !bodyOnce(r.tail[inner:], byte(RequestHeaders), byte(ResponseTrailers)) {
		return errBodyForm
	}
	// The same message without its bytes.
	rest := make([]byte, 0, MaxBodyHead+len(r.tail))
	rest = append(rest, tag(int(r.head.Kind), protowire.BytesType))
	rest = protowire.AppendVarint(rest, uint64(inner))
	rest = append(rest, r.tail...)
	if err := Decode(rest, m); err != nil {
		return err
	}
	if r.scratch != nil {
		m.Scratch, m.Body = r.scratch, r.scratch
		return nil
	}
	// The string is nobody else's: its bytes may be written to.
	text := r.text.String()
	if m.Body = []byte{}; text == "" {
		return nil
	}
	m.Body = unsafe.Slice(unsafe.StringData(text), len(text))
	return nil
}

// bodyOnce reports whether b has no field whose number is between from and to.
func bodyOnce(b []byte, from, to byte) bool {
	for len(b) > 0 {
		number, _, n := protowire.ConsumeField(b)
		if n < 0 || protowire.Number(from) <= number && number <= protowire.Number(to) {
			return false
		}
		b = b[n:]
	}
	return true
}
