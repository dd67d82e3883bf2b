package wire

import (
	"math/bits"
	"sync"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// Reply composes one ProcessingResponse that lets the message go on, with or
// without changes. Begin it with [Reply.Reset], add to it, and take the result with
// [Reply.Finish]. It implements exchange.ChangeVisitor. Not safe for concurrent use.
//
// Names and values have to be valid for HTTP; the caller sees to it. Values are
// sent in raw_value alone, and append says the same as append_action: Envoy reads
// the one and ignores the other.
type Reply struct {
	kind Kind
	// buf has room in front for what encloses the header mutation; its
	// entries follow.
	buf *[]byte
	// sets and removes count the entries of the header mutation.
	sets, removes int
	emptyMutation bool
	clearRoute    bool
	replaceAll    bool
	override      *ModeOverride
	metadata      []byte
	body          bodyMutation
	data          []byte
	endOfStream   bool
}

type bodyMutation uint8

const (
	bodyKept bodyMutation = iota
	bodyReplaced
	bodyCleared
	bodyStreamed
)

// room is what may have to be written in front of the header mutation's entries:
// three tags of one byte, each with a length of five bytes at most.
const room = 3 * (1 + 5)

// bufferSize is above grpc's threshold for pooling.
const bufferSize = 2 << 10

// maxPooledBuffer bounds what a buffer may have grown to and be kept.
const maxPooledBuffer = 64 << 10

type replyBuffers struct{ pool sync.Pool }

// buffers hands grpc the memory of replies; grpc gives it back when it is sent.
var buffers = &replyBuffers{sync.Pool{New: func() any {
	b := make([]byte, 0, bufferSize)
	return &b
}}}

// Get implements mem.BufferPool.
func (p *replyBuffers) Get(length int) *[]byte {
	b := p.pool.Get().(*[]byte)
	if cap(*b) < length {
		*b = make([]byte, length)
	}
	*b = (*b)[:length]
	return b
}

// Put implements mem.BufferPool.
func (p *replyBuffers) Put(b *[]byte) {
	if cap(*b) <= maxPooledBuffer {
		p.pool.Put(b)
	}
}

// Reset begins a reply to a message of kind k.
func (r *Reply) Reset(k Kind) {
	buf := r.buf
	*r = Reply{kind: k, buf: buf}
	if buf != nil {
		*buf = (*buf)[:room]
	}
}

// Release leaves r empty, and gives up a reply that was begun and not taken.
func (r *Reply) Release() {
	if r.buf != nil {
		buffers.Put(r.buf)
	}
	*r = Reply{}
}

// Changes is the number of header entries so far, set and removed.
func (r *Reply) Changes() (sets, removes int) { return r.sets, r.removes }

// entries is the buffer, which it makes where there is none.
func (r *Reply) entries() []byte {
	if r.buf == nil {
		r.buf = buffers.Get(room)
	}
	return *r.buf
}

// SetHeader implements exchange.ChangeVisitor.
func (r *Reply) SetHeader(name, value string, add bool) {
	b := r.entries()
	*r.buf = appendSetHeader(b, name, value, add)
	r.sets++
}

// RemoveHeader implements exchange.ChangeVisitor.
func (r *Reply) RemoveHeader(name string) {
	b := r.entries()
	b = append(b, tag(2, protowire.BytesType))
	b = protowire.AppendString(b, name)
	*r.buf = b
	r.removes++
}

// appendSetHeader appends an entry of HeaderMutation.set_headers.
func appendSetHeader(b []byte, name, value string, add bool) []byte {
	// HeaderValue{key = 1, raw_value = 3}
	header := bytesSize(len(name)) + bytesSize(len(value))
	// HeaderValueOption{header = 1, append = 2, append_action = 3}: a
	// BoolValue that is false is an empty message, and appending is the zero
	// value of append_action.
	option := bytesSize(header) + 4
	b = append(b, tag(1, protowire.BytesType))
	b = protowire.AppendVarint(b, uint64(option))
	b = append(b, tag(1, protowire.BytesType))
	b = protowire.AppendVarint(b, uint64(header))
	b = append(b, tag(1, protowire.BytesType))
	b = protowire.AppendString(b, name)
	b = append(b, tag(3, protowire.BytesType))
	b = protowire.AppendString(b, value)
	if add {
		return append(b, tag(2, protowire.BytesType), 2, tag(1, protowire.VarintType), 1)
	}
	return append(b, tag(2, protowire.BytesType), 0, tag(3, protowire.VarintType), overwriteIfExistsOrAdd)
}

// overwriteIfExistsOrAdd is HeaderValueOption's append_action.
const overwriteIfExistsOrAdd = 2

// ClearRouteCache asks Envoy to choose the route again. Envoy heeds it only beside a
// header mutation, so there will be one, if need be an empty one.
func (r *Reply) ClearRouteCache() { r.clearRoute, r.emptyMutation = true, true }

// ReplaceBody puts data, which is kept until the reply is sent and must not be
// modified, in the body's place.
func (r *Reply) ReplaceBody(data []byte) {
	if len(data) == 0 {
		r.body = bodyCleared
		return
	}
	r.body, r.data = bodyReplaced, data
}

// ReplaceMessage says that the body of [Reply.ReplaceBody] takes the place of all
// that follows the headers, which Envoy shows no more (CONTINUE_AND_REPLACE). It
// counts in replies to headers only.
func (r *Reply) ReplaceMessage() { r.replaceAll = true }

// StreamBody is a piece of the body in FULL_DUPLEX_STREAMED mode; data is kept until
// the reply is sent and must not be modified.
func (r *Reply) StreamBody(data []byte, endOfStream bool) {
	r.body, r.data, r.endOfStream = bodyStreamed, data, endOfStream
}

// Override changes the filter's processing mode for this stream; o must not be
// modified afterwards.
func (r *Reply) Override(o *ModeOverride) { r.override = o }

// DynamicMetadata sets the dynamic metadata: a google.protobuf.Struct, which must
// not be modified afterwards.
func (r *Reply) DynamicMetadata(s []byte) { r.metadata = s }

// ModeOverride is a ProcessingMode, encoded. Make one with [NewModeOverride].
type ModeOverride struct{ encoded []byte }

// HeaderMode is ProcessingMode.HeaderSendMode.
type HeaderMode int32

// The header modes.
const (
	HeaderDefault HeaderMode = iota
	HeaderSend
	HeaderSkip
)

// ProcessingMode is what a filter shows to the processor.
type ProcessingMode struct {
	RequestHeaders, ResponseHeaders   HeaderMode
	RequestBody, ResponseBody         BodyMode
	RequestTrailers, ResponseTrailers HeaderMode
}

// NewModeOverride returns m, encoded.
func NewModeOverride(m ProcessingMode) *ModeOverride {
	var b []byte
	for i, v := range []int32{
		int32(m.RequestHeaders), int32(m.ResponseHeaders), int32(m.RequestBody),
		int32(m.ResponseBody), int32(m.RequestTrailers), int32(m.ResponseTrailers),
	} {
		if v != 0 {
			b = append(b, tag(i+1, protowire.VarintType), byte(v))
		}
	}
	return &ModeOverride{b}
}

// plainReplies are the replies that let a message go on unchanged, ready to send.
var plainReplies = func() (all [ResponseTrailers + 1]mem.BufferSlice) {
	for k := RequestHeaders; k <= ResponseTrailers; k++ {
		all[k] = mem.BufferSlice{mem.SliceBuffer{tag(responseField(k), protowire.BytesType), 0}}
	}
	return all
}()

// responseField is the field of ProcessingResponse's oneof that answers k.
func responseField(k Kind) int { return int(k) - 1 }

// Finish returns the reply, which is the caller's to free, and leaves r empty.
func (r *Reply) Finish() mem.BufferSlice {
	if r.isPlain() {
		return plainReplies[r.kind]
	}
	r.entries()
	buf := r.buf
	r.buf = nil
	b := *buf

	start := room
	if mutation := len(b) - room; mutation > 0 || r.emptyMutation {
		// HeaderMutation is field 2 of CommonResponse, and in answers to
		// trailers, which have no CommonResponse, field 1 of TrailersResponse.
		field := 2
		if r.answersTrailers() {
			field = 1
		}
		start = prefix(b, start, field, mutation)
	}
	if !r.answersTrailers() {
		if r.clearRoute {
			b = append(b, tag(5, protowire.VarintType), 1)
		}
		if r.replaceAll {
			b = append(b, tag(1, protowire.VarintType), 1)
		}
		b = r.bodyMutation(b)
		if common := len(b) - start + len(r.data); common > 0 {
			start = prefix(b, start, 1, common)
		}
	}
	start = prefix(b, start, responseField(r.kind), len(b)-start+len(r.data))
	tail := r.tail(&b)

	// What grpc gives back to the pool is the whole buffer; what is sent
	// begins in it at start.
	out := finishBuffer(buf, b, start, tail, r.data)
	*r = Reply{kind: r.kind}
	return out
}

func (r *Reply) answersTrailers() bool { return r.kind >= RequestTrailers }

func (r *Reply) isPlain() bool {
	return r.sets+r.removes == 0 && r.body == bodyKept && !r.emptyMutation && !r.replaceAll &&
		r.override == nil && r.metadata == nil
}

// bodyMutation appends CommonResponse.body_mutation but for the data, which comes
// right after it.
func (r *Reply) bodyMutation(b []byte) []byte {
	n := len(r.data)
	switch r.body {
	case bodyReplaced:
		b = append(b, tag(3, protowire.BytesType))
		b = protowire.AppendVarint(b, uint64(bytesSize(n)))
		b = append(b, tag(1, protowire.BytesType))
		b = protowire.AppendVarint(b, uint64(n))
	case bodyCleared:
		b = append(b, tag(3, protowire.BytesType), 2, tag(2, protowire.VarintType), 1)
	case bodyStreamed:
		streamed := 0
		if n > 0 {
			streamed += bytesSize(n)
		}
		if r.endOfStream {
			streamed += 2
		}
		b = append(b, tag(3, protowire.BytesType))
		b = protowire.AppendVarint(b, uint64(bytesSize(streamed)))
		b = append(b, tag(3, protowire.BytesType))
		b = protowire.AppendVarint(b, uint64(streamed))
		if r.endOfStream {
			b = append(b, tag(2, protowire.VarintType), 1)
		}
		if n > 0 {
			b = append(b, tag(1, protowire.BytesType))
			b = protowire.AppendVarint(b, uint64(n))
		}
	}
	return b
}

// tail appends what follows the oneof. Where body data comes in between it is the
// part of b from the index on that it returns; otherwise that is b's end.
func (r *Reply) tail(b *[]byte) int {
	at := len(*b)
	if r.metadata != nil {
		*b = append(*b, tag(8, protowire.BytesType))
		*b = protowire.AppendBytes(*b, r.metadata)
	}
	if r.override != nil {
		*b = append(*b, tag(9, protowire.BytesType))
		*b = protowire.AppendBytes(*b, r.override.encoded)
	}
	return at
}

// finishBuffer cuts the message out of the buffer and puts the data in its place.
func finishBuffer(buf *[]byte, b []byte, start, tail int, data []byte) mem.BufferSlice {
	if len(data) == 0 {
		copyDown(buf, b, start)
		return mem.BufferSlice{mem.NewBuffer(buf, buffers)}
	}
	var rest mem.SliceBuffer
	if tail < len(b) {
		rest = append(rest, b[tail:]...)
		b = b[:tail]
	}
	copyDown(buf, b, start)
	out := mem.BufferSlice{mem.NewBuffer(buf, buffers), mem.SliceBuffer(data)}
	if rest != nil {
		out = append(out, rest)
	}
	return out
}

// copyDown makes b[start:] the content of buf. The unused room is at most a few
// bytes in front of a few hundred.
func copyDown(buf *[]byte, b []byte, start int) {
	n := copy(b, b[start:])
	*buf = b[:n]
}

// prefix writes the tag and the length of a field whose content begins at start and
// is size bytes long, and returns where the field begins.
func prefix(b []byte, start, field, size int) int {
	start -= 1 + sizeVarint(size)
	b[start] = tag(field, protowire.BytesType)
	putVarint(b[start+1:], size)
	return start
}

func putVarint(b []byte, v int) {
	i := 0
	for ; v >= 0x80; v >>= 7 {
		b[i] = byte(v) | 0x80
		i++
	}
	b[i] = byte(v)
}

// sizeVarint is the size of v as a varint.
func sizeVarint(v int) int { return (bits.Len32(uint32(v)|1) + 6) / 7 }

// bytesSize is the size of a length-delimited field below 16 with n bytes.
func bytesSize(n int) int { return 1 + sizeVarint(n) + n }
