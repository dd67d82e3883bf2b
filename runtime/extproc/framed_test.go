package extproc_test

import (
	"encoding/binary"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
)

// framed has the kernel read a direct stream as it reads grpc's: by the lengths in front
// of messages, in pieces that a transport would have of them.
type framed struct {
	*direct
	mu    sync.Mutex
	bytes []byte
	at    int
	// frame is how large the pieces are, and least how much was not read.
	frame int
}

func newFramed(d *direct, frame int) *framed {
	f := &framed{direct: d, frame: frame}
	for _, m := range d.messages {
		f.bytes = append(f.bytes, 0)
		f.bytes = binary.BigEndian.AppendUint32(f.bytes, uint32(len(m)))
		f.bytes = append(f.bytes, m...)
	}
	d.ctx = grpc.NewContextWithServerTransportStream(d.ctx, transportStream{f})
	return f
}

// unread is how many bytes the kernel has not read.
func (f *framed) unread() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.bytes) - f.at
}

// transportStream is what grpc puts into the context of a stream.
type transportStream struct{ f *framed }

func (transportStream) Method() string               { return "" }
func (transportStream) SetHeader(metadata.MD) error  { return nil }
func (transportStream) SendHeader(metadata.MD) error { return nil }
func (transportStream) SetTrailer(metadata.MD) error { return nil }

func (s transportStream) ReadMessageHeader(header []byte) error {
	f := s.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.at == len(f.bytes) {
		f.direct.mu.Lock()
		f.ended = true
		f.direct.mu.Unlock()
		return io.EOF
	}
	n := copy(header, f.bytes[f.at:])
	f.at += n
	if n < len(header) {
		return io.ErrUnexpectedEOF
	}
	return nil
}

func (s transportStream) Read(n int) (mem.BufferSlice, error) {
	f := s.f
	f.mu.Lock()
	defer f.mu.Unlock()
	left := f.bytes[f.at:]
	if len(left) < n {
		f.at = len(f.bytes)
		if len(left) == 0 {
			return nil, io.EOF
		}
		return nil, io.ErrUnexpectedEOF
	}
	f.at += n
	left = left[:n]
	data := make(mem.BufferSlice, 0, n/f.frame+1)
	for len(left) > 0 {
		k := min(len(left), f.frame)
		data = append(data, mem.SliceBuffer(left[:k:k]))
		left = left[k:]
	}
	return data, nil
}
