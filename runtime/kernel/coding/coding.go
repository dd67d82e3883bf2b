// Package coding undoes and does again the content codings of HTTP bodies (RFC 9110,
// section 8.4): gzip, deflate, br (RFC 7932) and zstd (RFC 8878), for policies that
// want to see plain bytes.
package coding

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

var (
	// ErrUnknown says that a coding is none of those that are known here, or
	// that there are too many of them.
	ErrUnknown = errors.New("an unknown content coding")
	// ErrTooLarge says that the plain body is over the limit.
	ErrTooLarge = errors.New("the plain body is over the limit")
	// ErrMalformed says that the body is not in the coding that it is said to
	// be in.
	ErrMalformed = errors.New("the body is not in its content coding")
)

var errTrailing = errors.New("something follows the end of the encoded body")

// maxCodings bounds how many codings may lie on top of each other. Each multiplies
// what a small body can cost.
const maxCodings = 2

// zstdWindow bounds the memory that a zstd frame may ask for (RFC 9659).
const zstdWindow = 8 << 20

// Codings are the codings of a body, in the order in which they were applied. The
// zero value has none.
type Codings []*coding

type coding struct {
	// reader decodes a body. It reads all of it, or leaves in the bytes.Reader
	// what follows the end that the coding itself marks.
	reader func(*bytes.Reader) (io.ReadCloser, error)
	writer sync.Pool // of resetWriter
}

type resetWriter interface {
	io.WriteCloser
	Reset(io.Writer)
}

// known are the codings by their names in lower case.
var known = func() map[string]*coding {
	gz := &coding{reader: func(r *bytes.Reader) (io.ReadCloser, error) { return gzip.NewReader(r) }}
	gz.writer.New = func() any { return gzip.NewWriter(nil) }
	deflate := &coding{reader: inflate}
	deflate.writer.New = func() any { return zlib.NewWriter(nil) }
	br := &coding{reader: func(r *bytes.Reader) (io.ReadCloser, error) { return io.NopCloser(brotli.NewReader(r)), nil }}
	br.writer.New = func() any { return brotli.NewWriterLevel(nil, brotliLevel) }
	zst := &coding{reader: unzstd}
	zst.writer.New = func() any {
		// Neither option is one that can fail.
		w, _ := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(zstdWindow))
		return w
	}
	return map[string]*coding{"gzip": gz, "x-gzip": gz, "deflate": deflate, "br": br, "zstd": zst}
}()

// brotliLevel is what servers use for content that is made for each request.
const brotliLevel = 4

// inflate reads zlib's format, which is what deflate means, or bare deflate, which
// is what some send under the name.
func inflate(r *bytes.Reader) (io.ReadCloser, error) {
	var head [2]byte
	n, err := io.ReadFull(r, head[:])
	if err != nil && err != io.ErrUnexpectedEOF {
		return nil, err
	}
	r.Seek(0, io.SeekStart)
	// RFC 1950, section 2.2: method 8, and a check over both bytes.
	if n == 2 && head[0]&0x0f == 8 && (uint(head[0])<<8|uint(head[1]))%31 == 0 {
		return zlib.NewReader(r)
	}
	return flate.NewReader(r), nil
}

func unzstd(r *bytes.Reader) (io.ReadCloser, error) {
	d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(zstdWindow))
	if err != nil {
		return nil, err
	}
	return d.IOReadCloser(), nil
}

// Parse reads the values of a content-encoding header. "identity" counts for
// nothing. The error is [ErrUnknown].
func Parse(values func(yield func(string) bool)) (Codings, error) {
	var all Codings
	for value := range values {
		for rest, more := value, true; more; {
			var name string
			name, rest, more = strings.Cut(rest, ",")
			name = strings.ToLower(strings.Trim(name, " \t"))
			if name == "" || name == "identity" {
				continue
			}
			c := known[name]
			if c == nil || len(all) == maxCodings {
				return nil, ErrUnknown
			}
			all = append(all, c)
		}
	}
	return all, nil
}

// Decode returns the plain body, of at most limit bytes. An empty body is plain
// already. The error is [ErrMalformed] or [ErrTooLarge]; what is decoded on the way
// through several codings is bounded as well.
func (cs Codings) Decode(body []byte, limit int64) ([]byte, error) {
	for i := len(cs) - 1; i >= 0 && len(body) > 0; i-- {
		var err error
		if body, err = cs[i].decode(body, limit); err != nil {
			return nil, err
		}
	}
	return body, nil
}

func (c *coding) decode(body []byte, limit int64) ([]byte, error) {
	encoded := bytes.NewReader(body)
	r, err := c.reader(encoded)
	if err != nil {
		return nil, malformed(err)
	}
	defer r.Close()
	var plain bytes.Buffer
	n, err := plain.ReadFrom(io.LimitReader(r, limit+1))
	switch {
	case n > limit:
		return nil, ErrTooLarge
	case errors.Is(err, zstd.ErrWindowSizeExceeded):
		return nil, ErrTooLarge
	case err != nil:
		return nil, malformed(err)
	case encoded.Len() > 0:
		// Whoever else reads the body may take it for a part of it.
		return nil, malformed(errTrailing)
	}
	return plain.Bytes(), nil
}

func malformed(err error) error { return fmt.Errorf("%w: %w", ErrMalformed, err) }

// Encode is the inverse of [Codings.Decode]. It does not modify body, and returns it
// where there are no codings.
func (cs Codings) Encode(body []byte) ([]byte, error) {
	for _, c := range cs {
		var out bytes.Buffer
		w := c.writer.Get().(resetWriter)
		w.Reset(&out)
		_, err := w.Write(body)
		if err = errors.Join(err, w.Close()); err != nil {
			return nil, fmt.Errorf("encoding a body: %w", err)
		}
		w.Reset(nil)
		c.writer.Put(w)
		body = out.Bytes()
	}
	return body, nil
}
