package worker

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policy/apply"
)

// Callee runs steps of one exchange for a [Caller] in another process: as that process
// would run them, on a copy of what they can read. It keeps the state of chunk policies
// from one call to the next. It counts, records and logs no step, which is for the process
// that has the exchange. It is used by one goroutine at a time.
type Callee struct {
	run     *run
	answers []Answer
	done    func([]Answer)
	records bool
}

// Group says which steps a [Callee] runs, and on what beside the exchange.
type Group struct {
	// Phase is the phase. Rejection says that the steps are those of onReject for it.
	Phase     policy.Phase
	Rejection bool
	// First is the first step, counted within the phase in the order in which they run.
	// As many run as Conditions has entries.
	First int
	// Conditions are what is known of the steps' conditions.
	Conditions []Condition
	// Chunk is the piece of a body, in the chunk phases.
	Chunk Chunk
	// Budget is how much time is left for the phase. Age is how long ago the exchange began.
	Budget, Age time.Duration
	// Shadow has every step run in shadow mode.
	Shadow bool
	// Records has what policies note beside their decisions kept in their answers.
	Records bool
}

// Serve returns what runs steps of the chain for one exchange. The snapshot has to stay
// acquired until [Callee.End].
func (s *Snapshot) Serve(c *Chain) *Callee {
	r := s.take(c)
	r.callee = &Callee{run: r}
	return r.callee
}

// Exchange is what the caller fills before each call.
func (e *Callee) Exchange() *exchange.Exchange { return &e.run.x }

var errNoSuchSteps = errors.New("the chain has no such steps in this phase")

// Run runs the steps and calls done once with the answers, in order. There are fewer than
// steps where the last answer ends the phase, or where ctx has ended. done is called before
// Run returns, or, where a policy does not return in time, on another goroutine. The
// answers are valid until the next call, which must not begin before done. An error means
// that the group makes no sense; done is not called then.
func (e *Callee) Run(ctx context.Context, g Group, done func([]Answer)) error {
	r := e.run
	steps, err := r.chain.upTo(g)
	if err != nil {
		return err
	}
	e.answers, e.done, e.records = e.answers[:0], done, g.Records
	now := r.clock.now()
	r.began, r.shadow, r.chunk, r.rejection = now-int64(g.Age), g.Shadow, g.Chunk, nil
	if g.Rejection {
		r.rejection = &Outcome{Kind: Respond, Response: PolicyError.Response()}
	}
	for i, s := range steps[g.First:] {
		r.decided[s.index] = g.Conditions[i]
	}
	if g.Phase == policy.RequestBodyChunks || g.Phase == policy.ResponseBodyChunks {
		r.growChunks()
	}
	r.enter(ctx, g.Phase, &sequence{steps, allInProcess}, g.Budget, e)
	if out := r.leave(r.from(g.First)); out.Kind != TakenOver {
		done(e.answers)
	}
	return nil
}

var allInProcess = []group{{inProcess{}, math.MaxInt}}

// upTo returns the steps of the group's phase up to the last of the group.
func (c *Chain) upTo(g Group) ([]*step, error) {
	if g.Phase >= policy.PhaseCount {
		return nil, errNoSuchSteps
	}
	steps := c.plan[g.Phase].steps
	if g.Rejection {
		switch g.Phase {
		case policy.ResponseHeaders:
			steps = c.rejectHeaders.steps
		case policy.ResponseBody:
			steps = c.rejectBody.steps
		default:
			return nil, errNoSuchSteps
		}
	}
	if g.First < 0 || g.First > len(steps) || len(g.Conditions) > len(steps)-g.First {
		return nil, errNoSuchSteps
	}
	return steps[:g.First+len(g.Conditions)], nil
}

// Resume implements [Resumer]: a policy has not returned, and its run is lost to it.
func (e *Callee) Resume(x Executor, _ Outcome) {
	e.run = x.(*run)
	e.done(e.answers)
}

// End is called once, when the caller's exchange is over and no call is running.
func (e *Callee) End() { e.run.release() }

// note keeps an answer for the caller. One that cannot leave the process becomes a failure.
func (e *Callee) note(a *Answer) {
	if err := a.portable(); err != nil {
		*a = Answer{Kind: Failed, Failure: Failure{BadAction, err}, At: a.At, Took: a.Took, Noted: a.Noted, piece: a.piece}
	}
	e.answers = append(e.answers, *a)
}

// portable says why the answer cannot leave the process, or returns nil.
func (a *Answer) portable() error {
	if a.Kind != Acted {
		return nil
	}
	switch m := a.Request.(type) {
	case nil:
	case *policy.RequestMutation:
		return portableMutation(m)
	case *policy.SkipRest:
		if m == nil {
			return errAction
		}
		return portableMutation(m.Mutation)
	case *policy.ImmediateResponse:
		return apply.Immediate(m)
	default:
		return errAction
	}
	switch m := a.Response.(type) {
	case nil:
	case *policy.ResponseMutation:
		if m == nil {
			return nil
		}
		return errors.Join(portableEntries("metadata", m.Metadata), portableEntries("dynamic metadata", m.DynamicMetadata))
	case *policy.ImmediateResponse:
		return apply.Immediate(m)
	default:
		return errAction
	}
	return a.portableChunk()
}

func portableMutation(m *policy.RequestMutation) error {
	if m == nil {
		return nil
	}
	return errors.Join(portablePrincipal(m.Principal), portableEntries("metadata", m.Metadata), portableEntries("dynamic metadata", m.DynamicMetadata))
}

func (a *Answer) portableChunk() error {
	ir, responds := a.Chunk.(*policy.ImmediateResponse)
	_, replaced := policy.ChunkReplacement(a.Chunk)
	switch {
	case responds:
		return apply.Immediate(ir)
	case a.Chunk != nil && !replaced && !policy.IsHold(a.Chunk):
		return errAction
	}
	return nil
}

func portableEntries(what string, entries []policy.Entry) error {
	for _, e := range entries {
		if err := exchange.Portable(e.Value); err != nil {
			return fmt.Errorf("%s %q cannot be sent to the engine's process: %w", what, e.Key, err)
		}
	}
	return nil
}

func portablePrincipal(p *policy.Principal) error {
	if p == nil {
		return nil
	}
	for key, value := range p.Claims {
		if err := exchange.Portable(value); err != nil {
			return fmt.Errorf("the principal's claim %q cannot be sent to the engine's process: %w", key, err)
		}
	}
	return nil
}
