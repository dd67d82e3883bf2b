package worker_test

import (
	"context"
	"crypto/rand"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
)

type counted struct{ n int }

// stateful counts its calls in its state, and tells in each phase what it has counted.
func stateful(tell func(phase policy.Phase, n int)) *script {
	return &script{
		phases: policy.Phases(policy.RequestHeaders, policy.RequestBody, policy.ResponseHeaders),
		request: func(_ context.Context, p policy.Phase, req *policy.RequestContext) (policy.RequestAction, error) {
			s := policy.State[counted](req)
			s.n++
			tell(p, s.n)
			return nil, nil
		},
		response: func(_ context.Context, p policy.Phase, resp *policy.ResponseContext) (policy.ResponseAction, error) {
			s, ok := policy.LookupState[counted](resp)
			if !ok {
				tell(p, 0)
				return nil, nil
			}
			tell(p, s.n)
			return nil, nil
		},
	}
}

// TestStateIsTheSteps proves that a policy finds what it has kept in later phases of the same
// exchange, at the same step, and nowhere else.
func TestStateIsTheSteps(t *testing.T) {
	h := newHarness(t, false)
	told := map[policy.Phase][]int{}
	ps := h.use(stateful(func(p policy.Phase, n int) { told[p] = append(told[p], n) }))
	again := ps
	again.ID = "again"
	c := h.load(ps, again)
	for range 3 {
		x, _ := h.runRequest(c)
		x.Exchange().Request.Body.Present = true
		for _, p := range []policy.Phase{policy.RequestBody, policy.ResponseHeaders} {
			x.Run(context.Background(), p, budget, noResume{t})
		}
		x.End(false)
		// A response to a request that was not shown.
		x = c.Begin()
		x.Run(context.Background(), policy.ResponseHeaders, budget, noResume{t})
		x.End(false)
	}
	for p, want := range map[policy.Phase][]int{
		policy.RequestHeaders: {1, 1, 1, 1, 1, 1}, policy.RequestBody: {2, 2, 2, 2, 2, 2}, policy.ResponseHeaders: {2, 2, 0, 0, 2, 2, 0, 0, 2, 2, 0, 0},
	} {
		if got := told[p]; len(got) != len(want) {
			t.Errorf("%s: %v, want %v", p, got, want)
		} else {
			for i := range want {
				if got[i] != want[i] {
					t.Errorf("%s: %v, want %v", p, got, want)
					break
				}
			}
		}
	}
}

// TestStateOfAnAbandonedCallIsLost proves that no later phase shares what a call that has
// not come back may still be writing to, and that other steps keep theirs. It is for the
// race detector, too.
func TestStateOfAnAbandonedCallIsLost(t *testing.T) {
	h := newHarness(t, false)
	release, found := make(chan struct{}), -1
	late := &script{
		phases: policy.Phases(policy.RequestHeaders, policy.ResponseHeaders),
		request: func(_ context.Context, _ policy.Phase, req *policy.RequestContext) (policy.RequestAction, error) {
			s := policy.State[counted](req)
			s.n = 1
			<-release
			s.n = 2
			policy.State[counted](req).n++
			return nil, nil
		},
		response: func(_ context.Context, _ policy.Phase, resp *policy.ResponseContext) (policy.ResponseAction, error) {
			found = 0
			if s, ok := policy.LookupState[counted](resp); ok {
				found = s.n
			}
			return nil, nil
		},
	}
	ps := h.use(late)
	ps.Timeout, ps.OnError = 5*time.Millisecond, worker.ContinueOnError
	other := 0
	x, _, done := runAbandoned(t, h.load(h.use(stateful(func(p policy.Phase, n int) {
		if p == policy.ResponseHeaders {
			other = n
		}
	})), ps))
	close(release)
	x.Run(context.Background(), policy.ResponseHeaders, budget, noResume{t})
	<-done
	x.End(false)
	if found != 0 || other != 1 {
		t.Errorf("the policy that came back late finds %d, the other %d; want 0 and 1", found, other)
	}
}

// TestOneRequestID proves that policies, the log and the record have the same id of a
// request, whatever policies do to the header, and that there is one if Envoy sends none.
func TestOneRequestID(t *testing.T) {
	for _, sent := range []string{"", "sent-1"} {
		t.Run(sent, func(t *testing.T) {
			records := &recorder{}
			h := newHarnessWith(t, worker.Options{Recorder: records, Host: policy.Host{Random: rand.Reader, Clock: systemClock{}}})
			h.records = records
			var seen []string
			look := func() *script {
				return onRequestHeaders(func(_ context.Context, req *policy.RequestContext) (policy.RequestAction, error) {
					seen = append(seen, req.RequestID())
					req.Logger().Warn("seen")
					return nil, nil
				})
			}
			c := h.load(h.use(look()), h.use(setHeader("x-request-id", "changed")), h.use(look()))
			x := begin(c)
			if sent != "" {
				x.Exchange().Request.Headers.Set("x-request-id", sent)
			}
			x.Run(context.Background(), policy.RequestHeaders, budget, noResume{t})
			x.End(false)
			id := h.onlyRecord().RequestID
			if id == "" || sent != "" && id != sent || len(seen) != 2 || seen[0] != id || seen[1] != id {
				t.Errorf("the record has %q, policies saw %q", id, seen)
			}
			if n := strings.Count(h.log.String(), "request_id="+id); n != 2 {
				t.Errorf("the log has it %d times: %s", n, h.log)
			}
			for _, part := range []string{"chain=c", "policy=script@v1.0.0", "id=Test", "route=r", "phase=request_headers"} {
				if !strings.Contains(h.log.String(), part) {
					t.Errorf("the log has no %s: %s", part, h.log)
				}
			}
		})
	}
}

// TestLinesAboutExchangesAreBounded proves that a policy that logs in each exchange does not
// fill the disk, that warnings are not crowded out by lesser lines, and that the next line
// says how many were left out.
func TestLinesAboutExchangesAreBounded(t *testing.T) {
	var elapsed atomic.Int64
	h := newHarnessWith(t, worker.Options{Elapsed: func() time.Duration { return time.Duration(elapsed.Load()) }})
	c := h.load(h.use(onRequestHeaders(func(_ context.Context, req *policy.RequestContext) (policy.RequestAction, error) {
		l := req.Logger()
		for range 10 {
			l.Info("usual")
		}
		l.Warn("rare")
		return nil, nil
	})))
	run := func(n int) {
		for range n {
			x, _ := h.runRequest(c)
			x.End(false)
		}
	}
	run(10)
	if usual, rare := strings.Count(h.log.String(), "msg=usual"), strings.Count(h.log.String(), "msg=rare"); usual != 20 || rare != 10 {
		t.Errorf("%d usual lines and %d rare ones, want 20 and 10", usual, rare)
	}
	elapsed.Store(int64(3 * time.Second))
	run(1)
	if !strings.Contains(h.log.String(), "suppressed=80") {
		t.Errorf("nothing says what was left out: %s", h.log)
	}
}

// TestStateCostsOneAllocation proves that state costs one allocation, and
// nothing for others.
func TestStateCostsOneAllocation(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	h := newHarness(t, false)
	run := func(c held) float64 {
		resume := noResume{t}
		return testing.AllocsPerRun(500, func() {
			x := c.Begin()
			x.Run(context.Background(), policy.RequestHeaders, budget, resume)
			x.End(false)
		})
	}
	without := run(h.load(h.use(onRequestHeaders(func(context.Context, *policy.RequestContext) (policy.RequestAction, error) { return nil, nil }))))
	with := run(h.load(h.use(onRequestHeaders(func(_ context.Context, req *policy.RequestContext) (policy.RequestAction, error) {
		policy.State[counted](req).n++
		return nil, nil
	}))))
	if with > without+1 {
		t.Errorf("%v allocations, and %v without state", with, without)
	}
}
