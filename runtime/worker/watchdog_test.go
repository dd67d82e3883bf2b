package worker_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
)

// waitFor polls until ok, for a bounded time.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// runAbandoned runs the request headers phase on its own goroutine and returns
// what goes on elsewhere. done is closed when Run has returned.
func runAbandoned(t *testing.T, c held) (x worker.Executor, out worker.Outcome, done chan struct{}) {
	t.Helper()
	res := make(resumed, 1)
	done = make(chan struct{})
	go func() {
		defer close(done)
		if out := begin(c).Run(context.Background(), policy.RequestHeaders, budget, res); out.Kind != worker.TakenOver {
			t.Errorf("Run returned kind %d, want TakenOver", out.Kind)
		}
	}()
	select {
	case r := <-res:
		return r.x, r.out, done
	case <-time.After(30 * time.Second):
		t.Fatal("the call was not abandoned")
		return nil, worker.Outcome{}, nil
	}
}

// TestOverdueCallsAreAbandoned has policies that ignore their deadline in every way.
func TestOverdueCallsAreAbandoned(t *testing.T) {
	for name, misbehave := range map[string]func(release chan struct{}, req *policy.RequestContext){
		"block": func(release chan struct{}, _ *policy.RequestContext) { <-release },
		"spin": func(release chan struct{}, _ *policy.RequestContext) {
			for {
				select {
				case <-release:
					return
				//lint:ignore SA5004 spinning is what this policy is for.
				default:
				}
			}
		},
		"panic late":            func(release chan struct{}, _ *policy.RequestContext) { <-release; panic("late") },
		"read the context late": func(release chan struct{}, req *policy.RequestContext) { <-release; _ = req.Header("x-tier") },
		"read the context always": func(release chan struct{}, req *policy.RequestContext) {
			for {
				select {
				case <-release:
					return
				default:
					for name, value := range req.Headers().All() {
						_ = name + value
					}
				}
			}
		},
	} {
		for _, onError := range []worker.OnError{worker.DenyOnError, worker.ContinueOnError} {
			t.Run(fmt.Sprintf("%s/%d", name, onError), func(t *testing.T) {
				h := newHarness(t, true)
				release := make(chan struct{})
				ps := h.use(onRequestHeaders(func(_ context.Context, req *policy.RequestContext) (policy.RequestAction, error) {
					misbehave(release, req)
					return &policy.RequestMutation{Headers: policy.HeaderMutation{Set: []policy.Header{{Name: "x-late", Value: "1"}}}}, nil
				}))
				ps.Timeout, ps.OnError = 5*time.Millisecond, onError
				c := h.load(h.use(setHeader("x-before", "1")), ps, h.use(setHeader("x-after", "1")))
				x, out, done := runAbandoned(t, c)
				headers := &x.Exchange().Request.Headers
				if onError == worker.DenyOnError {
					wantDenied(t, out, 504, "policy_engine.script@v1.0.0.POLICY_TIMEOUT")
				} else {
					wantContinue(t, out)
					if _, ok := headers.Get("x-after"); !ok {
						t.Error("the policy after it did not run")
					}
				}
				if _, ok := headers.Get("x-before"); !ok {
					t.Error("what was done before is lost")
				}
				abandoned := func() (n int64) {
					for s := range c.Steps {
						n += s.Metrics.Abandoned.Load()
					}
					return n
				}
				if n := abandoned(); n != 1 {
					t.Errorf("%d abandoned calls counted, want 1", n)
				}
				close(release)
				<-done
				if _, ok := headers.Get("x-late"); ok {
					t.Error("what the policy answered at last has changed the exchange that went on")
				}
				if n := abandoned(); n != 0 {
					t.Errorf("%d abandoned calls counted after it came back", n)
				}
				x.End(false)
			})
		}
	}
}

// TestGoexitIsAPanic proves that a policy that ends the goroutine it is called on is
// treated as one that panics, at once, and leaves nothing behind.
func TestGoexitIsAPanic(t *testing.T) {
	for _, onError := range []worker.OnError{worker.DenyOnError, worker.ContinueOnError} {
		t.Run(fmt.Sprint(onError), func(t *testing.T) {
			h := newHarness(t, true)
			var closed atomic.Bool
			s := onRequestHeaders(func(context.Context, *policy.RequestContext) (policy.RequestAction, error) {
				runtime.Goexit()
				return nil, nil
			})
			s.close = func() { closed.Store(true) }
			ps := h.use(s)
			ps.Timeout, ps.OnError = budget, onError
			if _, err := h.Update(context.Background(), specOf(worker.ChainSpec{Name: "c", Policies: []worker.PolicySpec{ps, h.use(setHeader("x-after", "1"))}})); err != nil {
				t.Fatal(err)
			}
			snapshot := h.Acquire()
			c := chainOf(snapshot)
			for range 2 * worker.MaxAbandoned {
				res := make(resumed, 1)
				go func() {
					begin(c).Run(context.Background(), policy.RequestHeaders, budget, res)
					t.Error("Run has returned")
				}()
				r := <-res
				if onError == worker.DenyOnError {
					wantDenied(t, r.out, 500, "policy_engine.script@v1.0.0.POLICY_PANIC")
				} else {
					wantContinue(t, r.out)
					if _, ok := r.x.Exchange().Request.Headers.Get("x-after"); !ok {
						t.Error("the policy after it did not run")
					}
				}
				r.x.End(false)
			}
			for s := range c.Steps {
				if n := s.Metrics.Abandoned.Load(); n != 0 {
					t.Errorf("%d abandoned calls counted", n)
				}
			}
			snapshot.Release()
			h.load()
			waitFor(t, "the instance to be closed", closed.Load)
		})
	}
}

func TestAbandonedTwice(t *testing.T) {
	h := newHarness(t, false)
	release := make(chan struct{})
	slow := func() worker.PolicySpec {
		ps := h.use(onRequestHeaders(func(context.Context, *policy.RequestContext) (policy.RequestAction, error) {
			<-release
			return nil, nil
		}))
		ps.Timeout, ps.OnError = 5*time.Millisecond, worker.ContinueOnError
		return ps
	}
	x, out, done := runAbandoned(t, h.load(slow(), slow(), h.use(setHeader("x-after", "1"))))
	wantContinue(t, out)
	if _, ok := x.Exchange().Request.Headers.Get("x-after"); !ok {
		t.Error("the last policy did not run")
	}
	close(release)
	<-done
	x.End(false)
}

func TestStalledInstanceErrsAtOnce(t *testing.T) {
	h := newHarness(t, false)
	release := make(chan struct{})
	var calls atomic.Int64
	ps := h.use(onRequestHeaders(func(context.Context, *policy.RequestContext) (policy.RequestAction, error) {
		calls.Add(1)
		<-release
		return nil, nil
	}))
	ps.Timeout = 5 * time.Millisecond
	c := h.load(ps)
	var back []chan struct{}
	for range worker.MaxAbandoned {
		x, _, done := runAbandoned(t, c)
		x.End(false)
		back = append(back, done)
	}
	x, out := h.runRequest(c)
	wantDenied(t, out, 500, "policy_engine.script@v1.0.0.POLICY_STALLED")
	x.End(false)
	if n := calls.Load(); n != worker.MaxAbandoned {
		t.Errorf("the stalled policy was called: %d calls", n)
	}
	close(release)
	for _, done := range back {
		<-done
	}
	x, out = h.runRequest(c)
	wantContinue(t, out)
	x.End(false)
}

func TestBudgetBoundsTheChain(t *testing.T) {
	h := newHarness(t, false)
	ps := h.use(onRequestHeaders(func(ctx context.Context, _ *policy.RequestContext) (policy.RequestAction, error) {
		<-ctx.Done()
		return nil, nil // it has decided at the last moment
	}))
	c := h.load(ps, h.use(setHeader("x-after", "1")))
	x := begin(c)
	res := make(resumed, 1)
	// The first policy may have 500 ms of its own, and the chain has less. Nothing is
	// left for the second.
	out := x.Run(context.Background(), policy.RequestHeaders, 20*time.Millisecond, res)
	if out.Kind == worker.TakenOver {
		r := <-res
		x, out = r.x, r.out
	}
	wantDenied(t, out, 504, "policy_engine.script@v1.0.0.POLICY_TIMEOUT")
	x.End(false)
}

func TestOverdueShaperSendsTheOriginal(t *testing.T) {
	h := newHarness(t, true)
	release := make(chan struct{})
	shaper := h.use(&script{phases: policy.Phases(policy.ResponseHeaders), response: func(context.Context, policy.Phase, *policy.ResponseContext) (policy.ResponseAction, error) {
		<-release
		return nil, nil
	}})
	shaper.Timeout = 5 * time.Millisecond
	c := h.loadChain(worker.ChainSpec{
		Policies: []worker.PolicySpec{h.use(onRequestHeaders(func(context.Context, *policy.RequestContext) (policy.RequestAction, error) {
			return policy.Reject(403, "NO", ""), nil
		}))},
		OnReject: []worker.PolicySpec{shaper},
	})
	x, out, done := runAbandoned(t, c)
	wantDenied(t, out, 403, "policy_engine.script@v1.0.0.NO")
	close(release)
	<-done
	x.End(false)
	if d := h.records.all[0]; !d.Denied || d.Status != 403 || d.Reason != "NO" {
		t.Errorf("the decision record says %+v", d)
	}
}

// TestOverdueChunkCallEndsItsBodyOnly proves that a policy whose call for a chunk was
// abandoned, which the operator lets pass, has a say in every other phase still.
func TestOverdueChunkCallEndsItsBodyOnly(t *testing.T) {
	h := newHarness(t, false)
	release := make(chan struct{})
	calls := 0
	ps := h.use(&script{
		phases: policy.Phases(policy.RequestBodyChunks, policy.ResponseHeaders, policy.ResponseBodyChunks),
		chunk: func(context.Context, *policy.Chunk) (policy.ChunkAction, error) {
			if calls++; calls == 1 {
				<-release
			}
			return policy.Reject(422, "BAD", ""), nil
		},
		response: func(context.Context, policy.Phase, *policy.ResponseContext) (policy.ResponseAction, error) {
			return policy.Reject(403, "NO", ""), nil
		},
	})
	ps.Timeout, ps.OnError = 5*time.Millisecond, worker.ContinueOnError
	c := h.load(ps)
	res := make(resumed, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		begin(c).RunChunk(context.Background(), policy.RequestBodyChunks, budget, worker.Chunk{Data: []byte("ab")}, res)
	}()
	r := <-res
	wantContinue(t, r.out)
	close(release)
	<-done
	out := r.x.RunChunk(context.Background(), policy.RequestBodyChunks, budget, worker.Chunk{Data: []byte("cd"), Last: true}, noResume{t})
	wantContinue(t, out)
	wantDenied(t, r.x.Run(context.Background(), policy.ResponseHeaders, budget, noResume{t}), 403, "policy_engine.script@v1.0.0.NO")
	wantDenied(t, r.x.RunChunk(context.Background(), policy.ResponseBodyChunks, budget, worker.Chunk{Data: []byte("ef")}, noResume{t}),
		422, "policy_engine.script@v1.0.0.BAD")
	r.x.End(false)
}

// TestAbandonedCallKeepsItsInstance proves that an instance is not closed under a
// call that has not returned.
func TestAbandonedCallKeepsItsInstance(t *testing.T) {
	h := newHarness(t, false)
	release := make(chan struct{})
	var closed atomic.Bool
	s := onRequestHeaders(func(context.Context, *policy.RequestContext) (policy.RequestAction, error) {
		<-release
		if closed.Load() {
			t.Error("the instance was closed under a call")
		}
		return nil, nil
	})
	s.close = func() { closed.Store(true) }
	ps := h.use(s)
	ps.Timeout = 5 * time.Millisecond
	if _, err := h.Update(context.Background(), specOf(worker.ChainSpec{Name: "c", Policies: []worker.PolicySpec{ps}})); err != nil {
		t.Fatal(err)
	}
	snapshot := h.Acquire()
	c := chainOf(snapshot)
	x, _, done := runAbandoned(t, c)
	x.End(false)
	snapshot.Release()
	h.load()
	close(release)
	<-done
	waitFor(t, "the instance to be closed", closed.Load)
}

func TestManyConcurrentRuns(t *testing.T) {
	h := newHarness(t, true)
	var n atomic.Int64
	slow := h.use(onRequestHeaders(func(ctx context.Context, req *policy.RequestContext) (policy.RequestAction, error) {
		if n.Add(1)%50 == 0 {
			<-ctx.Done() // ends when it is overdue, so that both sides race
			return nil, ctx.Err()
		}
		return nil, nil
	}))
	slow.Timeout = 5 * time.Millisecond
	c := h.load(h.use(setHeader("x-before", "1")), slow, h.use(setHeader("x-after", "1")))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 200 {
				x := begin(c)
				res := make(resumed, 1)
				out := x.Run(context.Background(), policy.RequestHeaders, budget, res)
				if out.Kind == worker.TakenOver {
					r := <-res
					x, out = r.x, r.out
				}
				if out.Kind == worker.Respond && out.Response.Status != 504 {
					t.Errorf("answered %d %s", out.Response.Status, out.Details)
				}
				x.End(false)
			}
		})
	}
	all.Wait()
}

// TestCallsThatComeBackAsTheyAreAbandoned proves that a snapshot is let go of once,
// however close the two are: an instance that is in force must not be closed because
// streams of older snapshots end.
func TestCallsThatComeBackAsTheyAreAbandoned(t *testing.T) {
	h := newHarness(t, false)
	var closed atomic.Bool
	var calls atomic.Int64
	const timeout = 2 * time.Millisecond
	s := onRequestHeaders(func(context.Context, *policy.RequestContext) (policy.RequestAction, error) {
		time.Sleep(timeout + time.Duration(calls.Add(1)%23)*100*time.Microsecond)
		return nil, nil
	})
	s.close = func() { closed.Store(true) }
	ps := h.use(s)
	ps.Timeout, ps.OnError = timeout, worker.ContinueOnError
	spec := specOf(worker.ChainSpec{Name: "c", Policies: []worker.PolicySpec{ps}})
	for range 10 {
		// One snapshot for each stream, which is its last user.
		var snapshots []*worker.Snapshot
		for range worker.MaxAbandoned * 8 {
			if _, err := h.Update(context.Background(), spec); err != nil {
				t.Fatal(err)
			}
			snapshots = append(snapshots, h.Acquire())
		}
		if _, err := h.Update(context.Background(), spec); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for _, snapshot := range snapshots {
			all.Go(func() {
				c := chainOf(snapshot)
				x := begin(c)
				res := make(resumed, 1)
				if out := x.Run(context.Background(), policy.RequestHeaders, budget, res); out.Kind == worker.TakenOver {
					x = (<-res).x
				}
				x.End(false)
				snapshot.Release()
			})
		}
		all.Wait()
		if closed.Load() {
			t.Fatal("the instance was closed, and is in force")
		}
	}
}
