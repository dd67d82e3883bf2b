package worker_test

import (
	"context"
	"testing"

	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

// passing is a script that lets everything pass in its phases.
func passing(phases ...policy.Phase) *script {
	return &script{
		phases: policy.Phases(phases...),
		request: func(context.Context, policy.Phase, *policy.RequestContext) (policy.RequestAction, error) {
			return nil, nil
		},
		response: func(context.Context, policy.Phase, *policy.ResponseContext) (policy.ResponseAction, error) {
			return nil, nil
		},
		chunk: func(context.Context, *policy.Chunk) (policy.ChunkAction, error) { return nil, nil },
	}
}

// TestNeedsFollowConditions proves that a step is needed until its condition has been
// decided against it, and no longer.
func TestNeedsFollowConditions(t *testing.T) {
	for _, tt := range []struct {
		name       string
		policies   func(h *harness) []worker.PolicySpec
		tier       string
		conditions bool
		want       worker.Needs
	}{
		{"no condition", func(h *harness) []worker.PolicySpec {
			return []worker.PolicySpec{h.use(passing(policy.RequestHeaders, policy.ResponseHeaders))}
		}, "free", false, worker.Needs{Phases: policy.Phases(policy.RequestHeaders, policy.ResponseHeaders)}},
		{"one phase, which is over when it is decided", func(h *harness) []worker.PolicySpec {
			return []worker.PolicySpec{onFree(h.use(passing(policy.RequestHeaders)))}
		}, "gold", false, worker.Needs{Phases: policy.Phases(policy.RequestHeaders)}},
		{"ruled out", func(h *harness) []worker.PolicySpec {
			held := passing(policy.RequestHeaders, policy.RequestBodyChunks)
			held.holds = true
			return []worker.PolicySpec{onFree(h.use(passing(policy.RequestHeaders, policy.ResponseHeaders))), onFree(h.use(held)),
				h.use(passing(policy.RequestHeaders))}
		}, "gold", true, worker.Needs{Phases: policy.Phases(policy.RequestHeaders)}},
		{"let in", func(h *harness) []worker.PolicySpec {
			held := passing(policy.RequestHeaders, policy.RequestBodyChunks)
			held.holds = true
			return []worker.PolicySpec{onFree(h.use(held))}
		}, "free", true, worker.Needs{Phases: policy.Phases(policy.RequestHeaders, policy.RequestBodyChunks), HoldsRequestChunks: true}},
		{"not decided yet", func(h *harness) []worker.PolicySpec {
			return []worker.PolicySpec{onFree(h.use(passing(policy.RequestBody, policy.ResponseHeaders))), h.use(passing(policy.RequestHeaders))}
		}, "gold", true, worker.Needs{Phases: policy.Phases(policy.RequestHeaders, policy.RequestBody, policy.ResponseHeaders), Conditional: true}},
		{"wanted plain by what is ruled out", func(h *harness) []worker.PolicySpec {
			ps := onFree(h.use(passing(policy.RequestHeaders, policy.ResponseBody)))
			ps.Name = "plain"
			return []worker.PolicySpec{ps, h.use(passing(policy.RequestBody))}
		}, "gold", true, worker.Needs{Phases: policy.Phases(policy.RequestBody)}},
		{"a condition that failed", func(h *harness) []worker.PolicySpec {
			ps := h.use(passing(policy.RequestHeaders, policy.ResponseBody))
			ps.When, ps.OnError = `request.headers["x-absent"] == "1"`, worker.ContinueOnError
			return []worker.PolicySpec{ps, h.use(passing(policy.RequestHeaders))}
		}, "gold", true, worker.Needs{Phases: policy.Phases(policy.RequestHeaders)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHarness(t, false)
			c := h.loadChain(worker.ChainSpec{BodyLimit: 7, Policies: tt.policies(h)})
			x := begin(c)
			defer x.End(false)
			x.Exchange().Request.Headers.Reset([]exchange.Field{{Name: "x-tier", Value: tt.tier}})
			if all, now := c.Needs(), x.Needs(); now.Phases != all.Phases || now.Conditional != all.Conditional || all.Conditional != tt.conditions {
				t.Errorf("the chain needs %+v, and the exchange %+v before it has begun", all, now)
			}
			wantContinue(t, x.Run(context.Background(), policy.RequestHeaders, budget, noResume{t}))
			tt.want.BodyLimit = 7
			got := x.Needs()
			if got.RerouteHeaders != nil {
				t.Error("headers for routing from nowhere")
			}
			if got.Phases != tt.want.Phases || got.HoldsRequestChunks != tt.want.HoldsRequestChunks || got.BodyLimit != 7 ||
				got.DecodeResponseBody || got.Conditional != tt.want.Conditional {
				t.Errorf("it needs %+v then, want %+v", got, tt.want)
			}
		})
	}
}

func onFree(ps worker.PolicySpec) worker.PolicySpec {
	ps.When = `request.headers["x-tier"] == "free"`
	return ps
}
