package wire

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
)

// Codec is the codec for a grpc server (grpc.ForceServerCodecV2) whose ext_proc
// service receives into a [*Message] and sends an [Outgoing]. All other types are
// protobuf messages, as with grpc's own codec, so that other services can live on
// the same server. Safe for concurrent use.
type Codec struct{}

var _ encoding.CodecV2 = Codec{}

// Outgoing is an encoded message. Sending it frees Buffers.
type Outgoing struct{ Buffers mem.BufferSlice }

// Name implements encoding.CodecV2: what is on the wire is protobuf.
func (Codec) Name() string { return "proto" }

// Marshal implements encoding.CodecV2.
func (Codec) Marshal(v any) (mem.BufferSlice, error) {
	if o, ok := v.(*Outgoing); ok {
		b := o.Buffers
		o.Buffers = nil
		return b, nil
	}
	m, err := message(v)
	if err != nil {
		return nil, err
	}
	b, err := proto.Marshal(m)
	if err != nil {
		return nil, err
	}
	return mem.BufferSlice{mem.SliceBuffer(b)}, nil
}

// Unmarshal implements encoding.CodecV2.
func (Codec) Unmarshal(data mem.BufferSlice, v any) error {
	if m, ok := v.(*Message); ok && len(data) == 1 {
		return Decode(data[0].ReadOnlyData(), m)
	}
	buf := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buf.Free()
	if m, ok := v.(*Message); ok {
		return Decode(buf.ReadOnlyData(), m)
	}
	m, err := message(v)
	if err != nil {
		return err
	}
	return proto.Unmarshal(buf.ReadOnlyData(), m)
}

func message(v any) (proto.Message, error) {
	switch m := v.(type) {
	case proto.Message:
		return m, nil
	case protoadapt.MessageV1:
		return protoadapt.MessageV2Of(m), nil
	}
	return nil, fmt.Errorf("%T is not a protobuf message", v)
}
