package harness

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Upstream is an HTTP server that keeps what it was asked and answers what it was
// told to, over HTTP/1.1 and, without TLS, HTTP/2. Safe for concurrent use.
type Upstream struct {
	server   http.Server
	listener net.Listener
	ended    chan struct{}

	mu       sync.Mutex
	answer   Answer
	received []Received
}

// Received is a request as the upstream saw it, once it was there to its end.
type Received struct {
	// Method, Target (path and query), Host and Proto are as they came.
	Method, Target, Host, Proto string
	Header                      http.Header
	Body                        []byte
	Trailer                     http.Header
	// Broken says that the request ended before its body did.
	Broken bool
}

// Answer is what an upstream sends.
type Answer struct {
	// Status is 200 where it is 0. After 101 the chunks are sent when a line
	// has arrived, which is kept as the request's body.
	Status int
	// Informational are statuses (1xx) sent before.
	Informational []int
	Header        http.Header
	// Chunks are the body's pieces, each flushed. The length of a single one is
	// declared, unless Chunked is set or trailers follow.
	Chunks  [][]byte
	Chunked bool
	// Delay lies between the request's end and the answer.
	Delay time.Duration
	// Pause lies between two chunks, and before trailers.
	Pause   time.Duration
	Trailer http.Header
	// Echo answers with the request as it came, in text, as the body.
	Echo bool
	// Early sends headers before the request's body was read.
	Early bool
	// Unread sends all of the answer without reading the request's body, which
	// is not kept.
	Unread bool
	// Abort breaks the connection: before the headers, or after the chunks
	// where there are any.
	Abort bool
}

// StartUpstream listens on a free port of 127.0.0.1. It answers 200 with a short
// body until [Upstream.Answer] is called.
func StartUpstream() (*Upstream, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("starting the upstream: %w", err)
	}
	u := &Upstream{
		listener: listener, ended: make(chan struct{}),
		answer: Answer{Chunks: [][]byte{[]byte("hello from the upstream\n")}},
	}
	u.server.Handler = u
	u.server.Protocols = new(http.Protocols)
	u.server.Protocols.SetHTTP1(true)
	u.server.Protocols.SetUnencryptedHTTP2(true)
	u.server.ErrorLog = log.New(io.Discard, "", 0) // aborted connections are asked for
	go func() {
		defer close(u.ended)
		_ = u.server.Serve(listener)
	}()
	return u, nil
}

// Address is host:port.
func (u *Upstream) Address() string { return u.listener.Addr().String() }

// Close ends the server and every connection.
func (u *Upstream) Close() {
	_ = u.server.Close()
	<-u.ended
}

// Answer says what requests from now on are answered.
func (u *Upstream) Answer(a Answer) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.answer = a
}

// Received returns the requests that were received completely since Forget.
func (u *Upstream) Received() []Received {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.received)
}

// Forget drops what was received.
func (u *Upstream) Forget() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.received = nil
}

func (u *Upstream) keep(r Received) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.received = append(u.received, r)
}

// ServeHTTP implements http.Handler.
func (u *Upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	a := u.answer
	u.mu.Unlock()
	control := http.NewResponseController(w)
	_ = control.EnableFullDuplex()
	for name, values := range a.Header {
		w.Header()[http.CanonicalHeaderKey(name)] = values
	}
	if a.Status == http.StatusSwitchingProtocols && len(a.Chunks) > 0 {
		u.tunnel(w, r, control, a)
		return
	}
	if a.Early {
		w.WriteHeader(status(a))
		_ = control.Flush()
	}
	var body []byte
	var err error
	if !a.Unread {
		body, err = io.ReadAll(r.Body)
	}
	u.keep(received(r, body, err))
	wait(r, a.Delay)
	if a.Echo {
		a.Chunks = [][]byte{echo(r)}
	}
	if a.Abort && len(a.Chunks) == 0 {
		panic(http.ErrAbortHandler)
	}
	u.respond(w, r, control, a)
}

// tunnel changes the protocol, takes a line, answers, and stays until the
// other side hangs up.
func (u *Upstream) tunnel(w http.ResponseWriter, r *http.Request, control *http.ResponseController, a Answer) {
	w.WriteHeader(a.Status)
	connection, buffered, err := control.Hijack()
	if err != nil {
		return // not over HTTP/2
	}
	defer connection.Close()
	_ = connection.SetDeadline(time.Now().Add(tunnelTime))
	line, err := buffered.ReadBytes('\n')
	u.keep(received(r, line, err))
	for _, chunk := range a.Chunks {
		if _, err := connection.Write(chunk); err != nil {
			return
		}
	}
	_, _ = io.Copy(io.Discard, buffered)
}

// tunnelTime bounds how long a tunnel lasts.
const tunnelTime = 30 * time.Second

func received(r *http.Request, body []byte, err error) Received {
	return Received{
		Method: r.Method, Target: r.RequestURI, Host: r.Host, Proto: r.Proto,
		Header: r.Header.Clone(), Body: body, Trailer: r.Trailer.Clone(), Broken: err != nil,
	}
}

// wait waits so long, or until the request is given up.
func wait(r *http.Request, d time.Duration) {
	select {
	case <-time.After(d):
	case <-r.Context().Done():
	}
}

func (u *Upstream) respond(w http.ResponseWriter, r *http.Request, control *http.ResponseController, a Answer) {
	if !a.Early {
		for _, s := range a.Informational {
			w.WriteHeader(s)
		}
		if len(a.Chunks) == 1 && !a.Chunked && len(a.Trailer) == 0 && !a.Abort && w.Header().Get("Content-Length") == "" {
			w.Header().Set("Content-Length", strconv.Itoa(len(a.Chunks[0])))
		}
		w.WriteHeader(status(a))
	}
	for i, chunk := range a.Chunks {
		if i > 0 {
			wait(r, a.Pause)
		}
		if _, err := w.Write(chunk); err != nil && !errors.Is(err, http.ErrBodyNotAllowed) {
			return
		}
		if len(a.Chunks) > 1 || a.Chunked || a.Abort {
			_ = control.Flush()
		}
	}
	if a.Abort {
		panic(http.ErrAbortHandler)
	}
	if len(a.Trailer) > 0 {
		_ = control.Flush() // HTTP/1.1 has trailers only after a chunked body
		wait(r, a.Pause)
	}
	for name, values := range a.Trailer {
		w.Header()[http.TrailerPrefix+http.CanonicalHeaderKey(name)] = values
	}
}

// echo is the request's line and headers as the upstream sees them.
func echo(r *http.Request) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "The upstream saw:\n\n%s %s %s\nhost: %s\n", r.Method, r.RequestURI, r.Proto, r.Host)
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		for _, value := range r.Header[name] {
			fmt.Fprintf(&b, "%s: %s\n", strings.ToLower(name), value)
		}
	}
	return b.Bytes()
}

func status(a Answer) int {
	if a.Status == 0 {
		return http.StatusOK
	}
	return a.Status
}
