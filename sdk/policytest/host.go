package policytest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policy/sharing"
)

// Host is what a policy under test is made with, each part in the test's hands.
type Host struct {
	// Clock stands at 2000-01-01 00:00 UTC until the test moves it.
	Clock *Clock
	// Logs keeps what the policy logs, at every level.
	Logs *Logs
	// Random gives the same bytes in every test until the test replaces it.
	Random io.Reader
	// HTTP answers the policy's fetches. Nil refuses them all.
	HTTP http.RoundTripper
	// Dial connects the policy to servers. Nil refuses all connections.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Backends answer the policy's questions while a request waits.
	Backends *Backends
	// Secrets holds what references to secrets stand for.
	Secrets *Secrets
	// Files holds the files that the policy watches.
	Files *Files
	// Metrics keeps the policy's metrics.
	Metrics *Metrics
	// Shared has the resources that policies share which are made with this host. Its
	// Len says how many there are: none once the policies are closed.
	Shared *sharing.Registry
}

// NewHost returns a host with nothing in it.
func NewHost() *Host {
	return &Host{
		Clock:    NewClock(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)),
		Logs:     &Logs{},
		Random:   &random{source: rand.NewChaCha8([32]byte{})},
		Backends: &Backends{},
		Secrets:  &Secrets{},
		Files:    &Files{},
		Metrics:  &Metrics{},
		Shared:   &sharing.Registry{},
	}
}

// Policy returns the host as a policy's constructor gets it. What the policy shares is
// kept: [New] gives it back when the test ends.
func (h *Host) Policy() policy.Host {
	host, _ := h.instance(nil)
	return host
}

// instance returns the host of one instance, and what the instance uses of Shared. It
// shares with instances of the same policy version.
func (h *Host) instance(of any) (policy.Host, *sharing.Scope) {
	if h.Shared == nil {
		h.Shared = &sharing.Registry{}
	}
	scope := h.Shared.Scope(of, h.own)
	host := h.own()
	host.Shared = scope
	return host, scope
}

// own is the host without Shared.
func (h *Host) own() policy.Host {
	if h.Backends == nil {
		h.Backends = &Backends{}
	}
	h.Backends.mu.Lock()
	h.Backends.clock = h.Clock
	h.Backends.mu.Unlock()
	transport := h.HTTP
	if transport == nil {
		transport = noHTTP{}
	}
	dial := h.Dial
	if dial == nil {
		dial = noDial
	}
	return policy.Host{
		Dial:     dial,
		Logger:   slog.New(slog.NewTextHandler(h.Logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Clock:    h.Clock,
		Random:   h.Random,
		HTTP:     &http.Client{Transport: transport, Timeout: 5 * time.Second},
		Secrets:  h.Secrets,
		Backends: h.Backends,
		Files:    h.Files,
		Metrics:  h.Metrics,
	}
}

// ErrNoHTTP is what a fetch gives where the host has no HTTP.
var ErrNoHTTP = errors.New("the test's host has no HTTP: set Host.HTTP")

type noHTTP struct{}

func (noHTTP) RoundTrip(*http.Request) (*http.Response, error) { return nil, ErrNoHTTP }

// ErrNoDial is what a connection gives where the host has no Dial.
var ErrNoDial = errors.New("the test's host makes no connections: set Host.Dial")

func noDial(context.Context, string, string) (net.Conn, error) { return nil, ErrNoDial }

// Logs keeps what was logged. The zero value is empty. Safe for concurrent use.
type Logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write appends p.
func (l *Logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// String returns all that was logged, a line a record.
func (l *Logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// random makes a source of random bytes safe for concurrent use.
type random struct {
	mu     sync.Mutex
	source *rand.ChaCha8
}

// Read implements io.Reader. It never fails.
func (r *random) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.source.Read(p)
}
