package load

import (
	"bytes"
	"fmt"
	"math/rand/v2"

	modev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
)

// WithBody is the conversation of a request with a body, which Envoy shows in a mode: its
// headers, and the body in pieces. Further headers are given as names and values.
func WithBody(route string, mode modev3.ProcessingMode_BodySendMode, pieces [][]byte, more ...string) []*extprocv3.ProcessingRequest {
	first := RequestHeaders(route)
	first.ProtocolConfig.RequestBodyMode = mode
	h := first.GetRequestHeaders()
	h.EndOfStream = false
	h.Headers.Headers = append(h.Headers.Headers, headers(more...).Headers...)
	all := []*extprocv3.ProcessingRequest{first}
	for i, piece := range pieces {
		all = append(all, &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestBody{
			RequestBody: &extprocv3.HttpBody{Body: piece, EndOfStream: i == len(pieces)-1},
		}})
	}
	return all
}

// Text is so many bytes of JSON, the same ones each time, which gzip makes a fifth of or so.
func Text(size int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	for b.Len() < size {
		fmt.Fprintf(&b, `{"id": %d, "customer": "c-%06d", "amount": %d.%02d, "currency": "EUR", "state": "settled"},`,
			random.Uint32(), random.IntN(1_000_000), random.IntN(10_000), random.IntN(100))
	}
	return b.Bytes()[:size]
}

// Split cuts b into pieces of a size.
func Split(b []byte, size int) (pieces [][]byte) {
	for len(b) > size {
		pieces = append(pieces, b[:size])
		b = b[size:]
	}
	return append(pieces, b)
}
