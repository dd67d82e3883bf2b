package wire

import (
	"errors"

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

var errBodyForm = errors.New("a message with a large body in a form that Envoy does not send")

// DecodeBody reads into m the message of which h is the head, body the bytes, which m
// keeps, and tail what follows them. It gives an error for a message that says twice
// what its body is; otherwise it reads what [Decode] would.
func DecodeBody(h BodyHead, body, tail []byte, m *Message) error {
	inner := h.part - h.End
	if inner > len(tail) || !bodyOnce(tail[:inner], 1, 1) || !bodyOnce(tail[inner:], byte(RequestHeaders), byte(ResponseTrailers)) {
		return errBodyForm
	}
	// The same message without its bytes.
	rest := make([]byte, 0, MaxBodyHead+len(tail))
	rest = append(rest, tag(int(h.Kind), protowire.BytesType))
	rest = protowire.AppendVarint(rest, uint64(inner))
	rest = append(rest, tail...)
	if err := Decode(rest, m); err != nil {
		return err
	}
	m.Body = body
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
