package worker_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"policyengine.dev/sdk/policy"
)

// TestContextsEndWithTheirCall proves that the context of a call has ended once the
// method has returned, whatever the policy did with it meanwhile, and that it keeps
// its deadline while other calls are made.
func TestContextsEndWithTheirCall(t *testing.T) {
	type key struct{}
	for name, use := range map[string]func(ctx context.Context){
		"a context that nobody looked at":       func(context.Context) {},
		"a context that was asked for Done":     func(ctx context.Context) { ctx.Done() },
		"a context that was asked for Err":      func(ctx context.Context) { _ = ctx.Err() },
		"a context that was asked for a value":  func(ctx context.Context) { ctx.Value(key{}) },
		"a context that was asked for Deadline": func(ctx context.Context) { ctx.Deadline() },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, false)
			var kept, derived []context.Context
			var deadlines []time.Time
			s := onRequestHeaders(func(ctx context.Context, _ *policy.RequestContext) (policy.RequestAction, error) {
				use(ctx)
				kept = append(kept, ctx)
				derived = append(derived, context.WithValue(ctx, key{}, len(kept)))
				d, _ := ctx.Deadline()
				deadlines = append(deadlines, d)
				return nil, nil
			})
			first, second := h.use(s), h.use(s)
			second.ID, second.Timeout = "second", time.Hour
			c := h.load(first, second)
			for range 20 { // more calls than contexts are allocated at a time
				runOnce(c, noResume{t})
			}
			for i, ctx := range kept {
				if d, _ := ctx.Deadline(); !d.Equal(deadlines[i]) {
					t.Fatalf("call %d: the deadline was %v and is %v", i, deadlines[i], d)
				}
				for _, ctx := range []context.Context{ctx, derived[i]} {
					select {
					case <-ctx.Done():
					default:
						t.Fatalf("call %d: Done is open after the method has returned", i)
					}
					if err := ctx.Err(); !errors.Is(err, context.Canceled) {
						t.Fatalf("call %d: Err is %v after the method has returned", i, err)
					}
				}
			}
		})
	}
}

// TestContextsKeepTheirError proves that a context whose deadline has passed during
// the call says so forever.
func TestContextsKeepTheirError(t *testing.T) {
	h := newHarness(t, false)
	var kept context.Context
	s := h.use(onRequestHeaders(func(ctx context.Context, _ *policy.RequestContext) (policy.RequestAction, error) {
		kept = ctx
		for ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		return nil, ctx.Err()
	}))
	s.Timeout = 5 * time.Millisecond
	c := h.load(s)
	// It comes back late, whether the call is abandoned meanwhile or not.
	begin(c).Run(context.Background(), policy.RequestHeaders, budget, make(resumed, 1))
	if err := kept.Err(); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Err was DeadlineExceeded and is %v", err)
	}
}

// TestContextsEndUnderGoroutines proves that a goroutine which a policy has left behind
// sees the end of its own call, while other calls are made.
func TestContextsEndUnderGoroutines(t *testing.T) {
	h := newHarness(t, false)
	var left sync.WaitGroup
	c := h.load(h.use(onRequestHeaders(func(ctx context.Context, _ *policy.RequestContext) (policy.RequestAction, error) {
		left.Go(func() { <-ctx.Done() })
		return nil, nil
	})))
	for range 100 {
		runOnce(c, noResume{t})
	}
	left.Wait()
}
