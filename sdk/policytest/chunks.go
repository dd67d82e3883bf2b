package policytest

import (
	"context"
	"fmt"

	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

// chunkRun takes one body through a chunk phase.
type chunkRun struct {
	*Exchange
	phase policy.Phase
	held  []byte
	state any
}

// chunks runs the phase on each piece. b becomes what leaves the policy, and out its
// pieces.
func (x *Exchange) chunks(ctx context.Context, phase policy.Phase, pieces []string, b *body, out *[]string) error {
	r := &chunkRun{Exchange: x, phase: phase}
	b.whole = ""
	for i, piece := range pieces {
		next, err := r.next(ctx, piece, i == len(pieces)-1)
		if err != nil {
			return fmt.Errorf("%s: chunk %d: %w", phase, i, err)
		}
		if x.Immediate != nil {
			return nil
		}
		*out = append(*out, string(next))
		b.whole += string(next)
	}
	return nil
}

// next gives the policy one piece, and returns what goes on in its place.
func (r *chunkRun) next(ctx context.Context, piece string, last bool) ([]byte, error) {
	// A slice with no room in front, so that a piece that a policy has kept is
	// never written to.
	data := append(r.held[:len(r.held):len(r.held)], piece...)
	chunk := &policy.Chunk{Data: data, Last: last, State: r.state}
	before := string(data)
	call := r.newCall(r.phase)
	action, err := r.call(ctx, chunk, call)
	noted := call.Take()
	r.Exchange.state = call.State
	bad := checkNoted(noted)
	switch {
	case bad != nil:
		return nil, fmt.Errorf("%w: %w", errAction, bad)
	case string(data) != before:
		return nil, fmt.Errorf("%w: %w", errAction, errModified)
	case err != nil:
		return nil, fmt.Errorf("the policy gave an error: %w", err)
	}
	r.Steps = append(r.Steps, newStep(r.phase, action, noted))
	r.state, r.held = chunk.State, nil
	if err := r.checkRead(action); err != nil {
		return nil, fmt.Errorf("%w: %w", errAction, err)
	}
	shadow := r.policy.config.shadow
	switch replacement, replaced := policy.ChunkReplacement(action); {
	case action == nil:
	case replaced && !shadow:
		return replacement, nil
	case replaced:
	case policy.IsHold(action):
		if err := r.checkHold(data, last); err != nil {
			return nil, fmt.Errorf("%w: %w", errAction, err)
		}
		if !shadow {
			r.held = data
			return nil, nil
		}
	default:
		// An immediate response, or what cannot be applied.
		if err := r.apply(r.phase, action); err != nil {
			return nil, fmt.Errorf("%w: %w", errAction, err)
		}
	}
	return data, nil
}

func (r *chunkRun) call(ctx context.Context, chunk *policy.Chunk, call *exchange.Call) (policy.ChunkAction, error) {
	req, resp := r.views(call)
	if r.phase == policy.RequestBodyChunks {
		return r.policy.Instance.(policy.RequestBodyChunksPolicy).OnRequestBodyChunk(ctx, req, chunk)
	}
	return r.policy.Instance.(policy.ResponseBodyChunksPolicy).OnResponseBodyChunk(ctx, resp, chunk)
}

// checkRead returns an error if the policy says that it only reads chunks, and action changes
// one.
func (r *chunkRun) checkRead(action policy.ChunkAction) error {
	reader, ok := r.policy.Instance.(policy.ChunkReader)
	if !ok || !reader.ReadsChunks() {
		return nil
	}
	if _, replaced := policy.ChunkReplacement(action); replaced {
		return errReadReplaces
	}
	if policy.IsHold(action) {
		return errReadHolds
	}
	return nil
}

func (r *chunkRun) checkHold(data []byte, last bool) error {
	holder, ok := r.policy.Instance.(policy.ChunkHolder)
	switch {
	case !ok || !holder.HoldsChunks():
		return errHoldUnasked
	case last:
		return errHoldLast
	case len(data) > r.policy.config.holdLimit:
		return fmt.Errorf("the policy holds %d bytes, and %d are allowed", len(data), r.policy.config.holdLimit)
	}
	return nil
}
