package cases

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// encode compresses a body as RFC 9110, section 8.4.1, names the codings; "" leaves
// it as it is. An unknown one panics: it is a mistake in a case.
func encode(coding string, plain []byte) []byte {
	var b bytes.Buffer
	var w io.WriteCloser
	switch coding {
	case "":
		return plain
	case "gzip":
		w = gzip.NewWriter(&b)
	case "deflate":
		w = zlib.NewWriter(&b)
	case "br":
		w = brotli.NewWriter(&b)
	case "zstd":
		encoder, err := zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1))
		if err != nil {
			panic(err) // no option is wrong
		}
		w = encoder
	default:
		panic("no content coding " + coding)
	}
	if _, err := w.Write(plain); err != nil {
		panic(err) // into a buffer
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func decode(coding string, body []byte) ([]byte, error) {
	var r io.Reader = bytes.NewReader(body)
	var err error
	switch coding {
	case "":
	case "gzip":
		r, err = gzip.NewReader(r)
	case "deflate":
		r, err = zlib.NewReader(r)
	case "br":
		r = brotli.NewReader(r)
	case "zstd":
		var decoder *zstd.Decoder
		decoder, err = zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
		if err == nil {
			defer decoder.Close()
			r = decoder
		}
	default:
		err = fmt.Errorf("no content coding %q", coding)
	}
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}
