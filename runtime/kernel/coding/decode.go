package coding

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// Decode returns the plain body, of at most limit bytes. An empty body is plain
// already. take is asked for memory, in bytes, before it is allocated; nil lets all of
// it be used. The error is [ErrMalformed], [ErrTooLarge] or [ErrNoMemory]; what is
// decoded on the way through several codings is bounded as well.
func (cs Codings) Decode(body []byte, limit int64, take func(n int64) bool) ([]byte, error) {
	if take == nil {
		take = func(int64) bool { return true }
	}
	for i := len(cs) - 1; i >= 0 && len(body) > 0; i-- {
		d := cs[i].decoders.Get().(*decoder)
		plain, err := d.decode(body, limit, take)
		// What is kept must not hold on to the body.
		d.source.Reset(nil)
		cs[i].decoders.Put(d)
		if err != nil {
			return nil, err
		}
		body = plain
	}
	return body, nil
}

var errTrailing = errors.New("data follows the end of the encoded body")

// decoder undoes one coding, of one body after the other.
type decoder struct {
	source bytes.Reader
	// open returns a reader of the plain bytes of source. It reads all of source, or
	// leaves there what follows the end that the coding itself marks.
	open func(*decoder) (io.Reader, error)
	// readers are what open has made before, to be used again.
	gzip    *gzip.Reader
	zlib    io.ReadCloser
	flate   io.ReadCloser
	brotli  *brotli.Reader
	zstd    *zstd.Decoder
	scratch [512]byte
}

func (d *decoder) decode(body []byte, limit int64, take func(n int64) bool) ([]byte, error) {
	d.source.Reset(body)
	r, err := d.open(d)
	if err != nil {
		return nil, malformed(err)
	}
	plain, err := d.readAll(r, expected(d, body, limit), limit, take)
	switch {
	case err == ErrTooLarge, err == ErrNoMemory:
		return nil, err
	case errors.Is(err, zstd.ErrWindowSizeExceeded):
		return nil, ErrTooLarge
	case err != nil:
		return nil, malformed(err)
	case d.source.Len() > 0:
		// Whoever else reads the body may take it for a part of it.
		return nil, malformed(errTrailing)
	}
	return plain, nil
}

// readAll reads all of r, which is expected to have that many bytes.
func (d *decoder) readAll(r io.Reader, expected, limit int64, take func(n int64) bool) ([]byte, error) {
	if !take(expected) {
		return nil, ErrNoMemory
	}
	plain := make([]byte, 0, expected)
	for {
		into := plain[len(plain):cap(plain)]
		if len(into) == 0 {
			// It is full, which is as it should be if nothing follows.
			into = d.scratch[:]
		}
		n, err := r.Read(into)
		if int64(len(plain)+n) > limit {
			return nil, ErrTooLarge
		}
		if len(plain)+n > cap(plain) {
			more := min(2*int64(cap(plain))+int64(n), limit)
			if !take(more - int64(cap(plain))) {
				return nil, ErrNoMemory
			}
			plain = append(append(make([]byte, 0, more), plain...), into[:n]...)
		} else {
			plain = plain[:len(plain)+n]
		}
		if err == io.EOF {
			return plain, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

const (
	// deflateRatio is how much smaller deflate can make a body at most, roughly.
	deflateRatio = 1032
	// usualRatio is how much smaller the text becomes that goes over HTTP, and
	// leastPlain the least room to begin with.
	usualRatio = 4
	leastPlain = 512
)

// expected is how large the plain body will be, by what the encoded one says of it, or
// by how large it is.
func expected(d *decoder, body []byte, limit int64) int64 {
	n := int64(usualRatio * len(body))
	switch {
	case d.gzip != nil && len(body) > 8:
		// RFC 1952, section 2.3.1: the size comes last. Of several members it is
		// that of the last.
		n = min(int64(binary.LittleEndian.Uint32(body[len(body)-4:])), deflateRatio*int64(len(body)))
	case d.zstd != nil:
		var h zstd.Header
		if h.Decode(body) == nil && h.HasFCS && h.FrameContentSize <= uint64(limit) {
			n = int64(h.FrameContentSize)
		}
	}
	return max(min(n, limit), min(leastPlain, limit))
}

func openGzip(d *decoder) (r io.Reader, err error) {
	if d.gzip != nil {
		return d.gzip, d.gzip.Reset(&d.source)
	}
	d.gzip, err = gzip.NewReader(&d.source)
	return d.gzip, err
}

// openDeflate reads zlib's format, which is what deflate means, or bare deflate, which
// is what some send under the name.
func openDeflate(d *decoder) (r io.Reader, err error) {
	var head [2]byte
	n, err := io.ReadFull(&d.source, head[:])
	if err != nil && err != io.ErrUnexpectedEOF {
		return nil, err
	}
	if _, err := d.source.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	// RFC 1950, section 2.2: method 8, and a check over both bytes.
	zipped := n == 2 && head[0]&0x0f == 8 && (uint(head[0])<<8|uint(head[1]))%31 == 0
	switch {
	case !zipped && d.flate == nil:
		d.flate = flate.NewReader(&d.source)
		return d.flate, nil
	case !zipped:
		return d.flate, d.flate.(flate.Resetter).Reset(&d.source, nil)
	case d.zlib == nil:
		d.zlib, err = zlib.NewReader(&d.source)
		return d.zlib, err
	}
	return d.zlib, d.zlib.(zlib.Resetter).Reset(&d.source, nil)
}

func openBrotli(d *decoder) (io.Reader, error) {
	if d.brotli == nil {
		d.brotli = brotli.NewReader(&d.source)
		return d.brotli, nil
	}
	return d.brotli, d.brotli.Reset(&d.source)
}

func openZstd(d *decoder) (r io.Reader, err error) {
	if d.zstd != nil {
		return d.zstd, d.zstd.Reset(&d.source)
	}
	d.zstd, err = zstd.NewReader(&d.source, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(zstdWindow))
	return d.zstd, err
}

func malformed(err error) error { return fmt.Errorf("%w: %w", ErrMalformed, err) }
