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
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

var (
	// ErrUnknown says that a coding is none of those that are known here, or
	// that there are too many of them.
	ErrUnknown = errors.New("unknown content coding")
	// ErrTooLarge says that the plain body is over the limit.
	ErrTooLarge = errors.New("the decoded body exceeds the limit")
	// ErrNoMemory says that there is no memory for the plain body.
	ErrNoMemory = errors.New("no memory is left for the decoded body")
	// ErrMalformed says that the body is not in the coding that it is said to
	// be in.
	ErrMalformed = errors.New("the body is not valid in its content coding")
)

// maxCodings bounds how many codings may lie on top of each other. Each multiplies
// what a small body can cost.
const maxCodings = 2

// zstdWindow bounds the memory that a zstd frame may ask for (RFC 9659).
const zstdWindow = 8 << 20

// Codings are the codings of a body, in the order in which they were applied. The
// zero value has none.
type Codings []*coding

// coding is one content coding. What it takes to undo it and to do it again is made once
// and used again: a gzip reader alone is 40 kB.
type coding struct {
	decoders sync.Pool // of *decoder
	writers  sync.Pool // of resetWriter
}

type resetWriter interface {
	io.WriteCloser
	Reset(io.Writer)
}

// known are the codings by their names in lower case.
var known = func() map[string]*coding {
	gz := newCoding(openGzip, func() resetWriter { return gzip.NewWriter(nil) })
	deflate := newCoding(openDeflate, func() resetWriter { return zlib.NewWriter(nil) })
	br := newCoding(openBrotli, func() resetWriter { return brotli.NewWriterLevel(nil, brotliLevel) })
	zst := newCoding(openZstd, func() resetWriter {
		// Neither option is one that can fail.
		w, _ := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(zstdWindow))
		return w
	})
	return map[string]*coding{"gzip": gz, "x-gzip": gz, "deflate": deflate, "br": br, "zstd": zst}
}()

func newCoding(open func(*decoder) (io.Reader, error), writer func() resetWriter) *coding {
	c := new(coding)
	c.decoders.New = func() any { return &decoder{open: open} }
	c.writers.New = func() any { return writer() }
	return c
}

// brotliLevel is what servers use for content that is made for each request.
const brotliLevel = 4

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

// Encode is the inverse of [Codings.Decode]. It does not modify body, and returns it
// where there are no codings.
func (cs Codings) Encode(body []byte) ([]byte, error) {
	for _, c := range cs {
		var out bytes.Buffer
		w := c.writers.Get().(resetWriter)
		w.Reset(&out)
		_, err := w.Write(body)
		if err = errors.Join(err, w.Close()); err != nil {
			return nil, fmt.Errorf("encoding a body: %w", err)
		}
		w.Reset(nil)
		c.writers.Put(w)
		body = out.Bytes()
	}
	return body, nil
}
