package extproc_test

import (
	"context"
	"fmt"
	"io"
	"sync"
	"testing"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"policyengine.dev/runtime/extproc"
	"policyengine.dev/runtime/extproc/negotiate"
	"policyengine.dev/runtime/extproc/wire"
)

// registrar takes the handler out of a kernel, to call it without a server.
type registrar struct {
	handler grpc.StreamHandler
	impl    any
}

func (r *registrar) RegisterService(d *grpc.ServiceDesc, impl any) {
	r.handler, r.impl = d.Streams[0].Handler, impl
}

func handlerOf(k *extproc.Service) func(grpc.ServerStream) error {
	var r registrar
	k.Register(&r)
	return func(s grpc.ServerStream) error { return r.handler(r.impl, s) }
}

// direct is a stream without a network: messages are taken from a list.
type direct struct {
	ctx   context.Context
	codec wire.Codec

	mu       sync.Mutex
	messages [][]byte
	wire     []mem.BufferSlice
	replies  []*extprocv3.ProcessingResponse
	// read counts the messages that were taken, and ended says that their end
	// was seen.
	read  int
	ended bool
	// discard has replies freed unread.
	discard bool
}

func newDirect(stamp *negotiate.Settings, messages ...[]byte) *direct {
	ctx := context.Background()
	if stamp != nil {
		ctx = metadata.NewIncomingContext(ctx, metadata.Pairs(negotiate.StampKey, stamp.Stamp()))
	}
	d := &direct{ctx: ctx, messages: messages}
	for _, m := range messages {
		d.wire = append(d.wire, mem.BufferSlice{mem.SliceBuffer(m)})
	}
	return d
}

func (d *direct) Context() context.Context     { return d.ctx }
func (d *direct) SetHeader(metadata.MD) error  { return nil }
func (d *direct) SendHeader(metadata.MD) error { return nil }
func (d *direct) SetTrailer(metadata.MD)       {}

func (d *direct) RecvMsg(m any) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.read == len(d.messages) {
		d.ended = true
		return io.EOF
	}
	b := d.wire[d.read]
	d.read++
	return d.codec.Unmarshal(b, m)
}

func (d *direct) SendMsg(m any) error {
	b, err := d.codec.Marshal(m)
	if err != nil {
		return err
	}
	defer b.Free()
	if d.discard {
		return nil
	}
	var r extprocv3.ProcessingResponse
	if err := proto.Unmarshal(b.Materialize(), &r); err != nil {
		return fmt.Errorf("a reply that is none: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.replies = append(d.replies, &r)
	return nil
}

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
