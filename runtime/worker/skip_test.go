package worker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
)

// skipping is a policy that skips the rest in the phase.
func skipping(in policy.Phase, m *policy.SkipRest) *script {
	return &script{
		phases: policy.Phases(policy.RequestHeaders, policy.RequestBody), skips: true,
		request: func(_ context.Context, p policy.Phase, _ *policy.RequestContext) (policy.RequestAction, error) {
			if p == in {
				return m, nil
			}
			return nil, nil
		},
	}
}

// telling notes the phases in which it runs.
func telling(ran *[]string, name string, phases ...policy.Phase) *script {
	return &script{
		phases: policy.Phases(phases...),
		request: func(_ context.Context, p policy.Phase, _ *policy.RequestContext) (policy.RequestAction, error) {
			*ran = append(*ran, name+"/"+p.String())
			return nil, nil
		},
		response: func(_ context.Context, p policy.Phase, _ *policy.ResponseContext) (policy.ResponseAction, error) {
			*ran = append(*ran, name+"/"+p.String())
			return nil, nil
		},
	}
}

// TestSkipRest proves which steps are left out, in which phases, and that nothing is left
// out where it must not be.
func TestSkipRest(t *testing.T) {
	yes := &policy.SkipRest{Reason: "KNOWN"}
	for name, tt := range map[string]struct {
		skip   *policy.SkipRest
		in     policy.Phase
		change func(skipper *worker.PolicySpec, marked []worker.PolicySpec, s *script)
		shadow bool
		want   []string
		denied bool
	}{
		"those with the mark": {skip: yes, want: []string{"before/request_headers", "plain/request_headers", "before/request_body", "body/response_headers", "plain/response_headers", "before/response_headers"}},
		"as a whole or not at all": {skip: yes, in: policy.RequestBody,
			want: []string{"before/request_headers", "marked/request_headers", "conditional/request_headers", "plain/request_headers", "before/request_body", "marked/request_body", "body/response_headers", "plain/response_headers", "conditional/response_headers", "marked/response_headers", "before/response_headers"}},
		"none in shadow mode":                         {skip: yes, change: func(s *worker.PolicySpec, _ []worker.PolicySpec, _ *script) { s.Mode = worker.Shadow }, want: everything},
		"none where the proxy only shows":             {skip: yes, shadow: true, want: everything},
		"none where the policy says that it does not": {skip: yes, change: func(_ *worker.PolicySpec, _ []worker.PolicySpec, s *script) { s.skips = false }, want: []string{"before/request_headers"}, denied: true},
		"none without a reason":                       {skip: &policy.SkipRest{}, want: []string{"before/request_headers"}, denied: true},
		"none by a nil action":                        {want: []string{"before/request_headers"}, denied: true},
		"none by an impossible change":                {skip: &policy.SkipRest{Reason: "KNOWN", Mutation: &policy.RequestMutation{Method: "a b"}}, want: []string{"before/request_headers"}, denied: true},
		"none where its condition is false":           {skip: yes, change: func(s *worker.PolicySpec, _ []worker.PolicySpec, _ *script) { s.When = "false" }, want: everything},
		"none without the mark": {skip: yes, change: func(_ *worker.PolicySpec, marked []worker.PolicySpec, _ *script) {
			for i := range marked {
				marked[i].Skippable = false
			}
		}, want: everything},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, true)
			var ran []string
			mark := func(ps worker.PolicySpec) worker.PolicySpec { ps.Skippable = true; return ps }
			before := h.use(telling(&ran, "before", policy.RequestHeaders, policy.RequestBody, policy.ResponseHeaders))
			s := skipping(tt.in, tt.skip)
			all := []worker.PolicySpec{
				before, h.use(s),
				mark(h.use(telling(&ran, "marked", policy.RequestHeaders, policy.RequestBody, policy.ResponseHeaders))),
				mark(h.use(telling(&ran, "conditional", policy.RequestHeaders, policy.ResponseHeaders))),
				mark(h.use(telling(&ran, "late", policy.RequestBody))),
				h.use(telling(&ran, "plain", policy.RequestHeaders, policy.ResponseHeaders)),
				h.use(telling(&ran, "body", policy.ResponseHeaders)),
			}
			all[3].When = `request.method == "GET"`
			if tt.change != nil {
				tt.change(&all[1], all[2:5], s)
			}
			c := h.load(all...)
			x := begin(c)
			if tt.shadow {
				x.End(false)
				h.records.all = nil
				x = c.BeginShadow()
				x.Exchange().Route, x.Exchange().Request.Method = "r", "GET"
			}
			out := x.Run(context.Background(), policy.RequestHeaders, budget, noResume{t})
			if (out.Kind == worker.Respond) != tt.denied {
				t.Fatalf("the outcome is %+v", out)
			}
			if !tt.denied {
				if name == "those with the mark" && x.Needs().Phases.Has(policy.RequestBody) != true {
					t.Error("the body is not needed although a step before the skip wants it")
				}
				x.Exchange().Request.Body.Present = true
				x.Run(context.Background(), policy.RequestBody, budget, noResume{t})
				x.Run(context.Background(), policy.ResponseHeaders, budget, noResume{t})
			}
			x.End(false)
			if !slices.Equal(ran, tt.want) {
				t.Errorf("ran\n%s, want\n%s", strings.Join(ran, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

var everything = []string{
	"before/request_headers", "marked/request_headers", "conditional/request_headers", "plain/request_headers", "before/request_body", "marked/request_body", "late/request_body",
	"body/response_headers", "plain/response_headers", "conditional/response_headers", "marked/response_headers", "before/response_headers",
}

// TestWhatIsSkippedIsNotNeeded proves that Envoy is not asked for what only skipped steps need.
func TestWhatIsSkippedIsNotNeeded(t *testing.T) {
	h := newHarness(t, false)
	var ran []string
	body := h.use(telling(&ran, "body", policy.RequestBody, policy.ResponseHeaders))
	body.Skippable = true
	skipper := skipping(policy.RequestHeaders, &policy.SkipRest{Reason: "KNOWN"})
	skipper.phases = policy.Phases(policy.RequestHeaders)
	c := h.load(h.use(skipper), body)
	if n := c.Needs(); !n.Conditional || !n.Phases.Has(policy.RequestBody) {
		t.Errorf("the chain needs %+v", n)
	}
	x, _ := h.runRequest(c)
	if n := x.Needs(); n.Phases.Has(policy.RequestBody) || n.Phases.HasResponse() || n.Conditional {
		t.Errorf("the exchange needs %+v", n)
	}
	x.End(false)
}

// TestSkipsAreRecorded proves that the record says who has skipped whom and why, as it does
// for a decision, and that the counters do.
func TestSkipsAreRecorded(t *testing.T) {
	h := newHarness(t, true)
	var ran []string
	marked := h.use(telling(&ran, "marked", policy.RequestHeaders))
	marked.Skippable = true
	skipper := h.use(skipping(policy.RequestHeaders, &policy.SkipRest{Reason: "KNOWN", Mutation: &policy.RequestMutation{Headers: policy.HeaderMutation{Set: []policy.Header{{Name: "x-known", Value: "1"}}}}}))
	c := h.load(skipper, marked)
	x, _ := h.runRequest(c)
	if v, _ := x.Exchange().Request.Headers.Get("x-known"); v != "1" {
		t.Error("the change is not made")
	}
	x.End(false)
	steps := h.onlyRecord().Steps
	if len(steps) != 2 || steps[0].Outcome != telemetry.SkippedRest || steps[0].Reason != "KNOWN" || steps[0].Changes != "set x-known" ||
		steps[1].Outcome != telemetry.PassedOver || steps[1].SkippedBy != skipper.ID || steps[1].Reason != "KNOWN" {
		t.Errorf("the record has %+v", steps)
	}
	var counted []string
	for info := range c.Steps {
		for _, o := range []telemetry.StepOutcome{telemetry.SkippedRest, telemetry.PassedOver, telemetry.Skipped} {
			if n := info.Metrics.Outcomes(policy.RequestHeaders, o); n > 0 {
				counted = append(counted, fmt.Sprintf("%s %d", o, n))
			}
		}
	}
	if !slices.Equal(counted, []string{"skip_rest 1", "passed_over 1"}) {
		t.Errorf("counted %v", counted)
	}
}

// TestWhatMayNotBeSkipped proves that a mark is refused where skipping would be a hole, and told
// where it does nothing.
func TestWhatMayNotBeSkipped(t *testing.T) {
	var ran []string
	for name, tt := range map[string]struct {
		script   *script
		onReject bool
		disabled bool
		want     string
	}{
		"a policy that owns headers":            {script: &script{phases: policy.Phases(policy.RequestHeaders), owns: []string{"x-user"}}, want: "owns request headers that upstreams trust (x-user)"},
		"one that owns headers and is disabled": {script: &script{phases: policy.Phases(policy.RequestHeaders), owns: []string{"x-user"}}, disabled: true, want: "owns request headers"},
		"a step of onReject":                    {script: telling(&ran, "r", policy.ResponseHeaders), onReject: true, want: "never skipped"},
		"a policy of responses":                 {script: telling(&ran, "r", policy.ResponseHeaders), want: "acts on responses alone"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, false)
			ps := h.use(tt.script)
			ps.Skippable, ps.Disabled = true, tt.disabled
			spec := worker.ChainSpec{Name: "c", Policies: []worker.PolicySpec{ps}}
			if tt.onReject {
				spec = worker.ChainSpec{Name: "c", OnReject: []worker.PolicySpec{ps}}
			}
			_, err := h.Check(specOf(spec))
			var problems worker.Problems
			if !errors.As(err, &problems) || len(problems) != 1 || !strings.HasSuffix(problems[0].Path, ".skippable") || !strings.Contains(problems[0].Message, tt.want) {
				t.Errorf("the error is %v", err)
			}
		})
	}
	h := newHarness(t, false)
	ps := h.use(telling(&ran, "r", policy.RequestHeaders))
	ps.Skippable = true
	warnings, err := h.Check(specOf(worker.ChainSpec{Name: "c", Policies: []worker.PolicySpec{ps}}))
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0].Message, "no policy before") {
		t.Errorf("%v, %v", warnings, err)
	}
}
