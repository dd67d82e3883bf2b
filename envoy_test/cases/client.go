package cases

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// seen is what the client got.
type seen struct {
	status        int
	informational []int
	header        http.Header
	body          []byte
	trailer       http.Header
	// broken is why the response ended early.
	broken error
}

// pieces is a body that is sent piece by piece.
type pieces struct {
	ctx    context.Context
	chunks [][]byte
	pause  time.Duration
	begun  bool
	// trailed says that something comes after the last piece, which waits too.
	trailed bool
}

func (p *pieces) Read(b []byte) (int, error) {
	for len(p.chunks) > 0 && len(p.chunks[0]) == 0 {
		p.chunks, p.begun = p.chunks[1:], true
	}
	if len(p.chunks) == 0 {
		if p.trailed {
			wait(p.ctx, p.pause)
		}
		return 0, io.EOF
	}
	if p.begun {
		p.begun = false
		wait(p.ctx, p.pause)
	}
	n := copy(b, p.chunks[0])
	p.chunks[0] = p.chunks[0][n:]
	return n, nil
}

// filler is the body of a size: lines that differ from one another.
func filler(size int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, "line %d of a body\n", i)
	}
	return b.Bytes()[:size]
}

func (r Request) payload(ctx context.Context) (body io.Reader, length int64) {
	switch {
	case len(r.Chunks) > 0:
		var chunks [][]byte
		for _, c := range r.Chunks {
			chunks = append(chunks, []byte(c))
		}
		if r.BodySize > 0 {
			chunks = append(chunks, filler(r.BodySize))
		}
		return &pieces{ctx: ctx, chunks: chunks, pause: r.Pause, trailed: len(r.Trailers) > 0}, -1
	case r.BodySize > 0:
		return bytes.NewReader(filler(r.BodySize)), int64(r.BodySize)
	case r.Body != "":
		b := encode(r.Encoding, []byte(r.Body))
		return bytes.NewReader(b), int64(len(b))
	}
	return nil, 0
}

func (r Request) build(ctx context.Context, address string) (*http.Request, error) {
	body, length := r.payload(ctx)
	if r.Upgrade != "" {
		body, length = nil, 0
	}
	method := r.Method
	if method == "" {
		method = http.MethodGet
		if body != nil {
			method = http.MethodPost
		}
	}
	path := r.Path
	if path == "" && method != http.MethodConnect {
		path = "/"
	}
	if len(r.Trailers) > 0 {
		length = -1 // HTTP/1.1 has trailers only after a chunked body
		if body == nil {
			body = &pieces{ctx: ctx, pause: r.Pause, trailed: true}
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://"+address+path, body)
	if err != nil {
		return nil, err
	}
	request.ContentLength = length
	request.Host = r.Host
	for _, h := range r.Headers {
		if strings.EqualFold(h.Name, "content-length") {
			if request.ContentLength, err = strconv.ParseInt(h.Values[0], 10, 64); err != nil {
				return nil, err
			}
		}
		request.Header[textproto.CanonicalMIMEHeaderKey(h.Name)] = h.Values
	}
	if r.Encoding != "" {
		request.Header.Set("Content-Encoding", r.Encoding)
	}
	if len(r.Trailers) > 0 {
		request.Trailer = http.Header{}
		for _, h := range r.Trailers {
			request.Trailer[textproto.CanonicalMIMEHeaderKey(h.Name)] = h.Values
		}
	}
	if r.Upgrade != "" {
		request.Header.Set("Connection", "Upgrade")
		request.Header.Set("Upgrade", r.Upgrade)
	}
	return request, nil
}

// waitForContinue is how long the client of a request with an Expect header waits to
// be told to go on. It is longer than any case takes.
const waitForContinue = 60 * time.Second

// errCanceled is why a request ends that the case cancels.
var errCanceled = errors.New("the case cancels the request")

// tunnel sends b once the protocol has changed, and takes the line that comes back.
func (s *seen) tunnel(response *http.Response, b string) error {
	defer response.Body.Close()
	if b == "" {
		return nil
	}
	// As net/http documents it for such a response.
	if _, err := response.Body.(io.Writer).Write([]byte(b)); err != nil {
		return fmt.Errorf("writing into the tunnel: %w", err)
	}
	s.body, s.broken = bufio.NewReader(response.Body).ReadBytes('\n')
	return nil
}

// send sends the request to Envoy, on a connection of its own. It counts in received
// what it gets of the response's body. Where ctx is canceled by errCanceled, the
// response is broken. It speaks TLS to a listener whose authority is a.
func (r Request) send(ctx context.Context, address string, a *authority, received *atomic.Int64) (*seen, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := &seen{}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		Got1xxResponse: func(status int, _ textproto.MIMEHeader) error {
			s.informational = append(s.informational, status)
			return nil
		},
	})
	request, err := r.build(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("making the request: %w", err)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!r.HTTP2)
	protocols.SetUnencryptedHTTP2(r.HTTP2)
	transport := &http.Transport{
		Protocols: protocols, DisableCompression: true, DialContext: (&net.Dialer{}).DialContext,
		MaxResponseHeaderBytes: 1 << 20, ExpectContinueTimeout: waitForContinue,
	}
	defer transport.CloseIdleConnections()
	if a != nil {
		request.URL.Scheme = "https"
		if transport.TLSClientConfig, err = a.client(r.Certificate); err != nil {
			return nil, err
		}
	}
	if r.Cancel > 0 {
		timer := time.AfterFunc(r.Cancel, func() { cancel(errCanceled) })
		defer timer.Stop()
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		if errors.Is(context.Cause(ctx), errCanceled) {
			return &seen{broken: errCanceled}, nil
		}
		return nil, fmt.Errorf("sending the request: %w", err)
	}
	s.status, s.header = response.StatusCode, response.Header
	if s.status == http.StatusSwitchingProtocols {
		return s, s.tunnel(response, r.Body)
	}
	s.body, s.broken = io.ReadAll(counted{response.Body, received})
	s.trailer = response.Trailer
	cancel(nil) // what is left of the request is given up
	_ = response.Body.Close()
	return s, nil
}

func (x Exchange) times() int { return max(x.Together, 1) }

// send sends the exchange's request, as often as it says at the same time. It calls
// answered with each answer.
func (x Exchange) send(ctx context.Context, address string, a *authority, received *atomic.Int64, answered func()) ([]*seen, error) {
	if x.Request.Pipelined {
		all, err := x.Request.pipeline(ctx, address, x.times())
		for range all {
			answered()
		}
		return all, err
	}
	all, errs := make([]*seen, x.times()), make([]error, x.times())
	var sent sync.WaitGroup
	for i := range all {
		sent.Go(func() {
			all[i], errs[i] = x.Request.send(ctx, address, a, received)
			answered()
		})
	}
	sent.Wait()
	return all, errors.Join(errs...)
}
