package worker

import (
	"errors"
	"fmt"
	"time"

	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policy/apply"
)

// apply does what a step's answer says, wherever the policy has run.
func (r *run) apply(s *step, a *Answer) Outcome {
	if r.callee != nil {
		r.callee.note(a)
	}
	switch a.Kind {
	case LeftOut:
		return Outcome{}
	case Skipped:
		r.decided[s.index] = ConditionFalse
		r.observe(s, telemetry.Skipped, 0)
		r.note(s, telemetry.Skipped, a, "", "")
		return Outcome{}
	case Acted:
		r.admitted(s)
		r.timed(s, a.Took)
		response, err := r.applyAction(s, a)
		switch {
		case err != nil:
			return r.fail(s, BadAction, err, a)
		case response != nil:
			return r.respond(s, response)
		}
		return Outcome{}
	}
	return r.failed(s, a)
}

// admitted notes that the step's condition is true, or that the step has run where that
// counts.
func (r *run) admitted(s *step) {
	if s.when != nil || s.exempt {
		r.decided[s.index] = ConditionTrue
	}
}

// failed does what a failure comes to.
func (r *run) failed(s *step, a *Answer) Outcome {
	kind, err := a.Failure.Kind, a.Failure.Err
	switch kind {
	case ConditionError, ConditionTooLarge:
		r.decided[s.index] = ConditionFailed
		if kind == ConditionTooLarge && s.onError == DenyOnError && !r.shadows(s) && r.rejection == nil {
			// The client is told that its headers or query are larger than a
			// condition may read.
			r.observe(s, telemetry.Responded, 0)
			r.note(s, telemetry.Responded, a, "", HeadersTooLarge.String())
			return r.refuse(s, HeadersTooLarge, err)
		}
		return r.fail(s, kind, err, a)
	case NoTime:
		err = &budgetError{r.slowest, r.longest}
	case Unanswered:
		if err == nil {
			err = errUnanswered
		}
	case Abandoned:
		if r.chunkPhase() {
			// The call that hangs may still write to what the step keeps.
			r.chunkState(s).lost = true
		}
	}
	r.admitted(s)
	r.timed(s, a.Took)
	if failures[kind].moot && r.ctx.Err() != nil {
		return r.gone(s, a)
	}
	return r.fail(s, kind, err, a)
}

// fail does what the operator wants of a policy that could not decide.
func (r *run) fail(s *step, kind FailureKind, err error, a *Answer) Outcome {
	reason, outcome := failures[kind].reason, failures[kind].outcome
	r.observe(s, outcome, a.Took)
	if r.callee == nil {
		s.logFailure(r, reason, err)
	}
	r.note(s, outcome, a, "", reason.String())
	switch {
	case r.shadows(s):
		if s.onError == DenyOnError {
			r.disagree(s)
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
func (r *run) gone(s *step, a *Answer) Outcome {
	r.observe(s, telemetry.Canceled, a.Took)
	r.note(s, telemetry.Canceled, a, "", "")
	r.cutShort = true
	return Outcome{Kind: Gone}
}

// observe counts what became of a step. Steps that run for another process are counted
// there.
func (r *run) observe(s *step, outcome telemetry.StepOutcome, took time.Duration) {
	if r.callee == nil {
		s.metrics.Observe(r.phase, outcome, took)
	}
}

// disagree counts an answer of a step in shadow mode that would have changed something.
func (r *run) disagree(s *step) {
	if r.callee == nil {
		s.metrics.Disagreements.Add(1)
	}
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

// errAction: a type that embeds one of the SDK's actions is an action by Go's rules,
// and to pass over it might be to pass over a refusal.
var errAction = errors.New("the policy returned an action of an unknown type; use the SDK's actions")

// applyAction does what the action of an answer says. It returns the response that ends
// the chain, or nil where the chain goes on.
func (r *run) applyAction(s *step, a *Answer) (*policy.ImmediateResponse, error) {
	switch r.phase {
	case policy.RequestBodyChunks, policy.ResponseBodyChunks:
		if a.Request != nil || a.Response != nil {
			return nil, errAction
		}
		return r.applyChunkAction(s, a)
	}
	// The answers of another process may be of any kind.
	if a.Chunk != nil || r.phase.IsResponse() && a.Request != nil || !r.phase.IsResponse() && a.Response != nil {
		return nil, errAction
	}
	switch m := a.Request.(type) {
	case nil:
	case *policy.RequestMutation:
		if m != nil {
			return nil, r.mutateRequest(s, m, a)
		}
	case *policy.SkipRest:
		return nil, r.skipRest(s, m, a)
	case *policy.ImmediateResponse:
		// A nil one is an error too: it may be a refusal that was never made.
		return r.rejects(s, m, a)
	default:
		return nil, errAction
	}
	switch m := a.Response.(type) {
	case nil:
	case *policy.ResponseMutation:
		if m != nil {
			return nil, r.mutateResponse(s, m, a)
		}
	case *policy.ImmediateResponse:
		return r.rejects(s, m, a)
	default:
		return nil, errAction
	}
	r.observe(s, telemetry.Passed, a.Took)
	r.note(s, telemetry.Passed, a, "", "")
	return nil, nil
}

func (r *run) mutateRequest(s *step, m *policy.RequestMutation, a *Answer) error {
	if r.shadows(s) {
		if err := apply.CheckRequest(r.phase, m); err != nil {
			return err
		}
		r.disagree(s)
	} else if err := s.checked.Request(&r.x, r.phase, m); err != nil {
		return err
	}
	r.observe(s, telemetry.Mutated, a.Took)
	if r.decision != nil {
		r.note(s, telemetry.Mutated, a, summariseRequest(m), "")
	}
	return nil
}

func (r *run) mutateResponse(s *step, m *policy.ResponseMutation, a *Answer) error {
	if r.shadows(s) {
		if err := apply.CheckResponse(r.phase, m); err != nil {
			return err
		}
		r.disagree(s)
	} else if err := s.checked.Response(&r.x, r.phase, m); err != nil {
		return err
	}
	r.observe(s, telemetry.Mutated, a.Took)
	if r.decision != nil {
		r.note(s, telemetry.Mutated, a, summariseResponse(m), "")
	}
	return nil
}

// rejects records that a policy answers the request itself, and returns the answer where
// it counts.
func (r *run) rejects(s *step, ir *policy.ImmediateResponse, a *Answer) (*policy.ImmediateResponse, error) {
	if err := apply.Immediate(ir); err != nil {
		return nil, err
	}
	r.observe(s, telemetry.Responded, a.Took)
	r.note(s, telemetry.Responded, a, "", reasonOf(ir))
	r.noteCause(s, ir.Cause)
	if r.shadows(s) {
		r.disagree(s)
		return nil, nil
	}
	return ir, nil
}

// respond ends the chain with the policy's own answer.
func (r *run) respond(s *step, ir *policy.ImmediateResponse) Outcome {
	if r.rejection != nil {
		return r.reshaped(ir)
	}
	r.blame = blame{step: s, phase: r.phase, said: ir.Cause}
	return Outcome{Kind: Respond, Response: ir, Details: s.instance.version.detailsPrefix + reasonOf(ir)}
}

// reasonOf is the reason that a policy gives for its answer, or the usual one.
func reasonOf(ir *policy.ImmediateResponse) string {
	if ir.Reason == "" {
		return "REJECTED"
	}
	return ir.Reason
}
