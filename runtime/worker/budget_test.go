package worker_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
)

// slow waits until its time is over.
func slow() *script {
	return onRequestHeaders(func(ctx context.Context, _ *policy.RequestContext) (policy.RequestAction, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
}

// TestStepsThatCannotDenyLeaveTime proves that policies on trial, and those whose errors
// are let pass, leave enough of the budget for what follows, however slow they are.
func TestStepsThatCannotDenyLeaveTime(t *testing.T) {
	for name, lenient := range map[string]func(*worker.PolicySpec){
		"shadow":              func(ps *worker.PolicySpec) { ps.Mode = worker.Shadow },
		"errors let pass":     func(ps *worker.PolicySpec) { ps.OnError = worker.ContinueOnError },
		"with a long timeout": func(ps *worker.PolicySpec) { ps.Mode, ps.Timeout = worker.Shadow, time.Hour },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, false)
			var all []worker.PolicySpec
			for range 3 {
				ps := h.use(slow())
				lenient(&ps)
				all = append(all, ps)
			}
			c := h.load(append(all, h.use(setHeader("x-set", "1")))...)
			x, res := begin(c), make(resumed, 1)
			// Each leaves half of what there is: an eighth is left at the end.
			out := x.Run(context.Background(), policy.RequestHeaders, 800*time.Millisecond, res)
			if out.Kind == worker.TakenOver { // one came back a moment late
				r := <-res
				x, out = r.x, r.out
			}
			defer x.End(false)
			wantContinue(t, out)
			if v, _ := x.Exchange().Request.Headers.Get("x-set"); v != "1" {
				t.Error("the step that counts has not run")
			}
		})
	}
}

func TestTheBudgetsErrorNamesWhoTookIt(t *testing.T) {
	if err := worker.BudgetErrorOf("slow-one", time.Second); !strings.Contains(err.Error(), `"slow-one" took 1s`) {
		t.Error(err)
	}
}

// TestCallsOfStreamsThatHaveEnded proves that a client that goes away is nobody's error,
// that no step runs any more then, and that nothing passes.
func TestCallsOfStreamsThatHaveEnded(t *testing.T) {
	for name, lenient := range map[string]func(*worker.PolicySpec){
		"denying":         func(*worker.PolicySpec) {},
		"shadow":          func(ps *worker.PolicySpec) { ps.Mode = worker.Shadow },
		"errors let pass": func(ps *worker.PolicySpec) { ps.OnError = worker.ContinueOnError },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, true)
			ctx, cancel := context.WithCancel(context.Background())
			first := h.use(onRequestHeaders(func(ctx context.Context, _ *policy.RequestContext) (policy.RequestAction, error) {
				cancel()
				<-ctx.Done()
				return nil, ctx.Err()
			}))
			lenient(&first)
			c := h.load(first, h.use(setHeader("x-set", "1")))
			x := begin(c)
			out := x.Run(ctx, policy.RequestHeaders, budget, noResume{t})
			if out.Kind != worker.Gone {
				t.Errorf("the outcome is %+v, want one for a stream that is gone", out)
			}
			if x.Exchange().Request.Headers.Count("x-set") != 0 {
				t.Error("the next step has run")
			}
			x.End(false)
			if log := h.log.String(); strings.Contains(log, "could not decide") {
				t.Errorf("somebody is blamed: %s", log)
			}
			h.records.mu.Lock()
			defer h.records.mu.Unlock()
			d := h.records.all[0]
			if d.Denied || len(d.Steps) != 1 || d.Steps[0].Outcome.String() != "canceled" {
				t.Errorf("the record is %+v", d)
			}
		})
	}
}
