package worker_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
)

// stillClock is a policies' clock that stands still.
type stillClock struct{ systemClock }

var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func (stillClock) Now() time.Time { return epoch }

// TestTimeComesFromOutside proves that what the worker measures and bounds follows the
// clock that it is given: so an exchange is recorded alike whenever it is replayed.
func TestTimeComesFromOutside(t *testing.T) {
	var elapsed atomic.Int64
	records := &recorder{}
	h := newHarnessWith(t, worker.Options{Recorder: records, Elapsed: func() time.Duration { return time.Duration(elapsed.Load()) }, Host: policy.Host{Clock: stillClock{}}})
	var deadline time.Time
	takes := func(d time.Duration) *script {
		return onRequestHeaders(func(ctx context.Context, _ *policy.RequestContext) (policy.RequestAction, error) {
			deadline, _ = ctx.Deadline()
			if elapsed.Add(int64(d)); ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, nil
		})
	}
	first, second := h.use(takes(30*time.Millisecond)), h.use(takes(0))
	first.Timeout, second.Timeout = time.Second, time.Second
	for range 2 {
		elapsed.Store(int64(time.Hour))
		x, out := h.runRequest(h.load(first, second))
		wantContinue(t, out)
		x.End(false)
		if want := epoch.Add(time.Hour + 30*time.Millisecond + time.Second); !deadline.Equal(want) {
			t.Errorf("the second step's deadline is %v, want %v", deadline, want)
		}
	}
	for i, d := range records.all {
		if len(d.Steps) != 2 || d.Steps[0].Took != 30*time.Millisecond || d.Steps[1].At != 30*time.Millisecond || d.Steps[1].Took != 0 || d.Took != 30*time.Millisecond {
			t.Errorf("the record of exchange %d is %+v", i, d)
		}
	}
	// A step that takes longer than it may by that clock has timed out.
	slow := h.use(takes(2 * time.Second))
	slow.Timeout = time.Second
	_, out, _ := runAbandonedOrNot(t, h.load(slow))
	wantDenied(t, out, 504, "policy_engine.script@v1.0.0.POLICY_TIMEOUT")
}

// runAbandonedOrNot runs the request's headers and returns the outcome, whether the
// watchdog was faster than the policy or not.
func runAbandonedOrNot(t *testing.T, c held) (worker.Executor, worker.Outcome, bool) {
	t.Helper()
	res := make(resumed, 1)
	x := begin(c)
	if out := x.Run(context.Background(), policy.RequestHeaders, time.Minute, res); out.Kind != worker.TakenOver {
		return x, out, false
	}
	r := <-res
	return r.x, r.out, true
}
