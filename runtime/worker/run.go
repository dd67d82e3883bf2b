package worker

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/expr"
	"policyengine.dev/sdk/policy"
)

// verdict is what a step's condition said; it holds for all later phases.
type verdict uint8

const (
	undecided verdict = iota
	applies
	skips
	// failed: the condition could not be evaluated. The error has been dealt
	// with at the first phase; the policy does not run in later ones.
	failed
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

	verdicts []verdict
	// chunks is what chunk steps keep, by step and direction; made when the
	// first chunk comes.
	chunks []chunkState

	// What follows describes the phase that is running. It is written before a
	// step is armed and read by the watchdog's goroutine after it has abandoned
	// that step, so that the watched word orders the two.
	ctx       context.Context
	phase     policy.Phase
	steps     []*step
	at        int
	budgetEnd int64
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

	contexts contexts
	// stepCtx is the context of the call that is running.
	stepCtx *stepContext
	watch   watched
	// parted says that one of the two sides of an abandoned call has been at
	// part.
	parted atomic.Bool

	// decision is nil where nobody listens.
	decision *telemetry.Decision
}

// Begin returns an executor for one exchange on a chain of the snapshot, which has to
// stay acquired until [Executor.End].
func (s *Snapshot) Begin(c *Chain) Executor { return s.begin(c) }

func (s *Snapshot) begin(c *Chain) *run {
	w := s.worker
	r, _ := w.runs.Get().(*run)
	if r == nil {
		r = w.newRun()
	}
	r.snapshot, r.chain = s, c
	r.began = r.clock.now()
	if n := len(c.steps); cap(r.verdicts) < n {
		r.verdicts = make([]verdict, n)
	} else {
		r.verdicts = r.verdicts[:n]
		clear(r.verdicts)
	}
	if w.options.Recorder != nil {
		r.decision = &telemetry.Decision{
			Began: w.options.Host.Clock.Now(), Config: s.version, Chain: c.name,
		}
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
	r := &run{clock: w.clock, contexts: contexts{clock: w.clock}}
	r.request = policy.NewRequestContext(&r.x, false)
	r.requestShadow = policy.NewRequestContext(&r.x, true)
	r.response = policy.NewResponseContext(&r.x, false)
	r.responseShadow = policy.NewResponseContext(&r.x, true)
	r.conditions.run, r.conditions.X = r, &r.x
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
		v := r.verdicts[s.index]
		if s.onReject || v == skips || v == failed {
			continue
		}
		left.admit(s)
		left.Conditional = left.Conditional || v == undecided && s.conditional()
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
	r.x.Reset()
	r.snapshot, r.chain, r.ctx, r.resumer, r.rejection, r.steps, r.slowest = nil, nil, nil, nil, nil, nil, nil
	r.shadow, r.answered, r.cutShort, r.blame = false, false, false, blame{}
	r.stepCtx = nil
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
	if phase == policy.RequestHeaders && len(r.chain.owned.Names()) > 0 {
		r.chain.owned.Remove(&r.x.Request.Headers)
	}
	return r.runPhase(ctx, phase, budget, t)
}

func (r *run) runPhase(ctx context.Context, phase policy.Phase, budget time.Duration, t Resumer) Outcome {
	steps := r.chain.plan[phase]
	if len(steps) == 0 {
		return Outcome{}
	}
	now := r.enter(ctx, phase, steps, budget, t)
	out := r.from(0, now)
	if out.Kind == Respond {
		out = r.shape(out)
	}
	return r.leave(out)
}

// enter begins a phase under the watchdog's eyes. It returns the time.
func (r *run) enter(ctx context.Context, phase policy.Phase, steps []*step, budget time.Duration, t Resumer) (now int64) {
	r.ctx, r.phase, r.steps, r.resumer = ctx, phase, steps, t
	now = r.clock.now()
	r.budgetEnd = now + int64(budget)
	r.slowest, r.longest = nil, 0
	r.snapshot.worker.watchdog.enter(&r.watch)
	return now
}

func (r *run) leave(out Outcome) Outcome {
	if out.Kind != TakenOver {
		r.snapshot.worker.watchdog.leave(&r.watch)
	}
	return out
}

// from runs the phase's steps from index i on. now is the time.
func (r *run) from(i int, now int64) Outcome {
	for ; i < len(r.steps); i++ {
		s := r.steps[i]
		if r.chunkPhase() && r.chunkState(s).lost {
			continue
		}
		switch r.decide(s) {
		case skips:
			s.metrics.Observe(r.phase, telemetry.Skipped, 0)
			r.note(s, telemetry.Skipped, 0, "", "")
			continue
		case failed:
			continue
		}
		var out Outcome
		out, now = r.step(s, i, now)
		if out.Kind != Continue {
			return out
		}
		if r.heldBack {
			// Later steps see these bytes when the step lets go of them.
			r.heldBack = false
			return Outcome{}
		}
	}
	return Outcome{}
}

// decide evaluates the step's condition at its first phase. An error in it is the
// policy's error; where that means to go on, the policy is left out.
func (r *run) decide(s *step) verdict {
	if v := r.verdicts[s.index]; v != undecided {
		return v
	}
	if s.when == nil {
		return applies
	}
	v := skips
	ok, err := s.when.Eval(&r.conditions)
	switch {
	case err != nil:
		// The step runs into the error itself: see step.
		v = undecided
		r.conditions.err = err
	case ok:
		v = applies
	}
	r.verdicts[s.index] = v
	if v == undecided {
		return applies
	}
	return v
}

// step runs one step and does what its answer says. It returns when it ended.
func (r *run) step(s *step, i int, now int64) (Outcome, int64) {
	if err := r.conditions.err; err != nil {
		r.conditions.err = nil
		r.verdicts[s.index] = failed
		return r.failCondition(s, err), now
	}
	if r.chunkPhase() {
		// First of all, so that nothing is lost if the step fails and the
		// chain goes on.
		r.unhold(s)
	}
	if reason, err := s.instance.available(); err != nil {
		outcome := telemetry.Errored
		if reason == PolicyStalled {
			outcome = telemetry.Stalled
		}
		return r.fail(s, reason, outcome, err, 0), now
	}
	deadline := min(now+s.timeout, r.budgetEnd)
	if s.onError == ContinueOnError || r.shadows(s) {
		// The request is to go on without it, and needs time for that.
		deadline = min(deadline, now+(r.budgetEnd-now)/2)
	}
	if deadline <= now {
		return r.fail(s, PolicyTimeout, telemetry.TimedOut, &budgetError{r.slowest, r.longest}, 0), now
	}
	r.at, r.called = i, now
	c := r.contexts.next(r.ctx, deadline)
	r.stepCtx = c
	armed := r.watch.arm(deadline)
	a, err := s.instance.call(r, c, s)
	if !r.watch.disarm(armed) {
		// The chain goes on elsewhere. This run is the policy's to keep.
		c.end()
		r.part(s)
		return Outcome{Kind: TakenOver}, 0
	}
	end := r.clock.now()
	c.end()
	took := time.Duration(end - now)
	r.timed(s, took)
	if err != nil {
		return r.failCall(s, err, end >= deadline, took), end
	}
	out, err := r.settle(s, a, took)
	if err != nil {
		return r.fail(s, PolicyError, telemetry.Errored, err, took), end
	}
	return out, end
}

// failCall tells apart in what way a call has failed.
func (r *run) failCall(s *step, err error, late bool, took time.Duration) Outcome {
	switch e := err.(type) {
	case *panicError:
		return r.fail(s, PolicyPanic, telemetry.Panicked, err, took)
	case *callError:
		if r.ctx.Err() != nil {
			return r.gone(s, took)
		}
		if late && e.deadline {
			return r.fail(s, PolicyTimeout, telemetry.TimedOut, err, took)
		}
	}
	return r.fail(s, PolicyError, telemetry.Errored, err, took)
}

// fail does what the operator wants of a policy that could not decide.
func (r *run) fail(s *step, reason Reason, outcome telemetry.StepOutcome, err error, took time.Duration) Outcome {
	s.metrics.Observe(r.phase, outcome, took)
	s.logFailure(r, reason, err)
	r.note(s, outcome, took, "", reason.String())
	switch {
	case r.shadows(s):
		if s.onError == DenyOnError {
			s.metrics.Disagreements.Add(1)
		}
		return Outcome{}
	case r.rejection != nil:
		return *r.rejection
	case s.onError == ContinueOnError:
		return Outcome{}
	}
	return r.refuse(s, reason, err)
}

// refuse answers with a reason of the engine's own for which a step is to blame.
func (r *run) refuse(s *step, reason Reason, cause error) Outcome {
	r.blame = blame{step: s, phase: r.phase, cause: cause}
	return Outcome{Kind: Respond, Response: reason.Response(), Details: s.instance.version.details[reason]}
}

// gone ends a phase whose stream has ended meanwhile: the client went away, or Envoy
// gave the request up. That the call was cut short is nobody's fault, and there is
// nobody left to tell. No step runs any more, whatever its failure would mean.
func (r *run) gone(s *step, took time.Duration) Outcome {
	s.metrics.Observe(r.phase, telemetry.Canceled, took)
	r.note(s, telemetry.Canceled, took, "", "")
	r.cutShort = true
	return Outcome{Kind: Gone}
}

// timed notes how long a step took, for when nothing is left of the budget.
func (r *run) timed(s *step, took time.Duration) {
	if took > r.longest {
		r.slowest, r.longest = s, took
	}
}

// budgetError says that a step was not called since nothing was left of the budget,
// and which step took most of it.
type budgetError struct {
	slowest *step
	took    time.Duration
}

func (e *budgetError) Error() string {
	if e.slowest == nil {
		return "nothing is left of the chain's time budget"
	}
	return fmt.Sprintf("nothing is left of the chain's time budget, of which %q took %v", e.slowest.id, e.took)
}

// failCondition is fail for a condition that could not be evaluated. A client whose
// headers or query are larger than a condition may read is told so where the step's
// errors deny.
func (r *run) failCondition(s *step, err error) Outcome {
	err = &conditionError{err}
	var eval *expr.EvalError
	if !errors.As(err, &eval) || !eval.TooLarge() {
		return r.fail(s, PolicyError, telemetry.Errored, err, 0)
	}
	if s.onError != DenyOnError || r.shadows(s) || r.rejection != nil {
		return r.fail(s, HeadersTooLarge, telemetry.Errored, err, 0)
	}
	s.metrics.Observe(r.phase, telemetry.Responded, 0)
	r.note(s, telemetry.Responded, 0, "", HeadersTooLarge.String())
	return r.refuse(s, HeadersTooLarge, err)
}

type conditionError struct{ err error }

func (e *conditionError) Error() string { return "evaluating the condition: " + e.err.Error() }
func (e *conditionError) Unwrap() error { return e.err }
