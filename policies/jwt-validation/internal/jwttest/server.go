package jwttest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"policyengine.dev/sdk/policytest"
)

// Server is a key server of which a test says how it behaves. Safe for concurrent
// use.
type Server struct {
	// URL is where the key set is.
	URL string

	server   *httptest.Server
	behave   atomic.Pointer[http.HandlerFunc]
	requests atomic.Int64
}

// NewServer starts a server on the loopback interface, with a certificate that its
// Transport knows, that serves the set of keys. It ends with the test.
func NewServer(t testing.TB, keys ...Key) *Server {
	s := &Server{}
	s.Serve(JWKS(keys...))
	s.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		(*s.behave.Load())(w, r)
	}))
	s.server.StartTLS()
	s.URL = s.server.URL + "/jwks.json"
	t.Cleanup(func() {
		s.server.CloseClientConnections()
		s.server.Close()
	})
	return s
}

// Host returns a host whose HTTP reaches s.
func (s *Server) Host() *policytest.Host {
	h := policytest.NewHost()
	h.HTTP = s.server.Client().Transport
	return h
}

// Requests is the number of requests that have arrived.
func (s *Server) Requests() int { return int(s.requests.Load()) }

// Do has requests answered by h from now on.
func (s *Server) Do(h http.HandlerFunc) { s.behave.Store(&h) }

// Serve has s serve a key set from now on.
func (s *Server) Serve(set string) {
	s.Do(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/jwk-set+json")
		_, _ = fmt.Fprint(w, set)
	})
}

// Fail has s answer with a status from now on.
func (s *Server) Fail(status int) {
	s.Do(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", status) })
}

// Block has s keep requests waiting until release is called or they are given up.
func (s *Server) Block(then string) (release func()) {
	c := make(chan struct{})
	s.Do(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-c:
			_, _ = fmt.Fprint(w, then)
		case <-r.Context().Done():
		}
	})
	return func() { close(c) }
}

// Redirect has s redirect to an address.
func (s *Server) Redirect(to string) {
	s.Do(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) })
}

// HTTP is the address of the same server without TLS.
func (s *Server) HTTP() string { return strings.Replace(s.URL, "https:", "http:", 1) }

// Down closes the server: connections are refused from now on.
func (s *Server) Down() {
	s.server.CloseClientConnections()
	s.server.Close()
}

// Eventually waits until ok, and fails the test where that takes too long.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long for %s", what)
		}
	}
}
