package worker_test

import (
	"context"
	"fmt"
	"testing"

	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
)

// TestRequestsAreCountedByRoute proves that each request is counted once, by what
// became of it, over all phases and also where the engine itself answers.
func TestRequestsAreCountedByRoute(t *testing.T) {
	h := newHarness(t, false)
	deny, cutShort := false, false
	c := h.load(h.use(onRequestHeaders(func(ctx context.Context, _ *policy.RequestContext) (policy.RequestAction, error) {
		if cutShort {
			return nil, ctx.Err()
		}
		if deny {
			return policy.Reject(403, "NO", ""), nil
		}
		return nil, nil
	})))
	endRequest := func(end func(worker.Executor), unfinished bool) {
		x, _ := h.runRequest(c)
		x.Exchange().Route = "r"
		end(x)
		x.End(unfinished)
	}
	request := func(end func(worker.Executor)) { endRequest(end, false) }
	nothing := func(worker.Executor) {}
	request(nothing)
	request(nothing)
	deny = true
	request(nothing)
	request(func(x worker.Executor) {
		x.Reject(context.Background(), worker.Refusal{Reason: worker.BodyTooLarge}, budget, noResume{t})
	})
	deny = false
	endRequest(nothing, true)
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	cutShort = true
	x := begin(c)
	x.Exchange().Route = "r"
	if out := x.Run(gone, policy.RequestHeaders, budget, noResume{t}); out.Kind != worker.Gone {
		t.Errorf("the outcome of a call whose stream has ended is %v", out)
	}
	x.End(false)
	cutShort = false
	request(nothing) // what was answered before must not stick to the run
	s := h.Acquire()
	defer s.Release()
	m := s.Requests("r")
	for result, want := range map[telemetry.RequestResult]uint64{telemetry.RequestPassed: 3, telemetry.RequestAnswered: 2, telemetry.RequestCanceled: 2} {
		if got := m.Count(result); got != want {
			t.Errorf("%d requests %s, want %d", got, result, want)
		}
	}
	if s.Requests("elsewhere") != nil {
		t.Error("a route without a chain is counted")
	}
}

// TestMetricsFollowTheConfiguration proves that what stays over a reload goes on
// counting, and that what goes is forgotten: it begins again where it comes back.
func TestMetricsFollowTheConfiguration(t *testing.T) {
	h := newHarness(t, false)
	stays, goes := h.use(setHeader("x-stays", "1")), h.use(setHeader("x-goes", "1"))
	load := func(policies ...worker.PolicySpec) (steps map[string]*telemetry.Step, route *telemetry.Route) {
		c := h.load(policies...)
		steps = map[string]*telemetry.Step{}
		for s := range c.Steps {
			steps[s.ID] = s.Metrics
		}
		s := h.Acquire()
		defer s.Release()
		return steps, s.Requests("r")
	}
	first, route := load(stays, goes)
	for _, m := range first {
		m.Observe(policy.RequestHeaders, telemetry.Passed, 1)
	}
	route.Observe(telemetry.RequestAnswered)
	second, again := load(stays)
	if second[stays.ID] != first[stays.ID] || again != route {
		t.Error("a reload has lost the counts of what stays")
	}
	third, _ := load(stays, goes)
	if third[stays.ID] != first[stays.ID] || third[goes.ID].Outcomes(policy.RequestHeaders, telemetry.Passed) != 0 {
		t.Error("the counts of what was gone are still there")
	}
}

// TestMetricsAreBounded proves that reloads with names that are new each time, also
// of configurations that are refused or only checked, do not fill the memory.
func TestMetricsAreBounded(t *testing.T) {
	h := newHarness(t, false)
	ps := h.use(setHeader("x", "1"))
	for i := range 300 {
		spec := worker.Spec{Version: fmt.Sprint(i)}
		for j := range 5 {
			name := fmt.Sprintf("%d-%d", i, j)
			spec.Chains = append(spec.Chains, worker.ChainSpec{Name: name, Policies: []worker.PolicySpec{ps}})
			spec.Routes = append(spec.Routes, worker.RouteSpec{Name: name, Chain: name})
		}
		switch i % 3 {
		case 0:
			if _, err := h.Check(spec); err != nil {
				t.Fatal(err)
			}
		case 1:
			spec.Routes[0].Chain = "nowhere"
			if _, err := h.Update(context.Background(), spec); err == nil {
				t.Fatal("accepted")
			}
		default:
			if _, err := h.Update(context.Background(), spec); err != nil {
				t.Fatal(err)
			}
		}
		if n := h.MetricsCount(); n > 10 {
			t.Fatalf("after %d reloads, %d sets of metrics are held for 5 steps and 5 routes", i+1, n)
		}
	}
}
