package worker

import (
	"context"
	"errors"
	"time"

	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

// Caller calls the policies of consecutive steps of a chain. Those of policies in this
// process have one that calls them directly. A caller for policies in another process
// sends a [Call] there, where a [Callee] runs the steps, and hands back the answers.
//
// A caller is safe for concurrent use.
type Caller interface {
	// Call has the steps of c run, in order, and gives c the answer of each, until
	// [Call.Answer] returns false. A step without an answer when Call returns counts as
	// failed: see [Call.Fail]. Call returns when [Call.Patience] is over or ctx, which is
	// the stream's, has ended. c must not be used afterwards.
	Call(ctx context.Context, c *Call)
}

// Kept is what a caller keeps for one exchange between calls, such as where the state
// of its chunk policies is.
type Kept interface {
	// End is called once, when the exchange is over.
	End()
}

// Call is one call of consecutive steps that have the same caller, in one phase of one
// exchange. It is used by one goroutine at a time.
type Call struct {
	run *run
	// next is the step to be answered next, and end is behind the last, as indexes into
	// the phase's steps.
	next, end int
	// ended is set when no further step of the phase runs. out says what ended it, and
	// means nothing before.
	ended bool
	out   Outcome
	// failure is that of the steps that get no answer.
	failure Failure
	began   int64
}

// Phase is the phase that runs.
func (c *Call) Phase() policy.Phase { return c.run.phase }

// Exchange is the exchange as the steps before the call have left it. It is for reading.
func (c *Call) Exchange() *exchange.Exchange { return &c.run.x }

// Chunk is the piece of a body that the steps run on, in the chunk phases.
func (c *Call) Chunk() Chunk { return c.run.chunk }

// Age is how long ago the exchange began.
func (c *Call) Age() time.Duration { return time.Duration(c.began - c.run.began) }

// Budget is how much time is left for the phase.
func (c *Call) Budget() time.Duration { return time.Duration(c.run.budgetEnd - c.began) }

// Shadow reports whether the whole exchange runs in shadow mode.
func (c *Call) Shadow() bool { return c.run.shadow }

// Records reports whether somebody reads what policies note beside their decisions.
func (c *Call) Records() bool { return c.run.records() }

// Rejection reports whether the steps are those of onReject, which shape a rejection.
func (c *Call) Rejection() bool { return c.run.rejection != nil }

// Snapshot is the configuration of the exchange.
func (c *Call) Snapshot() *Snapshot { return c.run.snapshot }

// Len is how many steps have no answer yet.
func (c *Call) Len() int { return c.end - c.next }

// Condition is what is known of the condition of step i of those without an answer.
func (c *Call) Condition(i int) Condition {
	return c.run.decided[c.run.steps[c.next+i].index]
}

// Patience is how long the steps may take at most, if each takes as long as it may.
func (c *Call) Patience() time.Duration {
	now := c.began
	for _, s := range c.run.steps[c.next:c.end] {
		now = max(now, c.run.deadline(s, now))
	}
	return time.Duration(now - c.began)
}

// Keep has k kept for the exchange, under the name of an owner of policies, and ended
// with it. It takes the place of what was kept under that name, which is not ended.
func (c *Call) Keep(owner string, k Kept) {
	for i := range c.run.kept {
		if c.run.kept[i].owner == owner {
			c.run.kept[i].Kept = k
			return
		}
	}
	c.run.kept = append(c.run.kept, kept{owner, k})
}

// Kept returns what was kept under the name, or nil.
func (c *Call) Kept(owner string) Kept {
	for _, k := range c.run.kept {
		if k.owner == owner {
			return k.Kept
		}
	}
	return nil
}

type kept struct {
	owner string
	Kept
}

// Fail says why the steps that have no answer when [Caller.Call] returns have none. An
// [Unanswered] failure is the default.
func (c *Call) Fail(f Failure) { c.failure = f }

// Answer applies the answer of the next step, and reports whether another step runs. What
// contradicts what is known of the step counts as a failure of the step.
func (c *Call) Answer(a *Answer) bool {
	if c.ended || c.next == c.end {
		return false
	}
	r := c.run
	r.now = r.clock.now()
	s := r.steps[c.next]
	known := *a
	// The other process has another clock.
	known.Took = max(0, min(a.Took, time.Duration(r.now-c.began)))
	known.At = max(0, min(a.At, time.Duration(r.now-r.began)))
	known.piece = nil
	switch v := r.decided[s.index]; {
	case v == ConditionFailed || v == PassedOver || r.lost(s):
		known = Answer{Kind: LeftOut}
	case !plausible(s, v, a):
		known = Answer{Kind: Failed, Failure: Failure{Unanswered, errImplausible}, At: known.At, Took: known.Took}
	}
	if r.chunkPhase() && known.Kind.runs() {
		r.unhold(s)
	}
	return c.take(s, &known)
}

var errImplausible = errors.New("the answer contradicts the step's description")

// plausible reports whether an answer can be that of a step of whose condition v is known.
func plausible(s *step, v Condition, a *Answer) bool {
	switch a.Kind {
	case Acted:
		return v != ConditionFalse
	case Skipped:
		return s.when != nil && v != ConditionTrue
	case Failed:
		ofCondition := a.Failure.Kind == ConditionError || a.Failure.Kind == ConditionTooLarge
		return a.Failure.Kind < failureKinds && (a.Failure.Err != nil || a.Failure.Kind == NoTime) && v != ConditionFalse &&
			(!ofCondition || s.when != nil && v == ConditionUnknown)
	}
	return false
}

// take applies the answer of the next step, and reports whether another one runs.
func (c *Call) take(s *step, a *Answer) bool {
	c.next++
	out := c.run.apply(s, a)
	if out.Kind == Continue && !c.run.heldBack {
		return true
	}
	// What a step holds back, later steps see when it lets go of it.
	c.out, c.ended, c.run.heldBack = out, true, false
	return false
}

// unanswered decides about the next step, of which there is no answer.
func (c *Call) unanswered() {
	r := c.run
	s := r.steps[c.next]
	r.now = r.clock.now()
	a := Answer{At: time.Duration(r.now - r.began)}
	if r.admits(s, &a) {
		if r.ctx.Err() != nil {
			c.out, c.ended = r.gone(s, &a), true
			return
		}
		if r.chunkPhase() {
			r.unhold(s)
		}
		a.Kind, a.Failure = Failed, c.failure
	}
	c.take(s, &a)
}

// Condition is what is known of a step's condition. It is decided once for an exchange, at
// the first phase in which the step has a part.
type Condition uint8

const (
	// ConditionUnknown: it has not been decided, or the step has none.
	ConditionUnknown Condition = iota
	// ConditionTrue: the step runs.
	ConditionTrue
	// ConditionFalse: the step is skipped.
	ConditionFalse
	// PassedOver: an earlier step has skipped this one. It takes no part any more.
	PassedOver
	// ConditionFailed: it could not be evaluated. The error has been dealt with at the
	// first phase; the step is left out of later ones.
	ConditionFailed
)

// AnswerKind says what became of a step.
type AnswerKind uint8

const (
	// Acted: the policy was called and has decided.
	Acted AnswerKind = iota
	// Skipped: the step's condition is false.
	Skipped
	// LeftOut: the step takes no part any more, since its condition has failed in an
	// earlier phase, or what it kept of the body is lost.
	LeftOut
	// Failed: the policy could not decide, or could not be called.
	Failed
)

// runs reports whether the step has taken the chunk in hand over.
func (k AnswerKind) runs() bool { return k == Acted || k == Failed }

// Answer is what became of one step. It is read, and never modified, once it has been given.
type Answer struct {
	Kind AnswerKind
	// Request, Response or Chunk is what the policy wants, by the kind of the phase. nil
	// passes.
	Request  policy.RequestAction
	Response policy.ResponseAction
	Chunk    policy.ChunkAction
	// Failure says why the step failed, where it has.
	Failure Failure
	// At is when the step began, counted from when the exchange began. Took is how long
	// the call of the policy took, 0 where it was not called.
	At, Took time.Duration
	// Noted is what the policy has noted beside its decision, or nil.
	Noted *exchange.Noted

	// piece is what a chunk policy in this process was given, with the state that it left
	// there.
	piece *policy.Chunk
}

// fail makes a the answer of a step that has failed.
func (a *Answer) fail(kind FailureKind, err error) { a.Kind, a.Failure = Failed, Failure{kind, err} }
