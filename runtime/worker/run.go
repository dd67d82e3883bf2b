package worker

import (
	"context"
	"sync/atomic"
	"time"

	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

// run is one exchange on its way through a chain: the Executor of a worker in this
// process. Runs are pooled; one that was abandoned never comes back.
type run struct {
	x        exchange.Exchange
	clock    *clock
	snapshot *Snapshot
	chain    *Chain
	began    int64
	// shadow has every step run in shadow mode.
	shadow bool
	// answered says that the exchange ended with an answer of the engine's, and
	// cutShort that its stream ended while a policy was at work. blame says what led
	// to the answer.
	answered, cutShort bool
	blame              blame

	request, requestShadow   policy.RequestContext
	response, responseShadow policy.ResponseContext
	conditions               conditionInput

	// decided is what is known of each step's condition, by the step's index.
	decided []Condition
	// number tells the run from the worker's others, and uses counts its exchanges. opened
	// is set once a phase of this one has begun.
	number, uses uint64
	opened       bool
	// states are what policies keep for the exchange, by step; made when the first one does.
	states []any
	// chunks is what chunk steps keep, by step and direction; made when the
	// first chunk comes.
	chunks []chunkState

	// What follows describes the phase that is running. It is written before a
	// step is armed and read by the watchdog's goroutine after it has abandoned
	// that step, so that the watched word orders the two.
	ctx       context.Context
	phase     policy.Phase
	steps     []*step
	groups    []group
	at        int
	budgetEnd int64
	// call is the call of a group that is running, and now the time as far as it is
	// known.
	call Call
	now  int64
	// called is when the step at at was, and slowest and longest are the step
	// that has taken most of the phase's time so far, and how much.
	called   int64
	slowest  *step
	longest  time.Duration
	resumer  Resumer
	chunk    Chunk
	heldBack bool
	// rejection is set while the steps of onReject shape it.
	rejection *Outcome

	// beside is what the call that is running has beside the exchange.
	beside   exchange.Call
	contexts contexts
	// stepCtx is the context of the call that is running.
	stepCtx *stepContext
	watch   watched
	// oneDone says that one of the two sides of an abandoned call has called
	// sideDone.
	oneDone atomic.Bool

	// kept is what callers keep for the exchange.
	kept []kept
	// callee is set where the steps run for a caller in another process.
	callee *Callee

	// decision is nil where nobody listens.
	decision *telemetry.Decision
}

// Begin returns an executor for one exchange on a chain of the snapshot, which has to
// stay acquired until [Executor.End].
func (s *Snapshot) Begin(c *Chain) Executor { return s.begin(c) }

func (s *Snapshot) begin(c *Chain) *run {
	r := s.take(c)
	r.began = r.clock.now()
	if w := s.worker; w.options.Recorder != nil {
		r.decision = &telemetry.Decision{
			Began: w.options.Host.Clock.Now(), Config: s.version, Chain: c.name,
		}
	}
	return r
}

// take returns a run for the chain.
func (s *Snapshot) take(c *Chain) *run {
	w := s.worker
	r, _ := w.runs.Get().(*run)
	if r == nil {
		r = w.newRun()
	}
	r.snapshot, r.chain = s, c
	r.uses++
	r.x.Identity = exchange.Identity{Key: w.identity, Run: r.number, Use: r.uses}
	if n := len(c.steps); cap(r.decided) < n {
		r.decided = make([]Condition, n)
	} else {
		r.decided = r.decided[:n]
		clear(r.decided)
	}
	return r
}

// BeginShadow is Begin for an exchange that the proxy only shows: every step runs in
// shadow mode, and no phase ends the chain.
func (s *Snapshot) BeginShadow(c *Chain) Executor {
	r := s.begin(c)
	r.shadow = true
	return r
}

// shadows reports whether what the step answers is recorded and thrown away.
func (r *run) shadows(s *step) bool { return r.shadow || s.mode == Shadow }

func (w *Worker) newRun() *run {
	r := &run{clock: w.clock, contexts: contexts{clock: w.clock}, number: w.made.Add(1)}
	r.request = policy.NewRequestContext(&r.x, false).WithCall(&r.beside)
	r.requestShadow = policy.NewRequestContext(&r.x, true).WithCall(&r.beside)
	r.response = policy.NewResponseContext(&r.x, false).WithCall(&r.beside)
	r.responseShadow = policy.NewResponseContext(&r.x, true).WithCall(&r.beside)
	r.conditions.run, r.conditions.X = r, &r.x
	r.call.run = r
	r.watch.run = r
	w.watchdog.assign(&r.watch)
	return r
}

// Exchange implements [Executor].
func (r *run) Exchange() *exchange.Exchange { return &r.x }

// Needs implements [Executor].
func (r *run) Needs() Needs {
	n := r.chain.needs
	if !n.Conditional {
		return n
	}
	left := Needs{BodyLimit: n.BodyLimit, Reroute: n.Reroute, RerouteHeaders: n.RerouteHeaders}
	left.admitOwned(&r.chain.owned)
	for _, s := range r.chain.steps {
		v := r.decided[s.index]
		if s.onReject || v == ConditionFalse || v == ConditionFailed || v == PassedOver {
			continue
		}
		left.admit(s)
		left.Conditional = left.Conditional || v == ConditionUnknown && s.conditional()
	}
	return left
}

// End implements [Executor].
func (r *run) End(unfinished bool) {
	w := r.snapshot.worker
	if m := r.snapshot.Requests(r.x.Route); m != nil {
		m.Observe(r.result(unfinished))
	}
	if r.answered || r.decision != nil {
		r.record(&w.options)
	}
	for _, k := range r.kept {
		k.End()
	}
	r.release()
}

// release gives the run back for another exchange.
func (r *run) release() {
	w := r.snapshot.worker
	r.x.Reset()
	r.snapshot, r.chain, r.ctx, r.resumer, r.rejection, r.slowest = nil, nil, nil, nil, nil, nil
	r.steps, r.groups, r.callee = nil, nil, nil
	r.shadow, r.answered, r.cutShort, r.blame = false, false, false, blame{}
	r.stepCtx, r.beside.Place, r.beside.State, r.opened = nil, nil, nil, false
	clear(r.states)
	r.states = r.states[:0]
	r.call.out, r.call.failure = Outcome{}, Failure{}
	clear(r.kept)
	r.kept = r.kept[:0]
	clear(r.chunks)
	r.chunks = r.chunks[:0]
	r.chunk = Chunk{}
	w.runs.Put(r)
}

func (r *run) result(unfinished bool) telemetry.RequestResult {
	switch {
	case r.answered:
		return telemetry.RequestAnswered
	case unfinished || r.cutShort:
		return telemetry.RequestCanceled
	}
	return telemetry.RequestPassed
}

// Run implements [Executor].
func (r *run) Run(ctx context.Context, phase policy.Phase, budget time.Duration, t Resumer) Outcome {
	r.open()
	if phase == policy.RequestHeaders && len(r.chain.owned.Names()) > 0 {
		r.chain.owned.Remove(&r.x.Request.Headers)
	}
	return r.runPhase(ctx, phase, budget, t)
}

// open notes what is to stay the same for the whole exchange, before any policy has run.
func (r *run) open() {
	if !r.opened && r.callee == nil {
		r.opened = true
		r.x.KnowRequestID()
	}
}

func (r *run) runPhase(ctx context.Context, phase policy.Phase, budget time.Duration, t Resumer) Outcome {
	steps := &r.chain.plan[phase]
	if len(steps.steps) == 0 {
		return Outcome{}
	}
	r.enter(ctx, phase, steps, budget, t)
	out := r.from(0)
	if out.Kind == Respond {
		out = r.shape(out)
	}
	return r.leave(out)
}

// enter begins a phase under the watchdog's eyes.
func (r *run) enter(ctx context.Context, phase policy.Phase, steps *sequence, budget time.Duration, t Resumer) {
	r.ctx, r.resumer = ctx, t
	r.begin(phase, steps)
	r.now = r.clock.now()
	r.budgetEnd = r.now + int64(budget)
	r.slowest, r.longest = nil, 0
	r.snapshot.worker.watchdog.enter(&r.watch)
}

// begin makes the steps those that are running.
func (r *run) begin(phase policy.Phase, steps *sequence) {
	r.phase, r.steps, r.groups = phase, steps.steps, steps.groups
}

func (r *run) leave(out Outcome) Outcome {
	if out.Kind != TakenOver {
		r.snapshot.worker.watchdog.leave(&r.watch)
	}
	return out
}

// from runs the phase's steps from index i on. r.now is the time.
func (r *run) from(i int) Outcome {
	c := &r.call
	for g := range r.groups {
		end := min(r.groups[g].end, len(r.steps))
		if i >= end {
			continue
		}
		c.next, c.end, c.ended, c.began = i, end, false, r.now
		r.groups[g].caller.Call(r.ctx, c)
		for !c.ended && c.next < end {
			c.unanswered()
		}
		if c.ended {
			return c.out
		}
		i = end
	}
	return Outcome{}
}
