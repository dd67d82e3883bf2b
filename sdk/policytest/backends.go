package policytest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"policyengine.dev/sdk/policy"
)

// Backends are the servers that a policy under test asks with [policy.OpenBackend], in the test's hands. The zero value
// has none: each question fails. Safe for concurrent use.
type Backends struct {
	// Deadline is how long a question may take by the test's clock, as a step's deadline
	// bounds it in the engine; 500 ms where it is 0.
	Deadline time.Duration

	mu       sync.Mutex
	clock    *Clock
	scripts  map[policy.BackendRef]*backendScript
	fallback http.RoundTripper
}

type backendScript struct {
	target policy.BackendTarget
	answer func(BackendCall) BackendAnswer
	calls  []BackendCall
}

// BackendCall is what a policy has asked.
type BackendCall struct {
	// N counts the questions to this backend, from 0.
	N      int
	Method string
	URL    *url.URL
	Header http.Header
	Body   string
}

// BackendAnswer is what a backend answers.
type BackendAnswer struct {
	// Status is 200 where it is 0.
	Status int
	Header http.Header
	Body   string
	// Err is the error of the connection, instead of a response.
	Err error
	// Delay is how long the answer takes. The test's clock is moved on by it, and nobody
	// waits. One that is longer than the deadline ends there, with context.DeadlineExceeded.
	Delay time.Duration
}

// On has answer decide what the backend answers that a policy's parameters refer to by ref, a
// name or a URL. It may be called by several goroutines.
func (b *Backends) On(ref policy.BackendRef, answer func(BackendCall) BackendAnswer) {
	b.script(ref).answer = answer
}

// Bound sets the bounds of a backend, as engine.yaml does. Call it before the policy is made. Name,
// URL and Transport of t do not count.
func (b *Backends) Bound(ref policy.BackendRef, t policy.BackendTarget) { b.script(ref).target = t }

func (b *Backends) script(ref policy.BackendRef) *backendScript {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.scripts == nil {
		b.scripts = map[policy.BackendRef]*backendScript{}
	}
	s := b.scripts[ref]
	if s == nil {
		s = &backendScript{}
		b.scripts[ref] = s
	}
	return s
}

// Calls are the questions to a backend so far.
func (b *Backends) Calls(ref policy.BackendRef) []BackendCall {
	s := b.script(ref)
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]BackendCall(nil), s.calls...)
}

// Target implements [policy.Backends]. There is a backend of every name.
func (b *Backends) Target(ref policy.BackendRef) (policy.BackendTarget, error) {
	u, err := ref.URL()
	if err != nil {
		return policy.BackendTarget{}, err
	}
	name := string(ref)
	if u == nil {
		u = &url.URL{Scheme: "https", Host: name + ".test"}
	} else {
		name = u.Host
	}
	t := b.script(ref).target
	t.Name, t.URL, t.Transport = name, u, backendTransport{b, ref}
	return t, nil
}

type backendTransport struct {
	backends *Backends
	ref      policy.BackendRef
}

// RoundTrip implements http.RoundTripper.
func (t backendTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	b, s := t.backends, t.backends.script(t.ref)
	call := BackendCall{Method: r.Method, URL: r.URL, Header: r.Header}
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		call.Body = string(body)
	}
	b.mu.Lock()
	call.N = len(s.calls)
	s.calls = append(s.calls, call)
	answer, fallback, deadline := s.answer, b.fallback, b.Deadline
	b.mu.Unlock()
	if answer == nil && fallback != nil {
		return fallback.RoundTrip(r)
	}
	if answer == nil {
		return nil, fmt.Errorf("the test's host has no backend %q: set Host.Backends.On", t.ref)
	}
	if deadline <= 0 {
		deadline = 500 * time.Millisecond
	}
	a := answer(call)
	b.clock.Advance(min(a.Delay, deadline))
	switch {
	case r.Context().Err() != nil:
		return nil, r.Context().Err()
	case a.Delay > deadline:
		return nil, context.DeadlineExceeded
	case a.Err != nil:
		return nil, a.Err
	}
	if a.Status == 0 {
		a.Status = http.StatusOK
	}
	if a.Header == nil {
		a.Header = http.Header{}
	}
	return &http.Response{
		StatusCode: a.Status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r, Header: a.Header,
		ContentLength: -1, Body: io.NopCloser(strings.NewReader(a.Body)),
	}, nil
}
