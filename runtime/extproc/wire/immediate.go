package wire

import (
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// Immediate is an answer to the client in the upstream's place.
type Immediate struct {
	// Status is the HTTP status.
	Status int
	// Headers are set in this order; a name's second value is added to its
	// first. Names and values have to be valid for HTTP.
	Headers []Header
	// Body may be empty.
	Body []byte
	// GRPCStatus is the status for gRPC requests; nil leaves it to Envoy.
	GRPCStatus *int
	// Details are Envoy's response code details.
	Details string
}

// Header is one header of an [Immediate].
type Header struct {
	Name, Value string
	// Add keeps what there is under the name.
	Add bool
}

// Encode returns the answer as a ProcessingResponse, with a dynamic metadata Struct
// where metadata is not nil.
func (m *Immediate) Encode(metadata []byte) mem.BufferSlice {
	buf := buffers.Get(room)
	b := *buf
	for _, h := range m.Headers {
		b = appendSetHeader(b, h.Name, h.Value, h.Add)
	}
	start := room
	if len(b) > room {
		start = prefix(b, start, 2, len(b)-room)
	}
	status := 0
	if m.Status != 0 {
		status = 1 + sizeVarint(m.Status)
	}
	b = append(b, tag(1, protowire.BytesType), byte(status))
	if m.Status != 0 {
		b = append(b, tag(1, protowire.VarintType))
		b = protowire.AppendVarint(b, uint64(m.Status))
	}
	if m.GRPCStatus != nil {
		code := uint64(uint32(*m.GRPCStatus))
		b = append(b, tag(4, protowire.BytesType), byte(1+protowire.SizeVarint(code)), tag(1, protowire.VarintType))
		b = protowire.AppendVarint(b, code)
	}
	if m.Details != "" {
		b = append(b, tag(5, protowire.BytesType))
		b = protowire.AppendString(b, m.Details)
	}
	if len(m.Body) > 0 {
		b = append(b, tag(3, protowire.BytesType))
		b = protowire.AppendBytes(b, m.Body)
	}
	start = prefix(b, start, 7, len(b)-start)
	if metadata != nil {
		b = append(b, tag(8, protowire.BytesType))
		b = protowire.AppendBytes(b, metadata)
	}
	return finishBuffer(buf, b, start, len(b), nil)
}
