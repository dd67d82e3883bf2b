package worker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
)

func TestResolve(t *testing.T) {
	r := registry(t)
	for version, want := range map[string]string{
		"v1.0.0": "v1.0.0", "v1": "v1.10.0", "v1.2": "v1.2.0", "v2": "v2.0.0",
		"v3":     "script has no version v3; compiled in are v2.0.0, v1.10.0, v1.2.0, v1.0.0",
		"v1.0.1": "script has no version v1.0.1; compiled in are v2.0.0, v1.10.0, v1.2.0, v1.0.0",
		"1":      "\"1\" is not a version; write one like v2.0.0, or v1 or v1.2 for the highest such",
		"":       "\"\" is not a version; write one like v2.0.0, or v1 or v1.2 for the highest such",
	} {
		v, err := r.Resolve("script", version)
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = v.Version
		}
		if got != want {
			t.Errorf("%q resolves to %q, want %q", version, got, want)
		}
	}
	for name, want := range map[string]string{
		"scrpt": `no policy is called "scrpt"; did you mean "script"?`,
		"other": `no policy is called "other"; known are plain and script`,
	} {
		if _, err := r.Resolve(name, "v1"); err == nil || err.Error() != want {
			t.Errorf("an unknown policy gives %v, want %s", err, want)
		}
	}
	empty, err := worker.NewRegistry()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := empty.Resolve("script", "v1"); err == nil || !strings.Contains(err.Error(), "built without policies") {
		t.Errorf("an empty registry gives %v", err)
	}
}

func TestManyVersionsInOneRegistry(t *testing.T) {
	var entries []worker.Entry
	for i := range 60 {
		entries = append(entries, worker.Entry{Definition: definitionJSON(t, "script", fmt.Sprintf("v1.%d.0", i), nil), Factory: policy.Define(newScripted)})
	}
	r, err := worker.NewRegistry(entries...)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := r.Resolve("script", "v1"); err != nil || v.Version != "v1.59.0" {
		t.Errorf("v1 resolves to %v, %v", v, err)
	}
}

func TestRegistryRefuses(t *testing.T) {
	f := policy.Define(newScripted)
	d := definitionJSON(t, "script", "v1.0.0", nil)
	_, err := worker.NewRegistry(
		worker.Entry{Definition: d, Factory: f}, worker.Entry{Definition: d, Factory: f},
		worker.Entry{Definition: definitionJSON(t, "other", "v1.0.0", map[string]any{"phases": []string{"request_headers"}}), Factory: f},
		worker.Entry{Definition: "{", Factory: f},
	)
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"script@v1.0.0: the bundle has it twice", "other@v1.0.0 declares the phases [request_headers] and its type *worker_test.scripted implements [request_headers, ", "registering policy 3"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q: %v", want, err)
		}
	}
}

func TestEveryProblemAtOnce(t *testing.T) {
	h := newHarness(t, false)
	h.load(h.use(setHeader("x-good", "1")))
	good := h.use(setHeader("x", "1"))
	with := func(f func(*worker.PolicySpec)) worker.PolicySpec { ps := good; f(&ps); return ps }
	_, err := h.Update(context.Background(), worker.Spec{
		Version: "2",
		Chains: []worker.ChainSpec{
			{Name: "a", Policies: []worker.PolicySpec{
				good, good,
				with(func(p *worker.PolicySpec) { p.ID, p.Name = "3", "scrpt" }),
				with(func(p *worker.PolicySpec) { p.ID, p.Version = "4", "v9" }),
				with(func(p *worker.PolicySpec) { p.ID, p.When = "5", "request.metod == 1" }),
				with(func(p *worker.PolicySpec) { p.ID, p.When = "6", "response.status == 200" }),
				with(func(p *worker.PolicySpec) { p.ID, p.Params = "7", []byte(`{"script":"nosuch"}`) }),
				with(func(p *worker.PolicySpec) { p.ID, p.Params = "8", []byte(`{"scrip":"x"}`) }),
				with(func(p *worker.PolicySpec) { p.ID, p.Timeout = "9", -1 }),
			}},
			{Name: "a"}, {Name: "b", RerouteHeaders: []string{"x y"}},
			{Name: "", BodyLimit: -1},
		},
		Routes: []worker.RouteSpec{{Name: "r", Chain: "a"}, {Name: "r", Chain: "z"}, {Name: "", Chain: "a"}},
	})
	var all worker.Problems
	if !errors.As(err, &all) {
		t.Fatalf("error is %T: %v", err, err)
	}
	got := map[string]string{}
	for _, p := range all {
		got[p.Path] += p.Message + "; " + p.Remedy + "|"
	}
	for path, want := range map[string]string{
		"chains[0].policies[1]":              "is there already, at chains[0].policies[0]",
		"chains[0].policies[2].name":         `no policy is called "scrpt"`,
		"chains[0].policies[3].version":      "script has no version v9",
		"chains[0].policies[4].when":         "metod",
		"chains[0].policies[5].when":         "response",
		"chains[0].policies[6].params":       `no script is called "nosuch"`,
		"chains[0].policies[7].params.scrip": "unknown",
		"chains[0].policies[8].timeout":      "negative",
		"chains[1].name":                     "twice",
		"chains[2].rerouteHeaders[0]":        "not a header name",
		"chains[2].rerouteHeaders":           "no effect",
		"chains[3].name":                     "no name",
		"chains[3].bodyLimit":                "out of range",
		"routes[1].name":                     "twice",
		"routes[1].chain":                    `no chain is called "z"; known are a and b`,
		"routes[2].name":                     "no name",
	} {
		if !strings.Contains(got[path], want) {
			t.Errorf("%s: %q lacks %q", path, got[path], want)
		}
	}
	if len(all) != 16 {
		t.Errorf("%d problems:\n%v", len(all), all)
	}
	// The last good one stays.
	st := h.Status()
	if st.Version != "1" || st.Rejected != "2" || st.Err == nil || st.Rejections != 1 || st.Updates != 1 {
		t.Errorf("status %+v", st)
	}
	s := h.Acquire()
	defer s.Release()
	if c, ok := s.Chain("r"); !ok || c.Name() != "c" {
		t.Error("the last good configuration is gone")
	}
	// The same refusal told again, and one of a source that was not even read.
	for i, version := range []string{"2", "3"} {
		h.Refuse(version, errors.New("chains.yaml:1:1: why"))
		if st := h.Status(); st.Version != "1" || st.Rejected != version || st.Err.Error() != "chains.yaml:1:1: why" || st.Rejections != uint64(1+i) {
			t.Errorf("refused %s: status %+v", version, st)
		}
	}
}

func TestWarnings(t *testing.T) {
	h := newHarness(t, false)
	body := &script{phases: policy.Phases(policy.RequestBody)}
	dep := h.use(setHeader("y", "1"))
	dep.Version = "v2"
	warnings, err := h.Update(context.Background(), worker.Spec{
		Chains: []worker.ChainSpec{{Name: "c", Policies: []worker.PolicySpec{h.use(body), h.use(setHeader("x", "1")), dep}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	text := warnings.Error()
	for _, want := range []string{`no route uses chain "c"`, "is deprecated: write v1", "acts on headers and so runs before"} {
		if !strings.Contains(text, want) {
			t.Errorf("warnings lack %q: %s", want, text)
		}
	}
}

func TestNeeds(t *testing.T) {
	h := newHarness(t, false)
	holds := h.use(&script{phases: policy.Phases(policy.ResponseBodyChunks), holds: true})
	plain := h.use(&script{phases: policy.Phases(policy.RequestBody)})
	plain.Name = "plain"
	off := h.use(&script{phases: policy.Phases(policy.RequestTrailers)})
	off.Disabled = true
	c := h.loadChain(worker.ChainSpec{BodyLimit: 7, Reroute: true, RerouteHeaders: []string{"X-Tenant"}, Policies: []worker.PolicySpec{holds, plain, off}})
	n := c.Needs()
	if n.Phases != policy.Phases(policy.RequestBody, policy.ResponseBodyChunks) || !n.HoldsResponseChunks || n.HoldsRequestChunks ||
		!n.DecodeRequestBody || n.DecodeResponseBody || n.BodyLimit != 7 || !n.Reroute || n.RerouteHeaders[0] != "x-tenant" {
		t.Errorf("needs %+v", n)
	}
	raw := h.use(&script{phases: policy.Phases(policy.RequestBody)})
	_, err := h.Check(specOf(worker.ChainSpec{Name: "c", Policies: []worker.PolicySpec{plain, raw}}))
	if err == nil || !strings.Contains(err.Error(), "wants the body as it is") {
		t.Errorf("raw beside decoded gives %v", err)
	}
}

// TestInstancesOverReloads proves whose state stays, who adopts, and who is closed
// when.
func TestInstancesOverReloads(t *testing.T) {
	h := newHarness(t, false)
	var closed, adopted atomic.Int64
	s := setHeader("x", "1")
	s.close = func() { closed.Add(1) }
	s.adopt = func(old any) {
		if _, ok := old.(*scripted); ok {
			adopted.Add(1)
		}
	}
	ps := h.use(s)
	update := func(p ...worker.PolicySpec) {
		t.Helper()
		if _, err := h.Update(context.Background(), specOf(worker.ChainSpec{Name: "c", Policies: p})); err != nil {
			t.Fatal(err)
		}
	}
	update(ps)
	pinned := h.Acquire()
	update(ps)
	if closed.Load() != 0 || adopted.Load() != 0 {
		t.Errorf("unchanged: %d closed, %d adopted", closed.Load(), adopted.Load())
	}
	changed := ps
	changed.Params = []byte(strings.Replace(string(ps.Params), `"other":""`, `"other":"x"`, 1))
	update(changed)
	if adopted.Load() != 1 {
		t.Errorf("changed: %d adopted, want 1", adopted.Load())
	}
	if closed.Load() != 0 {
		t.Error("closed while a request uses it")
	}
	pinned.Release()
	waitFor(t, "the old instance to be closed", func() bool { return closed.Load() == 1 })
	update()
	waitFor(t, "the new instance to be closed", func() bool { return closed.Load() == 2 })
}

func TestRefusedUpdateClosesWhatItMade(t *testing.T) {
	h := newHarness(t, false)
	var closed atomic.Int64
	s := setHeader("x", "1")
	s.close = func() { closed.Add(1) }
	bad := h.use(setHeader("y", "1"))
	bad.Version = "v9"
	if _, err := h.Update(context.Background(), specOf(worker.ChainSpec{Name: "c", Policies: []worker.PolicySpec{h.use(s), bad}})); err == nil {
		t.Fatal("accepted")
	}
	if closed.Load() != 1 {
		t.Errorf("%d closed, want 1", closed.Load())
	}
}

// TestPreviewsBesideUpdates proves that an instance that a preview shares with the
// configuration in force is closed once, when neither has it any more.
func TestPreviewsBesideUpdates(t *testing.T) {
	h := newHarness(t, false)
	var built, closed, twice atomic.Int64
	spec := func(i int) worker.Spec {
		var mine atomic.Int64
		s := setHeader("x", fmt.Sprint(i))
		s.asked = func() { built.Add(1); mine.Add(1) }
		s.close = func() {
			closed.Add(1)
			if mine.Add(-1) < 0 {
				twice.Add(1)
			}
		}
		ps := h.use(s)
		ps.ID = "same"
		return specOf(worker.ChainSpec{Name: "c", Policies: []worker.PolicySpec{ps}})
	}
	now := spec(0)
	if _, err := h.Update(context.Background(), now); err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		next := spec(i + 1)
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				s, _, err := h.Preview(now)
				if err != nil {
					t.Error(err)
					return
				}
				s.Release()
			})
		}
		all.Go(func() {
			if _, err := h.Update(context.Background(), next); err != nil {
				t.Error(err)
			}
		})
		all.Wait()
		now = next
	}
	h.load()
	waitFor(t, "the instances to be closed", func() bool { return closed.Load() >= built.Load() })
	if n := twice.Load(); n > 0 {
		t.Errorf("%d instances were closed twice", n)
	}
}

// TestPanicWhenAsked proves that a policy that panics when it is asked what it does is
// a problem of the configuration.
func TestPanicWhenAsked(t *testing.T) {
	h := newHarness(t, false)
	s := setHeader("x", "1")
	s.asked = func() { panic("boom") }
	_, err := h.Update(context.Background(), specOf(worker.ChainSpec{Name: "c", Policies: []worker.PolicySpec{h.use(s)}}))
	if err == nil || !strings.Contains(err.Error(), "chains[0].policies[0].params") || !strings.Contains(err.Error(), "boom") {
		t.Errorf("error %v", err)
	}
}

func TestStart(t *testing.T) {
	t.Run("failing is a warning, and its steps err until it succeeds", func(t *testing.T) {
		h := newHarness(t, false)
		var up atomic.Bool
		s := setHeader("x", "1")
		s.start = func(context.Context) error {
			if !up.Load() {
				return errors.New("the key server is down")
			}
			return nil
		}
		warnings, err := h.Update(context.Background(), specOf(worker.ChainSpec{Name: "c", Policies: []worker.PolicySpec{h.use(s)}}))
		if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0].Message, "the key server is down") || warnings[0].Path != "chains[0].policies[0]" {
			t.Fatalf("warnings %v, error %v", warnings, err)
		}
		snap := h.Acquire()
		defer snap.Release()
		c := chainOf(snap)
		x, out := h.runRequest(c)
		wantDenied(t, out, 500, "policy_engine.script@v1.0.0.POLICY_ERROR")
		x.End(false)
		up.Store(true)
		waitFor(t, "the policy to start", func() bool {
			x, out := h.runRequest(c)
			defer x.End(false)
			return out.Kind == worker.Continue
		})
	})
	t.Run("required refuses the update", func(t *testing.T) {
		h := newHarness(t, false)
		s := setHeader("x", "1")
		s.start = func(context.Context) error { return errors.New("down") }
		ps := h.use(s)
		ps.Required = true
		_, err := h.Update(context.Background(), specOf(worker.ChainSpec{Name: "c", Policies: []worker.PolicySpec{ps}}))
		if err == nil || !strings.Contains(err.Error(), "is required and has not started: down") {
			t.Errorf("error %v", err)
		}
		if h.Acquire() != nil {
			t.Error("the refused configuration is in force")
		}
	})
	for _, required := range []bool{false, true} {
		t.Run(fmt.Sprintf("one that does not heed its context holds up nothing (required: %v)", required), func(t *testing.T) {
			h := newHarnessWith(t, worker.Options{StartTimeout: time.Millisecond})
			release := make(chan struct{})
			var closed, running atomic.Int64
			s := setHeader("x", "1")
			s.start = func(context.Context) error {
				if running.Add(1) > 1 {
					t.Error("Start was called while it was running")
				}
				defer running.Add(-1)
				<-release
				return nil
			}
			s.close = func() {
				closed.Add(1)
				if running.Load() > 0 {
					t.Error("the instance was closed under its Start")
				}
			}
			ps := h.use(s)
			ps.Required = required
			_, err := h.Update(context.Background(), specOf(worker.ChainSpec{Name: "c", Policies: []worker.PolicySpec{ps}}))
			if (err != nil) != required {
				t.Fatal(err)
			}
			if !required {
				snapshot := h.Acquire()
				c := chainOf(snapshot)
				x, out := h.runRequest(c)
				wantDenied(t, out, 500, "policy_engine.script@v1.0.0.POLICY_ERROR")
				x.End(false)
				close(release)
				waitFor(t, "the policy to start", func() bool {
					x, out := h.runRequest(c)
					defer x.End(false)
					return out.Kind == worker.Continue
				})
				snapshot.Release()
			}
			h.load()
			if required {
				close(release)
			}
			waitFor(t, "the instance to be closed", func() bool { return closed.Load() == 1 })
		})
	}
	t.Run("a panic is contained", func(t *testing.T) {
		h := newHarness(t, false)
		s := setHeader("x", "1")
		s.start = func(context.Context) error { panic("boom") }
		if _, err := h.Update(context.Background(), specOf(worker.ChainSpec{Name: "c", Policies: []worker.PolicySpec{h.use(s)}})); err != nil {
			t.Error(err)
		}
	})
}

// TestInstancesThatAreSharedAndHaveNotStarted proves that a configuration which shares
// an instance with the one before is told of it when it has not started, that a step
// which is required now has one more attempt and refuses the update where that fails,
// and that the warning ends when the policy starts.
func TestInstancesThatAreSharedAndHaveNotStarted(t *testing.T) {
	h := newHarness(t, false)
	var up atomic.Bool
	var attempts atomic.Int64
	s := setHeader("x", "1")
	s.start = func(context.Context) error {
		attempts.Add(1)
		if !up.Load() {
			return errors.New("the key server is down")
		}
		return nil
	}
	ps := h.use(s)
	update := func(version string) (worker.Problems, error) {
		spec := specOf(worker.ChainSpec{Name: "c", Policies: []worker.PolicySpec{ps}})
		spec.Version = version
		return h.Update(context.Background(), spec)
	}
	for _, version := range []string{"new", "shared"} {
		warnings, err := update(version)
		if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0].Error(), "chains[0].policies[0]: script@v1.0.0 has not started yet: the key server is down") {
			t.Fatalf("%s: warnings %v, error %v", version, warnings, err)
		}
		if st := h.Status(); st.Version != version || len(st.Warnings) != 1 {
			t.Fatalf("%s: the status is %+v", version, st)
		}
	}
	ps.Required = true
	before := attempts.Load()
	if _, err := update("required"); err == nil || !strings.Contains(err.Error(), "is required and has not started: the key server is down") {
		t.Errorf("required, and down: %v", err)
	}
	if attempts.Load() == before {
		t.Error("a required policy was not tried again before the update was refused")
	}
	if st := h.Status(); st.Version != "shared" || len(st.Warnings) != 1 {
		t.Errorf("after the refusal the status is %+v", st)
	}
	up.Store(true)
	if warnings, err := update("required"); err != nil || len(warnings) != 0 {
		t.Errorf("required, and up: warnings %v, error %v", warnings, err)
	}
	if st := h.Status(); st.Version != "required" || len(st.Warnings) != 0 {
		t.Errorf("once it has started the status is %+v", st)
	}
}

// TestWarningsEndWithTheStart proves that the status does not go on to warn of a policy
// that has started in the background.
func TestWarningsEndWithTheStart(t *testing.T) {
	h := newHarness(t, false)
	var attempts atomic.Int64
	s := setHeader("x", "1")
	s.start = func(context.Context) error {
		if attempts.Add(1) == 1 {
			return errors.New("down")
		}
		return nil
	}
	h.load(h.use(s))
	if n := len(h.Status().Warnings); n != 1 {
		t.Errorf("%d warnings before it has started", n)
	}
	waitFor(t, "the warning to end", func() bool { return len(h.Status().Warnings) == 0 })
}

// TestDisabledStepsAreCheckedAndNotStarted proves that a step with enabled: false is
// made, so that its parameters are checked, and closed, and never started: neither as a
// new one nor when it ran before.
func TestDisabledStepsAreCheckedAndNotStarted(t *testing.T) {
	h := newHarness(t, false)
	var started, closed atomic.Int64
	s := setHeader("x", "1")
	s.start = func(context.Context) error { started.Add(1); return nil }
	s.close = func() { closed.Add(1) }
	off := h.use(s)
	off.Disabled, off.Required = true, true
	c := h.load(off)
	if started.Load() != 0 || closed.Load() != 1 {
		t.Errorf("a disabled step was started %d times and closed %d times", started.Load(), closed.Load())
	}
	for range c.Steps {
		t.Error("a disabled step is in the chain")
	}
	wrong := off
	wrong.Params = []byte(`{"script":"nosuch"}`)
	if _, err := h.Update(context.Background(), specOf(worker.ChainSpec{Name: "c", Policies: []worker.PolicySpec{wrong}})); err == nil || !strings.Contains(err.Error(), `no script is called "nosuch"`) {
		t.Errorf("a disabled step with wrong parameters gives %v", err)
	}
	on := off
	on.Disabled = false
	if h.load(on); started.Load() != 1 {
		t.Errorf("once enabled it was started %d times", started.Load())
	}
	if h.load(off); started.Load() != 1 {
		t.Errorf("disabled again it was started %d times", started.Load())
	}
}

// TestManyProblemsAreListedInLinearTime proves that the text of a long list of problems
// takes as little work as its first hundred. The counts may differ a little: under the
// race detector, the pools of package fmt drop a quarter of what is put into them.
func TestManyProblemsAreListedInLinearTime(t *testing.T) {
	all := make(worker.Problems, 100_000)
	for i := range all {
		all[i] = worker.Problem{Path: fmt.Sprintf("chains[%d]", i), Message: strings.Repeat("m", 200)}
	}
	text := all.Error()
	if strings.Count(text, "\n") != 100 || !strings.HasSuffix(text, "\nand 99900 more problems") {
		t.Errorf("%d lines, and the last is %s", strings.Count(text, "\n")+1, text[strings.LastIndexByte(text, '\n')+1:])
	}
	few := testing.AllocsPerRun(10, func() { _ = all[:200].Error() })
	if many := testing.AllocsPerRun(10, func() { _ = all.Error() }); many > 2*few {
		t.Errorf("%v allocations for 100000 problems and %v for 200", many, few)
	}
}

// TestManyRoutesToNoChain proves that the search for the chain that was meant is bounded.
func TestManyRoutesToNoChain(t *testing.T) {
	h := newHarness(t, false)
	spec := worker.Spec{Version: "1"}
	for i := range 2_000 {
		spec.Chains = append(spec.Chains, worker.ChainSpec{Name: fmt.Sprintf("payments-%d", i)})
		spec.Routes = append(spec.Routes, worker.RouteSpec{Name: fmt.Sprint(i), Chain: "paymnts-0"})
	}
	_, err := h.Update(context.Background(), spec)
	var all worker.Problems
	if !errors.As(err, &all) || len(all) != 2_000 || all[0].Remedy != `did you mean "payments-0"?` || all[1_999].Remedy != "name one of the chains" {
		t.Errorf("got %v", err)
	}
}

func TestNoConfigurationYet(t *testing.T) {
	h := newHarness(t, false)
	if h.Acquire() != nil {
		t.Error("a snapshot before the first configuration")
	}
}

// TestUpdatesUnderLoad proves that requests end on the snapshot they began with.
func TestUpdatesUnderLoad(t *testing.T) {
	h := newHarness(t, false)
	var live atomic.Int64
	spec := func(i int) worker.Spec {
		s := setHeader("x", fmt.Sprint(i))
		var closed atomic.Bool
		live.Add(1)
		s.close = func() { closed.Store(true); live.Add(-1) }
		s.request = func(context.Context, policy.Phase, *policy.RequestContext) (policy.RequestAction, error) {
			if closed.Load() {
				t.Error("a closed instance was called")
			}
			return nil, nil
		}
		return specOf(worker.ChainSpec{Name: "c", Policies: []worker.PolicySpec{h.use(s)}})
	}
	if _, err := h.Update(context.Background(), spec(0)); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			s := h.Acquire()
			c := chainOf(s)
			x, _ := h.runRequest(c)
			x.End(false)
			s.Release()
		}
	}()
	for i := 1; i <= 100; i++ {
		if _, err := h.Update(context.Background(), spec(i)); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	<-done
	waitFor(t, "the replaced instances to be closed", func() bool { return live.Load() == 1 })
	_ = time.Now
}
