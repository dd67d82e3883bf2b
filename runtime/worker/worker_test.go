package worker_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scripted is a policy whose methods are the fields of a script, found by the name
// that its parameters give.
type scripted struct {
	*script
	name string
}

type script struct {
	request  func(ctx context.Context, phase policy.Phase, req *policy.RequestContext) (policy.RequestAction, error)
	response func(ctx context.Context, phase policy.Phase, resp *policy.ResponseContext) (policy.ResponseAction, error)
	chunk    func(ctx context.Context, c *policy.Chunk) (policy.ChunkAction, error)
	phases   policy.PhaseSet
	holds    bool
	// reads says that the policy only reads chunks.
	reads bool
	// skips says that the policy may skip the rest.
	skips bool
	start func(context.Context) error
	adopt func(old any)
	close func()
	// made is called by New.
	made func(policy.Host, scriptParams) error
	// asked is called when the policy is asked for its phases.
	asked func()
	// owns are the request headers that the policy owns.
	owns []string
}

var scripts sync.Map

type scriptParams struct {
	Script string `json:"script"`
	Other  string `json:"other"`
}

func newScripted(p scriptParams, host policy.Host) (*scripted, error) {
	if p.Script == "" {
		return &scripted{script: &script{}}, nil
	}
	s, ok := scripts.Load(p.Script)
	if !ok {
		return nil, fmt.Errorf("no script is called %q", p.Script)
	}
	if made := s.(*script).made; made != nil {
		if err := made(host, p); err != nil {
			return nil, err
		}
	}
	return &scripted{s.(*script), p.Script}, nil
}

func (s *scripted) ActivePhases() policy.PhaseSet {
	if s.asked != nil {
		s.asked()
	}
	return s.phases
}
func (s *scripted) HoldsChunks() bool             { return s.holds }
func (s *scripted) ReadsChunks() bool             { return s.reads }
func (s *scripted) SkipsSteps() bool              { return s.skips }
func (s *scripted) OwnedRequestHeaders() []string { return s.owns }
func (s *scripted) Start(ctx context.Context) error {
	if s.start == nil {
		return nil
	}
	return s.start(ctx)
}
func (s *scripted) Adopt(old any) {
	if s.adopt != nil {
		s.adopt(old)
	}
}
func (s *scripted) Close() error {
	if s.close != nil {
		s.close()
	}
	return nil
}
func (s *scripted) onRequest(ctx context.Context, p policy.Phase, r *policy.RequestContext) (policy.RequestAction, error) {
	return s.script.request(ctx, p, r)
}
func (s *scripted) OnRequestHeaders(ctx context.Context, r *policy.RequestContext) (policy.RequestAction, error) {
	return s.onRequest(ctx, policy.RequestHeaders, r)
}
func (s *scripted) OnRequestBody(ctx context.Context, r *policy.RequestContext) (policy.RequestAction, error) {
	return s.onRequest(ctx, policy.RequestBody, r)
}
func (s *scripted) OnRequestTrailers(ctx context.Context, r *policy.RequestContext) (policy.RequestAction, error) {
	return s.onRequest(ctx, policy.RequestTrailers, r)
}
func (s *scripted) OnResponseHeaders(ctx context.Context, r *policy.ResponseContext) (policy.ResponseAction, error) {
	return s.script.response(ctx, policy.ResponseHeaders, r)
}
func (s *scripted) OnResponseBody(ctx context.Context, r *policy.ResponseContext) (policy.ResponseAction, error) {
	return s.script.response(ctx, policy.ResponseBody, r)
}
func (s *scripted) OnResponseTrailers(ctx context.Context, r *policy.ResponseContext) (policy.ResponseAction, error) {
	return s.script.response(ctx, policy.ResponseTrailers, r)
}
func (s *scripted) OnRequestBodyChunk(ctx context.Context, _ *policy.RequestContext, c *policy.Chunk) (policy.ChunkAction, error) {
	return s.script.chunk(ctx, c)
}
func (s *scripted) OnResponseBodyChunk(ctx context.Context, _ *policy.ResponseContext, c *policy.Chunk) (policy.ChunkAction, error) {
	return s.script.chunk(ctx, c)
}

// definitionJSON is a normalised definition for the scripted policy.
func definitionJSON(t testing.TB, name, version string, extra map[string]any) string {
	t.Helper()
	phases := make([]string, 0, policy.PhaseCount)
	for p := policy.Phase(0); p < policy.PhaseCount; p++ {
		phases = append(phases, p.String())
	}
	d := map[string]any{
		"apiVersion": "policyengine/v1", "name": name, "version": version, "description": "A scripted policy.", "phases": phases,
		"parameters": map[string]any{
			"type": "object", "additionalProperties": false,
			"properties": map[string]any{"script": map[string]any{"type": "string"}, "other": map[string]any{"type": "string"}},
		},
	}
	for k, v := range extra {
		d[k] = v
	}
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func registry(t testing.TB) *worker.Registry {
	t.Helper()
	f := policy.Define(newScripted)
	r, err := worker.NewRegistry(
		worker.Entry{Definition: definitionJSON(t, "script", "v1.0.0", nil), Factory: f},
		worker.Entry{Definition: definitionJSON(t, "script", "v1.2.0", nil), Factory: f},
		worker.Entry{Definition: definitionJSON(t, "script", "v1.10.0", nil), Factory: f},
		worker.Entry{Definition: definitionJSON(t, "script", "v2.0.0", map[string]any{"deprecated": "write v1"}), Factory: f},
		worker.Entry{Definition: definitionJSON(t, "plain", "v1.0.0", map[string]any{"body": "decoded"}), Factory: f},
	)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// systemClock is the real time.
type systemClock struct{}

func (systemClock) Now() time.Time                        { return time.Now() }
func (systemClock) NewTimer(d time.Duration) policy.Timer { return systemTimer{time.NewTimer(d)} }

type systemTimer struct{ *time.Timer }

func (t systemTimer) C() <-chan time.Time { return t.Timer.C }

// harness is a worker with scripted policies.
type harness struct {
	*worker.Worker
	t       testing.TB
	log     *syncBuffer
	records *recorder
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

type recorder struct {
	mu  sync.Mutex
	all []*telemetry.Decision
}

func (r *recorder) Record(d *telemetry.Decision) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, d)
}

func newHarness(t testing.TB, recorded bool) *harness {
	t.Helper()
	records := &recorder{}
	o := worker.Options{}
	if recorded {
		o.Recorder = records
	}
	h := newHarnessWith(t, o)
	h.records = records
	return h
}

func newHarnessWith(t testing.TB, o worker.Options) *harness {
	t.Helper()
	h := &harness{t: t, log: &syncBuffer{}}
	o.Host.Logger = slog.New(slog.NewTextHandler(h.log, nil))
	if o.Host.Clock == nil {
		o.Host.Clock = systemClock{}
	}
	if theWay != inProcess {
		o.Sites = theWay.sites()
	}
	h.Worker = worker.New(registry(t), o)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := h.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return h
}

// use makes a script known and returns the policy that follows it.
func (h *harness) use(s *script) worker.PolicySpec {
	h.t.Helper()
	name := fmt.Sprintf("%s-%p", h.t.Name(), s)
	scripts.Store(name, s)
	h.t.Cleanup(func() { scripts.Delete(name) })
	params, err := json.Marshal(scriptParams{Script: name})
	if err != nil {
		h.t.Fatal(err)
	}
	return worker.PolicySpec{ID: name, Name: "script", Version: "v1.0.0", Params: params}
}

// held is a chain with a snapshot that has it.
type held struct {
	*worker.Chain
	snapshot *worker.Snapshot
}

func (c held) Begin() worker.Executor       { return c.snapshot.Begin(c.Chain) }
func (c held) BeginShadow() worker.Executor { return c.snapshot.BeginShadow(c.Chain) }

// chainOf is the chain of route "r".
func chainOf(s *worker.Snapshot) held {
	c, _ := s.Chain("r")
	return held{c, s}
}

// load makes the policies the chain of route "r".
func (h *harness) load(policies ...worker.PolicySpec) held {
	h.t.Helper()
	return h.loadChain(worker.ChainSpec{Name: "c", Policies: policies})
}

func (h *harness) loadChain(c worker.ChainSpec) held {
	h.t.Helper()
	c.Name = "c"
	if _, err := h.Update(context.Background(), specOf(c)); err != nil {
		h.t.Fatalf("updating: %v", err)
	}
	s := h.Acquire()
	h.t.Cleanup(s.Release)
	if _, ok := s.Chain("r"); !ok {
		h.t.Fatal("route r has no chain")
	}
	return chainOf(s)
}

func specOf(c worker.ChainSpec) worker.Spec {
	return worker.Spec{Version: "1", Chains: []worker.ChainSpec{c}, Routes: []worker.RouteSpec{{Name: "r", Chain: "c"}}}
}

const budget = 20 * time.Second

// noResume fails the test when a call is abandoned that should not be.
type noResume struct{ t testing.TB }

func (n noResume) Resume(x worker.Executor, _ worker.Outcome) {
	n.t.Error("a call was abandoned")
	x.End(false)
}

// resumed receives what goes on elsewhere.
type resumed chan struct {
	x   worker.Executor
	out worker.Outcome
}

func (r resumed) Resume(x worker.Executor, out worker.Outcome) {
	r <- struct {
		x   worker.Executor
		out worker.Outcome
	}{x, out}
}

func begin(c held) worker.Executor {
	x := c.Begin()
	e := x.Exchange()
	e.Route = "r"
	e.Request.Method, e.Request.Scheme, e.Request.Authority, e.Request.Path = "GET", "https", "api.example", "/v1/charges?limit=3"
	e.Request.Headers.Reset([]exchange.Field{{Name: "accept", Value: "*/*"}, {Name: "x-tier", Value: "free"}})
	return x
}

func (h *harness) runRequest(c held) (worker.Executor, worker.Outcome) {
	x := begin(c)
	return x, x.Run(context.Background(), policy.RequestHeaders, budget, noResume{h.t})
}

func onRequestHeaders(f func(ctx context.Context, req *policy.RequestContext) (policy.RequestAction, error)) *script {
	return &script{
		phases: policy.Phases(policy.RequestHeaders),
		request: func(ctx context.Context, _ policy.Phase, req *policy.RequestContext) (policy.RequestAction, error) {
			return f(ctx, req)
		},
	}
}

func setHeader(name, value string) *script {
	m := &policy.RequestMutation{Headers: policy.HeaderMutation{Set: []policy.Header{{Name: name, Value: value}}}}
	return onRequestHeaders(func(context.Context, *policy.RequestContext) (policy.RequestAction, error) { return m, nil })
}

func wantDenied(t *testing.T, out worker.Outcome, status int, details string) {
	t.Helper()
	if out.Kind != worker.Respond {
		t.Fatalf("outcome is %v, want an answer", out.Kind)
	}
	if out.Response.Status != status || out.Details != details {
		t.Errorf("answered %d %q, want %d %q", out.Response.Status, out.Details, status, details)
	}
}

func wantContinue(t *testing.T, out worker.Outcome) {
	t.Helper()
	if out.Kind != worker.Continue {
		t.Fatalf("outcome is kind %d with %+v, want to continue", out.Kind, out.Response)
	}
}

// TestLaterPoliciesSeeEarlierChanges also proves the listed order.
func TestLaterPoliciesSeeEarlierChanges(t *testing.T) {
	h := newHarness(t, false)
	var saw string
	c := h.load(
		h.use(setHeader("X-Tier", "gold")),
		h.use(onRequestHeaders(func(_ context.Context, req *policy.RequestContext) (policy.RequestAction, error) {
			saw = req.Header("x-TIER")
			return &policy.RequestMutation{Headers: policy.HeaderMutation{Remove: []string{"Accept"}}}, nil
		})),
		h.use(onRequestHeaders(func(_ context.Context, req *policy.RequestContext) (policy.RequestAction, error) {
			if req.Headers().Has("accept") {
				saw += " and accept"
			}
			return nil, nil
		})),
	)
	x, out := h.runRequest(c)
	defer x.End(false)
	wantContinue(t, out)
	if saw != "gold" {
		t.Errorf("later policies saw %q, want gold and no accept", saw)
	}
}

func TestResponseOrderIsReversed(t *testing.T) {
	h := newHarness(t, false)
	var order []string
	step := func(name string) worker.PolicySpec {
		return h.use(&script{
			phases: policy.Phases(policy.RequestHeaders, policy.ResponseHeaders),
			request: func(context.Context, policy.Phase, *policy.RequestContext) (policy.RequestAction, error) {
				order = append(order, "q"+name)
				return nil, nil
			},
			response: func(context.Context, policy.Phase, *policy.ResponseContext) (policy.ResponseAction, error) {
				order = append(order, "p"+name)
				return nil, nil
			},
		})
	}
	x, _ := h.runRequest(h.load(step("1"), step("2"), step("3")))
	defer x.End(false)
	x.Run(context.Background(), policy.ResponseHeaders, budget, noResume{t})
	if got := strings.Join(order, " "); got != "q1 q2 q3 p3 p2 p1" {
		t.Errorf("ran %s", got)
	}
}

func TestImmediateResponseEndsTheChain(t *testing.T) {
	h := newHarness(t, false)
	later := false
	c := h.load(
		h.use(onRequestHeaders(func(context.Context, *policy.RequestContext) (policy.RequestAction, error) {
			return policy.Reject(401, "KEY_MISSING", ""), nil
		})),
		h.use(onRequestHeaders(func(context.Context, *policy.RequestContext) (policy.RequestAction, error) {
			later = true
			return nil, nil
		})),
	)
	x, out := h.runRequest(c)
	defer x.End(false)
	wantDenied(t, out, 401, "policy_engine.script@v1.0.0.KEY_MISSING")
	if later {
		t.Error("a policy ran after the answer")
	}
}

// TestFailures proves what each way of not deciding comes to, and that the next
// request is served.
func TestFailures(t *testing.T) {
	errs := map[string]struct {
		f       func(ctx context.Context) (policy.RequestAction, error)
		status  int
		details string
	}{
		"an error": {func(context.Context) (policy.RequestAction, error) { return nil, fmt.Errorf("s3cret cause") }, 500, "POLICY_ERROR"},
		"a panic":  {func(context.Context) (policy.RequestAction, error) { panic("boom") }, 500, "POLICY_PANIC"},
		"a nil map write": {func(context.Context) (policy.RequestAction, error) {
			var m map[string]int
			//lint:ignore SA5000 the panic is what is wanted.
			m["x"] = 1
			return nil, nil
		}, 500, "POLICY_PANIC"},
		"its deadline, kept": {func(ctx context.Context) (policy.RequestAction, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}, 504, "POLICY_TIMEOUT"},
		"an invalid action": {func(context.Context) (policy.RequestAction, error) {
			return &policy.RequestMutation{Headers: policy.HeaderMutation{Set: []policy.Header{{Name: "x y", Value: "1"}}}}, nil
		}, 500, "POLICY_ERROR"},
		"an invalid answer": {func(context.Context) (policy.RequestAction, error) {
			return &policy.ImmediateResponse{Status: 99}, nil
		}, 500, "POLICY_ERROR"},
		"an answer that was never made": {func(context.Context) (policy.RequestAction, error) {
			return (*policy.ImmediateResponse)(nil), nil
		}, 500, "POLICY_ERROR"},
		"an answer inside another type": {func(context.Context) (policy.RequestAction, error) {
			return struct{ *policy.ImmediateResponse }{policy.Reject(403, "NO", "")}, nil
		}, 500, "POLICY_ERROR"},
	}
	for name, tc := range errs {
		for _, onError := range []worker.OnError{worker.DenyOnError, worker.ContinueOnError} {
			for _, mode := range []worker.Mode{worker.Enforce, worker.Shadow} {
				t.Run(fmt.Sprintf("%s/%d/%s", name, onError, mode), func(t *testing.T) {
					h := newHarness(t, false)
					// A policy that outlasts its deadline can still run when the next request begins.
					var fails atomic.Bool
					fails.Store(true)
					ps := h.use(onRequestHeaders(func(ctx context.Context, _ *policy.RequestContext) (policy.RequestAction, error) {
						if fails.Load() {
							return tc.f(ctx)
						}
						return nil, nil
					}))
					ps.OnError, ps.Mode = onError, mode
					if tc.status == 504 {
						// It looks at its own deadline, well before the watchdog may.
						ps.Timeout = 30 * time.Millisecond
					}
					c := h.load(ps, h.use(setHeader("x-after", "1")))
					x := begin(c)
					res := make(resumed, 1)
					out := x.Run(context.Background(), policy.RequestHeaders, budget, res)
					if out.Kind == worker.TakenOver {
						r := <-res
						x, out = r.x, r.out
					}
					if onError == worker.ContinueOnError || mode == worker.Shadow {
						wantContinue(t, out)
						if !x.Exchange().Request.Headers.Changed() {
							t.Error("the policy after it did not run")
						}
					} else {
						wantDenied(t, out, tc.status, "policy_engine.script@v1.0.0."+tc.details)
						if strings.Contains(string(out.Response.Body), "s3cret") {
							t.Error("the cause is in the response")
						}
					}
					x.End(false)
					if log := h.log.String(); !strings.Contains(log, tc.details) {
						t.Errorf("the log does not say %s: %s", tc.details, log)
					}
					fails.Store(false)
					x, out = h.runRequest(c)
					defer x.End(false)
					wantContinue(t, out)
				})
			}
		}
	}
}

// hostileError is an error of which one method misbehaves.
type hostileError struct{ text, is, as func() }

func (e hostileError) Error() string {
	if e.text != nil {
		e.text()
	}
	return "hostile"
}

func (e hostileError) Is(error) bool {
	if e.is != nil {
		e.is()
	}
	return false
}

func (e hostileError) As(any) bool {
	if e.as != nil {
		e.as()
	}
	return false
}

// TestHostileErrors proves that the methods of a policy's error are the policy's code:
// they are called under its deadline, and their panics are contained.
func TestHostileErrors(t *testing.T) {
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	boom, hang := func() { panic("boom") }, func() { <-release }
	for name, tc := range map[string]struct {
		err     error
		details string
	}{
		"its text panics":         {hostileError{text: boom}, "POLICY_PANIC"},
		"its comparison panics":   {hostileError{is: boom}, "POLICY_PANIC"},
		"its conversion panics":   {hostileError{as: boom}, "POLICY_ERROR"},
		"its text hangs":          {hostileError{text: hang}, "POLICY_TIMEOUT"},
		"its comparison hangs":    {hostileError{is: hang}, "POLICY_TIMEOUT"},
		"its conversion hangs":    {hostileError{as: hang}, "POLICY_ERROR"},
		"all is well":             {hostileError{}, "POLICY_ERROR"},
		"it is a nil of its type": {(*hostileError)(nil), "POLICY_PANIC"}, // its methods are not for pointers
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, false)
			ps := h.use(onRequestHeaders(func(context.Context, *policy.RequestContext) (policy.RequestAction, error) { return nil, tc.err }))
			ps.Timeout = 50 * time.Millisecond
			res := make(resumed, 1)
			answered := make(chan struct{})
			go func() {
				x := begin(h.load(ps))
				if out := x.Run(context.Background(), policy.RequestHeaders, budget, res); out.Kind != worker.TakenOver {
					res.Resume(x, out)
				}
				close(answered)
			}()
			select {
			case r := <-res:
				if r.out.Details != "policy_engine.script@v1.0.0."+tc.details {
					t.Errorf("answered %s, want %s", r.out.Details, tc.details)
				}
				r.x.End(false)
			case <-time.After(30 * time.Second):
				t.Error("nothing was answered")
			}
		})
	}
}

func TestPanicIsLoggedWithItsStack(t *testing.T) {
	h := newHarness(t, false)
	x, _ := h.runRequest(h.load(h.use(onRequestHeaders(func(context.Context, *policy.RequestContext) (policy.RequestAction, error) {
		panic("boom")
	}))))
	defer x.End(false)
	if log := h.log.String(); !strings.Contains(log, "boom") || !strings.Contains(log, "worker_test.go") {
		t.Errorf("no panic with its stack in the log: %s", log)
	}
}

func TestShadowChangesNothing(t *testing.T) {
	t.Run("each policy", func(t *testing.T) {
		testShadow(t, worker.Shadow, held.Begin)
	})
	t.Run("the whole exchange", func(t *testing.T) {
		testShadow(t, worker.Enforce, held.BeginShadow)
	})
}

func testShadow(t *testing.T, mode worker.Mode, begin func(held) worker.Executor) {
	h := newHarness(t, true)
	sawShadow := false
	shadow := func(s *script) worker.PolicySpec {
		ps := h.use(s)
		ps.Mode = mode
		return ps
	}
	c := h.load(
		shadow(onRequestHeaders(func(_ context.Context, req *policy.RequestContext) (policy.RequestAction, error) {
			sawShadow = req.Shadow()
			return &policy.RequestMutation{
				Headers:   policy.HeaderMutation{Set: []policy.Header{{Name: "x-tier", Value: "gold"}}},
				Principal: &policy.Principal{Subject: "eve"},
				Metadata:  []policy.Entry{{Key: "k", Value: "v"}},
			}, nil
		})),
		shadow(onRequestHeaders(func(context.Context, *policy.RequestContext) (policy.RequestAction, error) {
			return policy.Reject(403, "NO", ""), nil
		})),
	)
	x := begin(c)
	out := x.Run(context.Background(), policy.RequestHeaders, budget, noResume{t})
	wantContinue(t, out)
	e := x.Exchange()
	if _, told := e.Metadata.Get("k"); e.Request.HeadersChanged() || e.Principal != nil || told {
		t.Errorf("a shadow policy changed the exchange: %+v", e)
	}
	if !sawShadow {
		t.Error("the policy was not told that it runs in shadow mode")
	}
	var disagreements uint64
	for s := range c.Steps {
		disagreements += s.Metrics.Disagreements.Load()
	}
	if disagreements != 2 {
		t.Errorf("%d disagreements, want 2", disagreements)
	}
	x.End(false)
	d := h.records.all[0]
	if len(d.Steps) != 2 || !d.Steps[0].Shadow || d.Steps[0].Changes != "set x-tier, principal, metadata k" || d.Steps[1].Reason != "NO" || d.Denied {
		t.Errorf("recorded %+v", d)
	}
}

func TestDecisionRecord(t *testing.T) {
	h := newHarness(t, true)
	cond := h.use(setHeader("x-secret", "s3cret"))
	cond.When = `request.method == "POST"`
	c := h.load(h.use(setHeader("x-secret", "s3cret")), cond,
		h.use(onRequestHeaders(func(context.Context, *policy.RequestContext) (policy.RequestAction, error) {
			return policy.Reject(401, "KEY_MISSING", ""), nil
		})))
	x, _ := h.runRequest(c)
	x.End(false)
	d := h.records.all[0]
	var outcomes []string
	for _, s := range d.Steps {
		outcomes = append(outcomes, s.Outcome.String())
	}
	if got := strings.Join(outcomes, " "); got != "mutate skip respond" {
		t.Errorf("outcomes are %s", got)
	}
	if !d.Denied || d.Status != 401 || d.Reason != "KEY_MISSING" || d.Route != "r" || d.Chain != "c" || d.Path != "/v1/charges" || d.Method != "GET" {
		t.Errorf("recorded %+v", d)
	}
	if s := fmt.Sprintf("%+v", d); strings.Contains(s, "s3cret") || strings.Contains(s, "limit=3") {
		t.Errorf("a header's value or the query is in the record: %s", s)
	}
}

func TestConditionHoldsForLaterPhases(t *testing.T) {
	h := newHarness(t, false)
	var ran []string
	ps := h.use(&script{
		phases: policy.Phases(policy.RequestHeaders, policy.ResponseHeaders),
		request: func(context.Context, policy.Phase, *policy.RequestContext) (policy.RequestAction, error) {
			ran = append(ran, "request")
			return nil, nil
		},
		response: func(context.Context, policy.Phase, *policy.ResponseContext) (policy.ResponseAction, error) {
			ran = append(ran, "response")
			return nil, nil
		},
	})
	ps.When = `request.headers["x-tier"] == "free"`
	// The header that the condition reads changes after it was evaluated.
	c := h.load(ps, h.use(setHeader("x-tier", "gold")))
	x, _ := h.runRequest(c)
	x.Run(context.Background(), policy.ResponseHeaders, budget, noResume{t})
	x.End(false)
	if got := strings.Join(ran, " "); got != "request response" {
		t.Errorf("ran %q, want both phases", got)
	}

	ran = nil
	x = begin(c)
	x.Exchange().Request.Headers.Reset([]exchange.Field{{Name: "x-tier", Value: "none"}})
	x.Run(context.Background(), policy.RequestHeaders, budget, noResume{t})
	x.Run(context.Background(), policy.ResponseHeaders, budget, noResume{t})
	x.End(false)
	if len(ran) != 0 {
		t.Errorf("ran %v although the condition was false", ran)
	}
}

func TestConditionErrorIsThePolicysError(t *testing.T) {
	h := newHarness(t, false)
	ps := h.use(setHeader("x-tier", "gold"))
	ps.When = `request.headers["x-absent"] == "1"`
	x, out := h.runRequest(h.load(ps))
	wantDenied(t, out, 500, "policy_engine.script@v1.0.0.POLICY_ERROR")
	x.End(false)
	ps.OnError = worker.ContinueOnError
	x, out = h.runRequest(h.load(ps, h.use(setHeader("x-after", "1"))))
	wantContinue(t, out)
	if v, _ := x.Exchange().Request.Headers.Get("x-tier"); v != "free" {
		t.Error("the policy ran although its condition could not be evaluated")
	}
	x.End(false)
}

func TestOnReject(t *testing.T) {
	shaper := func(f func(resp *policy.ResponseContext) (policy.ResponseAction, error)) *script {
		return &script{
			phases: policy.Phases(policy.ResponseHeaders, policy.ResponseBody),
			response: func(_ context.Context, p policy.Phase, resp *policy.ResponseContext) (policy.ResponseAction, error) {
				if p == policy.ResponseBody {
					return &policy.ResponseMutation{Body: policy.NewBody([]byte("shaped " + string(resp.Body())))}, nil
				}
				return f(resp)
			},
		}
	}
	for name, tc := range map[string]struct {
		f      func(resp *policy.ResponseContext) (policy.ResponseAction, error)
		status int
		body   string
	}{
		"headers, status and body": {func(resp *policy.ResponseContext) (policy.ResponseAction, error) {
			return &policy.ResponseMutation{Status: 404, Headers: policy.HeaderMutation{Set: []policy.Header{{Name: "x-api", Value: resp.Header("content-type")}}}}, nil
		}, 404, "shaped no"},
		"never to a success": {func(*policy.ResponseContext) (policy.ResponseAction, error) {
			return &policy.ResponseMutation{Status: 200}, nil
		}, 401, "no"},
		"never to a success by an answer": {func(*policy.ResponseContext) (policy.ResponseAction, error) {
			return &policy.ImmediateResponse{Status: 200}, nil
		}, 401, "no"},
		"an answer": {func(*policy.ResponseContext) (policy.ResponseAction, error) {
			return &policy.ImmediateResponse{Status: 418, Body: []byte("tea")}, nil
		}, 418, "tea"},
		"an error": {func(*policy.ResponseContext) (policy.ResponseAction, error) {
			return nil, fmt.Errorf("broken")
		}, 401, "no"},
		"a panic": {func(*policy.ResponseContext) (policy.ResponseAction, error) { panic("broken") }, 401, "no"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, false)
			c := h.loadChain(worker.ChainSpec{
				Policies: []worker.PolicySpec{h.use(onRequestHeaders(func(context.Context, *policy.RequestContext) (policy.RequestAction, error) {
					return &policy.ImmediateResponse{Status: 401, Reason: "NO", Body: []byte("no"), Headers: []policy.Header{{Name: "Content-Type", Value: "text/plain"}}}, nil
				}))},
				OnReject: []worker.PolicySpec{h.use(shaper(tc.f))},
			})
			if p := c.Needs().Phases; p != policy.Phases(policy.RequestHeaders) {
				t.Errorf("onReject makes the chain need %s", p)
			}
			x, out := h.runRequest(c)
			defer x.End(false)
			wantDenied(t, out, tc.status, "policy_engine.script@v1.0.0.NO")
			if string(out.Response.Body) != tc.body {
				t.Errorf("body %q, want %q", out.Response.Body, tc.body)
			}
		})
	}
	t.Run("the kernel's own answers", func(t *testing.T) {
		h := newHarness(t, false)
		c := h.loadChain(worker.ChainSpec{OnReject: []worker.PolicySpec{h.use(shaper(func(*policy.ResponseContext) (policy.ResponseAction, error) {
			return nil, nil
		}))}})
		x := begin(c)
		defer x.End(false)
		out := x.Reject(context.Background(), worker.Refusal{Reason: worker.BodyTooLarge}, budget, noResume{t})
		wantDenied(t, out, 413, "policy_engine.BODY_TOO_LARGE")
		if !strings.HasPrefix(string(out.Response.Body), "shaped {") {
			t.Errorf("body %q is not shaped", out.Response.Body)
		}
	})
}

func TestChunks(t *testing.T) {
	run := func(h *harness, c held, pieces ...string) (string, worker.Outcome) {
		x := begin(c)
		defer x.End(false)
		var got []string
		for i, p := range pieces {
			out := x.RunChunk(context.Background(), policy.RequestBodyChunks, budget, worker.Chunk{Data: []byte(p), Last: i == len(pieces)-1}, noResume{h.t})
			if out.Kind != worker.Continue {
				return strings.Join(got, "|"), out
			}
			got = append(got, string(out.Chunk.Data))
		}
		return strings.Join(got, "|"), worker.Outcome{}
	}
	upper := &script{phases: policy.Phases(policy.RequestBodyChunks), chunk: func(_ context.Context, c *policy.Chunk) (policy.ChunkAction, error) {
		return policy.ReplaceChunk(bytes.ToUpper(c.Data)), nil
	}}
	count := &script{phases: policy.Phases(policy.RequestBodyChunks), chunk: func(_ context.Context, c *policy.Chunk) (policy.ChunkAction, error) {
		n, _ := c.State.(int)
		c.State = n + len(c.Data)
		if !c.Last {
			return nil, nil
		}
		return policy.ReplaceChunk(fmt.Appendf(nil, "%s=%d", c.Data, c.State)), nil
	}}
	whole := &script{phases: policy.Phases(policy.RequestBodyChunks), holds: true, chunk: func(_ context.Context, c *policy.Chunk) (policy.ChunkAction, error) {
		if !c.Last {
			return policy.Hold(), nil
		}
		return nil, nil
	}}
	for name, tc := range map[string]struct {
		steps []*script
		want  string
	}{
		"no step passes":                 {nil, "ab|cd|e"},
		"replaced":                       {[]*script{upper}, "AB|CD|E"},
		"state is kept":                  {[]*script{count}, "ab|cd|e=5"},
		"held until the last":            {[]*script{whole}, "||abcde"},
		"later steps see what is let go": {[]*script{whole, upper}, "||ABCDE"},
		"what is held has been changed":  {[]*script{upper, whole}, "||ABCDE"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, false)
			var specs []worker.PolicySpec
			for _, s := range tc.steps {
				specs = append(specs, h.use(s))
			}
			c := h.load(specs...)
			got, out := run(h, c, "ab", "cd", "e")
			wantContinue(t, out)
			if got != tc.want {
				t.Errorf("sent %q, want %q", got, tc.want)
			}
		})
	}
	t.Run("holding more than the limit is an error", func(t *testing.T) {
		h := newHarness(t, false)
		_, out := run(h, h.loadChain(worker.ChainSpec{BodyLimit: 3, Policies: []worker.PolicySpec{h.use(whole)}}), "ab", "cd", "e")
		wantDenied(t, out, 500, "policy_engine.script@v1.0.0.POLICY_ERROR")
	})
	t.Run("holding without saying so is an error", func(t *testing.T) {
		h := newHarness(t, false)
		unsaid := *whole
		unsaid.holds = false
		_, out := run(h, h.load(h.use(&unsaid)), "ab", "cd")
		wantDenied(t, out, 500, "policy_engine.script@v1.0.0.POLICY_ERROR")
	})
	t.Run("nothing held is lost when the step fails", func(t *testing.T) {
		h := newHarness(t, false)
		n := 0
		ps := h.use(&script{phases: policy.Phases(policy.RequestBodyChunks), holds: true, chunk: func(context.Context, *policy.Chunk) (policy.ChunkAction, error) {
			if n++; n == 2 {
				return nil, fmt.Errorf("broken")
			}
			return policy.Hold(), nil
		}})
		ps.OnError = worker.ContinueOnError
		x := begin(h.load(ps))
		defer x.End(false)
		x.RunChunk(context.Background(), policy.RequestBodyChunks, budget, worker.Chunk{Data: []byte("ab")}, noResume{t})
		out := x.RunChunk(context.Background(), policy.RequestBodyChunks, budget, worker.Chunk{Data: []byte("cd")}, noResume{t})
		if string(out.Chunk.Data) != "abcd" || !out.Chunk.Changed {
			t.Errorf("sent %q, want what was held and what came", out.Chunk.Data)
		}
	})
	t.Run("nothing held is lost when the step is not called", func(t *testing.T) {
		h := newHarness(t, false)
		ps := h.use(&script{phases: policy.Phases(policy.RequestBodyChunks), holds: true, chunk: func(context.Context, *policy.Chunk) (policy.ChunkAction, error) {
			return policy.Hold(), nil
		}})
		ps.OnError = worker.ContinueOnError
		x := begin(h.load(ps))
		defer x.End(false)
		x.RunChunk(context.Background(), policy.RequestBodyChunks, budget, worker.Chunk{Data: []byte("ab")}, noResume{t})
		out := x.RunChunk(context.Background(), policy.RequestBodyChunks, 0, worker.Chunk{Data: []byte("cd")}, noResume{t})
		if string(out.Chunk.Data) != "abcd" || !out.Chunk.Changed {
			t.Errorf("sent %q with no time left, want what was held and what came", out.Chunk.Data)
		}
	})
	t.Run("an answer", func(t *testing.T) {
		h := newHarness(t, false)
		_, out := run(h, h.load(h.use(&script{phases: policy.Phases(policy.RequestBodyChunks), chunk: func(context.Context, *policy.Chunk) (policy.ChunkAction, error) {
			return policy.Reject(422, "BAD", ""), nil
		}})), "ab")
		wantDenied(t, out, 422, "policy_engine.script@v1.0.0.BAD")
	})
	for name, action := range map[string]policy.ChunkAction{
		"an answer that was never made": (*policy.ImmediateResponse)(nil),
		"an answer inside another type": struct{ *policy.ImmediateResponse }{policy.Reject(403, "NO", "")},
	} {
		t.Run(name+" is an error", func(t *testing.T) {
			h := newHarness(t, false)
			_, out := run(h, h.load(h.use(&script{phases: policy.Phases(policy.RequestBodyChunks), chunk: func(context.Context, *policy.Chunk) (policy.ChunkAction, error) {
				return action, nil
			}})), "ab")
			wantDenied(t, out, 500, "policy_engine.script@v1.0.0.POLICY_ERROR")
		})
	}
}

// TestAResponsesAnswerThatIsNone proves the same for response phases.
func TestAResponsesAnswerThatIsNone(t *testing.T) {
	for name, action := range map[string]policy.ResponseAction{
		"that was never made": (*policy.ImmediateResponse)(nil),
		"inside another type": struct{ *policy.ImmediateResponse }{policy.Reject(403, "NO", "")},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, false)
			c := h.load(h.use(&script{phases: policy.Phases(policy.ResponseHeaders), response: func(context.Context, policy.Phase, *policy.ResponseContext) (policy.ResponseAction, error) {
				return action, nil
			}}))
			x := begin(c)
			defer x.End(false)
			x.Exchange().Response.Status = 200
			out := x.Run(context.Background(), policy.ResponseHeaders, budget, noResume{t})
			wantDenied(t, out, 500, "policy_engine.script@v1.0.0.POLICY_ERROR")
		})
	}
}
