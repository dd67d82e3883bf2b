package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/sdk/policy"
)

// chunkState is what a chunk step keeps between chunks of one direction.
type chunkState struct {
	state any
	held  []byte
	// own says that held lies in memory that was made here, so that what comes
	// next may be put behind it. Policies see no more of it than its length.
	own bool
	// lost says that a call was abandoned, and with it the state: the step is
	// left out for the rest of the body.
	lost bool
}

// RunChunk implements [Executor].
func (r *run) RunChunk(ctx context.Context, phase policy.Phase, budget time.Duration, chunk Chunk, t Resumer) Outcome {
	r.open()
	r.chunk = chunk
	r.growChunks()
	out := r.runPhase(ctx, phase, budget, t)
	if out.Kind == Continue {
		// The chunk steps leave it here; where there are none it passes.
		out.Chunk, r.chunk = r.chunk, Chunk{}
	}
	return out
}

func (r *run) growChunks() {
	if n := 2 * len(r.chain.steps); len(r.chunks) < n {
		r.chunks = append(r.chunks, make([]chunkState, n-len(r.chunks))...)
	}
}

// Held implements [Executor].
func (r *run) Held() int64 {
	n := 0
	for i := range r.chunks {
		n += len(r.chunks[i].held)
	}
	return int64(n)
}

func (r *run) chunkPhase() bool {
	return r.phase == policy.RequestBodyChunks || r.phase == policy.ResponseBodyChunks
}

// lost reports whether the phase is one of chunks and the step takes no part in it any
// more.
func (r *run) lost(s *step) bool { return r.chunkPhase() && r.chunkState(s).lost }

func (r *run) chunkState(s *step) *chunkState {
	i := 2 * s.index
	if r.phase.IsResponse() {
		i++
	}
	return &r.chunks[i]
}

// unhold puts what the step has held back in front of the chunk.
func (r *run) unhold(s *step) {
	st := r.chunkState(s)
	if len(st.held) == 0 {
		st.own = false
		return
	}
	if !st.own {
		// What is behind it may be a policy's.
		st.held = slices.Clip(st.held)
	}
	r.chunk.Data = append(st.held, r.chunk.Data...)
	r.chunk.Changed = true
	st.held = nil
	st.own = true
}

// piece is what the policy gets. It is its own, so that a call that is abandoned
// shares nothing that is written.
func (r *run) piece(s *step) *policy.Chunk {
	return &policy.Chunk{Data: slices.Clip(r.chunk.Data), Last: r.chunk.Last, State: r.chunkState(s).state}
}

var (
	errHoldsLast     = errors.New("the policy holds back the last chunk of a body, and no chunk follows it")
	errHoldUnsaid    = errors.New("the policy holds back a chunk without implementing policy.ChunkHolder")
	errReaderChanges = errors.New("the policy replaces a chunk or holds it back, and says by policy.ChunkReader that it only reads them")
)

// applyChunkAction is applyAction for the answer to a chunk.
func (r *run) applyChunkAction(s *step, a *Answer) (*policy.ImmediateResponse, error) {
	st := r.chunkState(s)
	data, replaced := policy.ChunkReplacement(a.Chunk)
	ir, responds := a.Chunk.(*policy.ImmediateResponse)
	holds := policy.IsHold(a.Chunk)
	switch {
	case responds:
		return r.rejects(s, ir, a)
	case s.instance.readsChunks && (holds || replaced):
		return nil, errReaderChanges
	case holds:
		if err := r.mayHold(s); err != nil {
			return nil, err
		}
	case !replaced && a.Chunk != nil:
		return nil, errAction
	}
	if a.piece != nil {
		st.state = a.piece.State
	}
	outcome := telemetry.Passed
	if holds || replaced {
		outcome = telemetry.Mutated
	}
	r.observe(s, outcome, a.Took)
	r.note(s, outcome, a, "", "")
	if outcome == telemetry.Passed {
		return nil, nil
	}
	if r.shadows(s) {
		r.disagree(s)
		return nil, nil
	}
	r.chunk.Changed = true
	if holds {
		st.held, r.chunk.Data = r.chunk.Data, nil
		r.heldBack = true
		return nil, nil
	}
	r.chunk.Data = data
	return nil, nil
}

func (r *run) mayHold(s *step) error {
	switch {
	case !s.instance.holdsChunks:
		return errHoldUnsaid
	case r.chunk.Last:
		return errHoldsLast
	case len(r.chunk.Data) > r.chain.holdLimit:
		return fmt.Errorf("the policy holds back %d bytes of a body; the limit is %d", len(r.chunk.Data), r.chain.holdLimit)
	}
	return nil
}
