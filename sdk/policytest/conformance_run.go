package policytest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"
	"weak"

	"policyengine.dev/sdk/definition"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

const (
	// callTimeout is the deadline that a policy's methods see.
	callTimeout = 250 * time.Millisecond
	// hostileRounds and concurrentRounds are how many exchanges an example
	// goes through, the second for each goroutine.
	hostileRounds    = 300
	concurrentRounds = 25
	// retentionRounds is how many exchanges have their contexts traced.
	retentionRounds = 40
	// settleTimeout bounds the wait for goroutines that calls have started.
	settleTimeout = time.Second
)

func checkHostileInput(t testing.TB, c *conformance) {
	c.eachExample(t, func(s *subject) {
		g := s.hostile(1)
		for i := range hostileRounds {
			req, resp, possible := g.exchange()
			var err error
			within(t, "a method", func() { err = s.drive(s.policy, req, resp) })
			switch {
			case errors.Is(err, errPanic), errors.Is(err, errTells), errors.Is(err, errTellsNotes), errors.Is(err, errChanged), possible && errors.Is(err, errAction):
				t.Fatalf("%s, exchange %d: %v\nrequest: %s\nresponse: %s", s, i, err, brief(req), brief(resp))
			case err != nil && tells(err.Error(), s.secrets):
				t.Fatalf("%s, exchange %d: an error contains a secret: %v", s, i, err)
			}
		}
	})
}

func checkConcurrency(t testing.TB, c *conformance) {
	c.eachExample(t, func(s *subject) { s.serve(t, 8, s.policy) })
}

// serve has each of some goroutines take exchanges through the policies in turn,
// while their clocks move.
func (s *subject) serve(t testing.TB, goroutines int, ps ...*Policy) {
	t.Helper()
	var wg sync.WaitGroup
	failed := make(chan error, goroutines)
	for i := range goroutines {
		wg.Go(func() {
			g := s.hostile(uint64(i))
			for n := range concurrentRounds {
				p := ps[n%len(ps)]
				p.Host.Clock.Advance(time.Duration(n) * time.Second)
				req, resp, _ := g.exchange()
				if err := s.drive(p, req, resp); errors.Is(err, errPanic) {
					failed <- err
					return
				}
			}
		})
	}
	within(t, "a method", wg.Wait)
	close(failed)
	for err := range failed {
		t.Errorf("%s, in concurrent use: %v", s, err)
	}
}

// errTells is in the error of an answer that tells a secret.
var errTells = errors.New("the answer to the client contains a secret of the parameters")

// errTellsNotes is the error of an annotation or a span that tells a secret.
var errTellsNotes = errors.New("an annotation or a span contains a secret of the parameters")

// tellsNotes reports whether annotations or spans tell a secret.
func (s *subject) tellsNotes(steps []Step) bool {
	for i := range steps {
		if len(steps[i].Annotations)+len(steps[i].Spans) > 0 && tells(fmt.Sprint(steps[i].Annotations, steps[i].Spans), s.secrets) {
			return true
		}
	}
	return false
}

// errChanged is the error of a policy that modifies an action that it has returned.
var errChanged = errors.New("the policy has modified an action that it had returned before: a runtime may still be using it, and checks it only once")

// changed reports whether one of the actions was returned before and is another now.
// Those that are seen for the first time are remembered, up to a bound.
func (s *subject) changed(steps []Step) bool {
	const remembered = 1000
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, step := range steps {
		now, ok := snapshot(step.Action)
		if !ok {
			continue
		}
		switch before, seen := s.actions[step.Action]; {
		case seen && before != now:
			return true
		case !seen && len(s.actions) < remembered:
			s.actions[step.Action] = now
		}
	}
	return false
}

// snapshot is what an action says, bodies apart.
func snapshot(action any) (text string, ok bool) {
	switch a := action.(type) {
	case *policy.RequestMutation:
		if a == nil {
			return "", false
		}
		m := *a
		m.Body = policy.Body{}
		return fmt.Sprintf("%+v", m), true
	case *policy.ResponseMutation:
		if a == nil {
			return "", false
		}
		m := *a
		m.Body = policy.Body{}
		return fmt.Sprintf("%+v", m), true
	case *policy.SkipRest:
		if a == nil {
			return "", false
		}
		mutation, _ := snapshot(a.Mutation)
		return a.Reason + mutation, true
	case *policy.ImmediateResponse:
		if a == nil {
			return "", false
		}
		return fmt.Sprintf("%d %v %s %v %s", a.Status, a.Headers, a.Body, a.GRPCStatus, a.Reason), true
	}
	return "", false
}

// drive takes an exchange through the policy.
func (s *subject) drive(p *Policy, req Request, resp Response) error {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	x := p.begin(req)
	err := contain(func() error {
		if err := x.runRequest(ctx); err != nil || x.Immediate != nil {
			return err
		}
		return x.runResponse(ctx, resp)
	})
	if s.changed(x.Steps) {
		return errChanged
	}
	if s.tellsNotes(x.Steps) {
		return errTellsNotes
	}
	if ir := x.Immediate; ir != nil && tells(fmt.Sprint(ir.Headers, string(ir.Body), ir.Reason), s.secrets) {
		return errTells
	}
	return err
}

func start(s policy.Starter) error {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	_ = s.Start(ctx)
	return nil
}

func (c *conformance) build(params json.RawMessage, host *Host) (*Policy, error) {
	config := c.config
	config.host = host
	var p *Policy
	err := contain(func() (err error) {
		p, err = config.build(c.builder, c.def, params)
		return err
	})
	return p, err
}

// checkRetention looks whether what a method was given can still be reached once it
// has returned.
func checkRetention(t testing.TB, c *conformance) {
	c.eachExample(t, func(s *subject) {
		g := s.hostile(2)
		// No collection but the one below: see there.
		defer debug.SetGCPercent(debug.SetGCPercent(-1))
		goroutines := runtime.NumGoroutine()
		var given []kept
		for range retentionRounds {
			req, resp, _ := g.exchange()
			given = append(given, s.traced(req, resp)...)
		}
		// A goroutine on its way out (net/http starts them for fetches) may still
		// hold what it was started with.
		for wait := time.Now().Add(settleTimeout); runtime.NumGoroutine() > goroutines && time.Now().Before(wait); {
			time.Sleep(time.Millisecond)
		}
		// One collection and no more: a second one would also empty the pools
		// in which a policy may have left a context.
		runtime.GC()
		for _, k := range given {
			if k.alive() {
				t.Errorf("%s: the policy keeps %s after its method has returned: copy out of it what is needed (strings and bodies may be kept)", s, k.what)
				return
			}
		}
	})
}

// kept tells whether something is still reachable.
type kept struct {
	what  string
	alive func() bool
}

func watch[T any](what string, v *T) kept {
	w := weak.Make(v)
	return kept{what, func() bool { return w.Value() != nil }}
}

// callContext is a context whose reach can be told.
type callContext struct{ context.Context }

// traced runs one exchange, of which nothing is left on the stack when it returns.
//
//go:noinline
func (s *subject) traced(req Request, resp Response) (given []kept) {
	inner, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	ctx := &callContext{inner}
	given = append(given, watch("its context.Context", ctx))
	x := s.policy.begin(req)
	given = append(given, watch[exchange.Exchange]("the exchange behind its views", x.data))
	x.trace = func(req *policy.RequestContext, resp *policy.ResponseContext) {
		given = append(given, watch("the RequestContext", req), watch("the ResponseContext", resp))
	}
	// What goes wrong here is for the other checks.
	_ = contain(func() error {
		if err := x.runRequest(ctx); err != nil || x.Immediate != nil {
			return err
		}
		return x.runResponse(ctx, resp)
	})
	return given
}

// host is a conformanceHost with the example's files.
func (c *conformance) host(e definition.Example) *Host {
	h := conformanceHost()
	for path, content := range c.files[e.Name] {
		h.SetFile(path, content)
	}
	return h
}

// conformanceHost answers fetches with errors and garbage, in turn.
func conformanceHost() *Host {
	h := NewHost()
	h.HTTP = &garbageHTTP{r: rand.New(rand.NewPCG(3, 4))}
	h.Backends.fallback = h.HTTP
	return h
}

type garbageHTTP struct {
	mu sync.Mutex
	r  *rand.Rand
	n  int
}

func (g *garbageHTTP) RoundTrip(r *http.Request) (*http.Response, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n++
	if g.n%2 == 1 {
		return nil, errors.New("there is no network in a conformance test")
	}
	return &http.Response{
		StatusCode: 200, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r, Header: http.Header{},
		Body: io.NopCloser(strings.NewReader(garbage(g.r))),
	}, nil
}

type countingHTTP struct{ calls *int }

func (c countingHTTP) RoundTrip(*http.Request) (*http.Response, error) {
	*c.calls++
	return nil, errors.New("there is no network in a conformance test")
}

// brief shows an exchange's half without pages of it.
func brief(v any) string {
	s := fmt.Sprintf("%+q", fmt.Sprintf("%+v", v))
	if len(s) > 2000 {
		s = s[:2000] + "..."
	}
	return s
}
