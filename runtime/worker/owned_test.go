package worker_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

// owning is a policy that owns x-user and sets it to "policy".
func owning() *script {
	s := setHeader("x-user", "policy")
	s.owns = []string{"X-User"}
	return s
}

// runWith runs the request's headers with some more that the client has sent, and
// returns what the upstream sees under x-user and x_user.
func runWith(t *testing.T, x worker.Executor, headers ...exchange.Field) []string {
	t.Helper()
	e := x.Exchange()
	e.Request.Headers.Reset(append(append(e.Request.Headers.Storage(), headers...), exchange.Field{Name: "accept", Value: "*/*"}))
	wantContinue(t, x.Run(context.Background(), policy.RequestHeaders, budget, noResume{t}))
	defer x.End(false)
	return slices.Concat(slices.Collect(e.Request.Headers.Values("x-user")), slices.Collect(e.Request.Headers.Values("x_user")))
}

var spoofed = []exchange.Field{{Name: "x-user", Value: "client"}, {Name: "x_user", Value: "client"}, {Name: "x-user", Value: "client"}}

// TestOwnedHeadersOfTheClient proves that no upstream sees what a client writes into a
// header that a policy owns, whatever keeps the policy from running.
func TestOwnedHeadersOfTheClient(t *testing.T) {
	fails := onRequestHeaders(func(context.Context, *policy.RequestContext) (policy.RequestAction, error) {
		return nil, errors.New("no")
	})
	fails.owns = []string{"x-user"}
	panics := onRequestHeaders(func(context.Context, *policy.RequestContext) (policy.RequestAction, error) { panic("no") })
	panics.owns = []string{"x-user"}
	notStarted := owning()
	notStarted.start = func(context.Context) error { return errors.New("not yet") }
	later := &script{phases: policy.Phases(policy.RequestBody), owns: []string{"x-user"}}
	response := &script{phases: policy.Phases(policy.ResponseHeaders), owns: []string{"x-user"}}
	for _, c := range []struct {
		name   string
		policy *script
		change func(*worker.PolicySpec)
		want   []string
	}{
		{"the policy runs", owning(), func(*worker.PolicySpec) {}, []string{"policy"}},
		{"its condition rules it out", owning(), func(ps *worker.PolicySpec) { ps.When = "false" }, nil},
		{"its condition errs, and the request goes on", owning(), func(ps *worker.PolicySpec) {
			ps.When, ps.OnError = `request.headers["none"] == "x"`, worker.ContinueOnError
		}, nil},
		{"it runs in shadow mode", owning(), func(ps *worker.PolicySpec) { ps.Mode = worker.Shadow }, nil},
		{"it is not enabled", owning(), func(ps *worker.PolicySpec) { ps.Disabled = true }, nil},
		{"it errs, and the request goes on", fails, func(ps *worker.PolicySpec) { ps.OnError = worker.ContinueOnError }, nil},
		{"it panics, and the request goes on", panics, func(ps *worker.PolicySpec) { ps.OnError = worker.ContinueOnError }, nil},
		{"it has not started, and the request goes on", notStarted, func(ps *worker.PolicySpec) { ps.OnError = worker.ContinueOnError }, nil},
		{"it acts on the body only", later, func(*worker.PolicySpec) {}, nil},
		{"it acts on the response only", response, func(*worker.PolicySpec) {}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHarness(t, false)
			ps := h.use(c.policy)
			c.change(&ps)
			chain := h.load(ps)
			if !chain.Needs().Phases.Has(policy.RequestHeaders) {
				t.Error("the chain does not ask to see the request's headers")
			}
			if got := chain.OwnedHeaders(); !slices.Equal(got, []string{"x-user"}) {
				t.Errorf("the chain owns %q", got)
			}
			x := begin(chain)
			if got := runWith(t, x, spoofed...); !slices.Equal(got, c.want) {
				t.Errorf("the upstream sees %q, want %q", got, c.want)
			}
			if got := runWith(t, begin(chain)); !slices.Equal(got, c.want) {
				t.Errorf("without a header of the client's the upstream sees %q, want %q", got, c.want)
			}
			if got := runWith(t, chain.BeginShadow(), spoofed...); len(got) != 0 {
				t.Errorf("on an exchange that is only shown the upstream would see %q", got)
			}
		})
	}
}

// TestOwnedHeadersOfOtherSteps proves that what a step of the chain sets stays, before
// the owner and behind it, and that no step and no condition sees the client's.
func TestOwnedHeadersOfOtherSteps(t *testing.T) {
	h := newHarness(t, false)
	var seen []string
	looks := onRequestHeaders(func(_ context.Context, req *policy.RequestContext) (policy.RequestAction, error) {
		seen = slices.Collect(req.Headers().Values("x-user"))
		return nil, nil
	})
	first := h.use(setHeader("x-user", "first"))
	first.When = `"x-user" in request.headers`
	ruledOut := h.use(owning())
	ruledOut.When = "false"
	if got := runWith(t, begin(h.load(first, h.use(looks), ruledOut)), spoofed...); len(got) != 0 || len(seen) != 0 {
		t.Errorf("a condition or a step has seen the client's header: %q, %q", got, seen)
	}
	first.When = ""
	if got := runWith(t, begin(h.load(first, h.use(looks), ruledOut)), spoofed...); !slices.Equal(got, []string{"first"}) || !slices.Equal(seen, []string{"first"}) {
		t.Errorf("what a step has set is %q in front of the owner and %q in the end", seen, got)
	}
	if got := runWith(t, begin(h.load(ruledOut, h.use(setHeader("x-user", "last")))), spoofed...); !slices.Equal(got, []string{"last"}) {
		t.Errorf("what a step behind the owner has set is %q", got)
	}
}

// TestOwnedHeadersOnceOnly proves that later phases remove nothing, and that a chain
// that goes on elsewhere removes nothing again.
func TestOwnedHeadersOnceOnly(t *testing.T) {
	h := newHarness(t, false)
	both := setHeader("x-user", "headers")
	both.phases = policy.Phases(policy.RequestHeaders, policy.RequestBody)
	body := &script{phases: policy.Phases(policy.RequestBody), owns: []string{"x-user"},
		request: func(context.Context, policy.Phase, *policy.RequestContext) (policy.RequestAction, error) {
			return nil, nil
		}}
	x := begin(h.load(h.use(both), h.use(body)))
	defer x.End(false)
	e := x.Exchange()
	for _, phase := range []policy.Phase{policy.RequestHeaders, policy.RequestBody} {
		e.Request.Body = exchange.Body{Bytes: []byte("b"), Present: true}
		wantContinue(t, x.Run(context.Background(), phase, budget, noResume{t}))
		if got, _ := e.Request.Headers.Get("x-user"); got != "headers" {
			t.Errorf("after %s the header is %q", phase, got)
		}
	}
}

// TestOwnedHeadersOfUnchangedInstances proves that an instance that stays over an update
// goes on owning its headers, and that switching it off changes nothing about that.
func TestOwnedHeadersOfUnchangedInstances(t *testing.T) {
	h := newHarness(t, false)
	ps := h.use(owning())
	for _, disabled := range []bool{false, false, true, true, false} {
		ps.Disabled = disabled
		var want []string
		if !disabled {
			want = []string{"policy"}
		}
		if got := runWith(t, begin(h.load(ps)), spoofed...); !slices.Equal(got, want) {
			t.Errorf("disabled %v: the upstream sees %q, want %q", disabled, got, want)
		}
	}
}

func TestHeadersThatNobodyCanOwn(t *testing.T) {
	h := newHarness(t, false)
	s := owning()
	s.owns = []string{"content-length"}
	ps := h.use(s)
	ps.Disabled = true
	_, err := h.Check(specOf(worker.ChainSpec{Name: "c", Policies: []worker.PolicySpec{ps}}))
	if err == nil || !strings.Contains(err.Error(), `chains[0].policies[0].params: script@v1.0.0 cannot be made from these parameters: the policy cannot own the header "content-length"`) {
		t.Errorf("%v", err)
	}
}

func TestOwnedHeadersCostNothingWhereThereAreNone(t *testing.T) {
	if raceEnabled {
		t.Skip("counted without the race detector only")
	}
	h := newHarness(t, false)
	chain := h.load(h.use(owning()))
	var resume worker.Resumer = noResume{t}
	if n := testing.AllocsPerRun(500, func() { runOnce(chain, resume) }); n > 0 {
		t.Errorf("%v allocations on a request without owned headers", n)
	}
}

func BenchmarkOwnedHeaders(b *testing.B) {
	for name, owns := range map[string][]string{"none": nil, "three": {"x-user", "x-roles", "x-tenant"}} {
		b.Run(name, func(b *testing.B) {
			h := newHarness(b, false)
			s := setHeader("x-user", "policy")
			s.owns = owns
			chain := h.load(h.use(s))
			var resume worker.Resumer = noResume{b}
			b.ReportAllocs()
			for b.Loop() {
				runOnce(chain, resume)
			}
		})
	}
}
