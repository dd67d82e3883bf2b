package worker

import (
	"errors"
	"time"
)

// takeOver is called by the watchdog, on its own goroutine, when a step is
// overdue: it goes on with a copy of the run. The run itself stays with the policy
// that has not returned.
func (r *run) takeOver() {
	s := r.steps[r.at]
	// For the call that has not returned; the stream's own use goes on.
	r.snapshot.refs.Add(1)
	s.instance.abandon(s.metrics)
	r.sideDone(s)
	r.goOn(Failure{Abandoned, errAbandoned})
}

// exit is called when a policy ends the goroutine that it was called on
// (runtime.Goexit), which nothing can keep: what is left of it are deferred functions.
// It is a panic by another name, and the stream goes on elsewhere as if the call had
// been abandoned.
func (r *run) exit(s *step) {
	err := newPanicError("it has called runtime.Goexit")
	r.stepCtx.end()
	if !r.watch.drop() {
		r.sideDone(s)
		return
	}
	r.snapshot.worker.watchdog.leave(&r.watch)
	go r.goOn(Failure{Panicked, err})
}

// goOn goes on with a copy of a run whose step will not come back in time, or at all.
func (r *run) goOn(why Failure) {
	s := r.steps[r.at]
	n := r.copy()
	n.loseState(s)
	if n.chunkPhase() {
		// The call that hangs may still write to what the step keeps.
		n.chunkState(s).lost = true
	}
	n.snapshot.worker.watchdog.enter(&n.watch)
	n.now = n.clock.now()
	out := n.apply(s, &Answer{
		Kind: Failed, Failure: why, At: time.Duration(r.called - r.began), Took: time.Duration(n.now - r.called), Noted: r.beside.Take(),
	})
	switch {
	case n.callee != nil:
		if out.Kind == Continue {
			out = n.from(r.at + 1)
		}
	case n.rejection != nil && out.Kind == Continue:
		out = n.shapeFrom(r.at + 1)
	case n.rejection != nil:
		n.deny(out)
	case out.Kind == Continue:
		if out = n.from(r.at + 1); out.Kind == Respond {
			out = n.shape(out)
		}
	default:
		out = n.shape(out)
	}
	if out.Kind == Continue {
		out.Chunk, n.chunk = n.chunk, Chunk{}
	}
	if n.leave(out).Kind == TakenOver {
		// It happened again, and that takeover resumes the stream.
		return
	}
	n.resumer.Resume(n, out)
}

// copy returns a run that shares nothing with r that a policy may still read, in the
// middle of the same phase.
func (r *run) copy() *run {
	n := r.snapshot.worker.newRun()
	n.snapshot, n.chain, n.began, n.shadow, n.answered = r.snapshot, r.chain, r.began, r.shadow, r.answered
	n.blame = r.blame
	n.x = *r.x.Clone()
	n.decided = append([]Condition(nil), r.decided...)
	n.states = append([]any(nil), r.states...)
	n.opened = r.opened
	n.chunks = append([]chunkState(nil), r.chunks...)
	n.kept = append([]kept(nil), r.kept...)
	n.chunk, n.rejection, n.decision, n.callee = r.chunk, r.rejection, r.decision, r.callee
	n.ctx, n.phase, n.resumer, n.budgetEnd = r.ctx, r.phase, r.resumer, r.budgetEnd
	n.steps, n.groups = r.steps, r.groups
	n.slowest, n.longest = r.slowest, r.longest
	return n
}

// sideDone is called twice on a run of which a call was abandoned: when takeOver has
// counted the call, and when the call has returned, which may be first. Whoever
// comes second takes the call out of the count.
func (r *run) sideDone(s *step) {
	if r.oneDone.Swap(true) {
		s.instance.cameBack(r.snapshot, s.metrics)
	}
}

var errAbandoned = errors.New("the policy did not return in time; the call was abandoned")
