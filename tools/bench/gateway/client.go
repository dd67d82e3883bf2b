package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// client sends requests over HTTP/2 without TLS.
type client struct {
	address    string
	transports []*http.Transport
}

// newClient returns a client with so many connections.
func newClient(address string, connections int) *client {
	c := &client{address: address}
	for range connections {
		t := &http.Transport{Protocols: new(http.Protocols), MaxConnsPerHost: 1}
		t.Protocols.SetUnencryptedHTTP2(true)
		c.transports = append(c.transports, t)
	}
	return c
}

func (c *client) close() {
	for _, t := range c.transports {
		t.CloseIdleConnections()
	}
}

// request sends one request and reads the answer, which has to be a 200.
func (c *client) request(ctx context.Context, i int, path string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.address+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	for name, value := range map[string]string{
		"accept": "application/json", "content-type": "application/json", "authorization": "Bearer 0123456789abcdef",
		"idempotency-key": "9f2c7d1e", "x-four": "gone",
	} {
		req.Header.Set(name, value)
	}
	resp, err := c.transports[i%len(c.transports)].RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s was answered %s", path, resp.Status)
	}
	return nil
}

// load keeps requests in flight for the time that is given, and returns how long each
// took. A request that fails ends it.
func (c *client) load(ctx context.Context, path string, body []byte, clients int, d time.Duration) ([]time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, d+30*time.Second)
	defer cancel()
	end := time.Now().Add(d)
	var (
		all   []time.Duration
		errs  []error
		mu    sync.Mutex
		group sync.WaitGroup
	)
	for i := range clients {
		group.Go(func() {
			var took []time.Duration
			var err error
			for err == nil && time.Now().Before(end) {
				began := time.Now()
				err = c.request(ctx, i, path, body)
				took = append(took, time.Since(began))
			}
			mu.Lock()
			defer mu.Unlock()
			all, errs = append(all, took...), append(errs, err)
		})
	}
	group.Wait()
	return all, errors.Join(errs...)
}

// flightTimeout bounds the whole of [fly].
const flightTimeout = 3 * time.Minute

// fly has n requests in flight at one moment: the upstream answers none before all have
// come to it.
func fly(ctx context.Context, address string, up *upstream, n int) (*Flight, error) {
	ctx, cancel := context.WithTimeout(ctx, flightTimeout)
	defer cancel()
	release := up.hold(n)
	c := newClient(address, max(1, n/500))
	defer c.close()
	var group sync.WaitGroup
	var failed, done atomic.Int64
	var first atomic.Pointer[error]
	ended := make(chan struct{})
	began := time.Now()
	for i := range n {
		group.Go(func() {
			if err := c.request(ctx, i, "/headers", nil); err != nil {
				failed.Add(1)
				first.CompareAndSwap(nil, &err)
			}
			done.Add(1)
		})
	}
	go func() { group.Wait(); close(ended) }()
	select {
	case <-release:
	case <-ended:
	case <-ctx.Done():
	}
	arrived := up.waiting()
	up.let()
	<-ended
	f := &Flight{InFlight: arrived, Failed: int(failed.Load()), Took: time.Since(began)}
	if arrived < n || f.Failed > 0 {
		var why error
		if e := first.Load(); e != nil {
			why = *e
		}
		return f, fmt.Errorf("%d of %d requests came to the upstream at once, and %d failed: %w", arrived, n, f.Failed, why)
	}
	return f, nil
}

// upstream answers 200, at once or when it is told to.
type upstream struct {
	server   http.Server
	listener net.Listener
	ended    chan struct{}

	mu      sync.Mutex
	held    int
	want    int
	all     chan struct{} // closed when want requests are held
	release chan struct{} // closed to answer them
	answer  []byte
}

func startUpstream() (*upstream, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("starting the upstream: %w", err)
	}
	u := &upstream{listener: l, ended: make(chan struct{}), answer: bytes.Repeat([]byte("x"), 128)}
	u.server.Handler = u
	u.server.Protocols = new(http.Protocols)
	u.server.Protocols.SetUnencryptedHTTP2(true)
	u.server.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 100_000}
	go func() {
		defer close(u.ended)
		_ = u.server.Serve(l)
	}()
	return u, nil
}

func (u *upstream) address() string { return u.listener.Addr().String() }

func (u *upstream) close() {
	_ = u.server.Close()
	<-u.ended
}

// hold has requests wait until let; the channel is closed once n wait.
func (u *upstream) hold(n int) <-chan struct{} {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.held, u.want, u.all, u.release = 0, n, make(chan struct{}), make(chan struct{})
	return u.all
}

func (u *upstream) let() {
	u.mu.Lock()
	defer u.mu.Unlock()
	close(u.release)
	u.release = nil
}

func (u *upstream) waiting() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.held
}

// ServeHTTP implements http.Handler.
func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	u.mu.Lock()
	wait := u.release
	if wait != nil {
		if u.held++; u.held == u.want {
			close(u.all)
		}
	}
	u.mu.Unlock()
	if wait != nil {
		select {
		case <-wait:
		case <-r.Context().Done():
			return
		}
	}
	_, _ = w.Write(u.answer)
}
