package worker_test

import (
	"bytes"
	"context"
	"runtime"
	"testing"

	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
)

// TestHoldingIsLinear proves that a client cannot have the engine copy a large held
// body again for each of many small pieces, and that whatever policies have kept of a
// held body stays as it was.
func TestHoldingIsLinear(t *testing.T) {
	const large, pieces = 1 << 20, 3000
	h := newHarness(t, false)
	var kept [][]byte
	calls := 0
	c := h.load(
		h.use(&script{phases: policy.Phases(policy.RequestBodyChunks), chunk: func(_ context.Context, c *policy.Chunk) (policy.ChunkAction, error) {
			// A policy's own buffer, of which it answers a part.
			own := append(bytes.Clone(c.Data), "own memory"...)
			kept = append(kept, own)
			return policy.ReplaceChunk(own[:len(c.Data)]), nil
		}}),
		h.use(&script{phases: policy.Phases(policy.RequestBodyChunks), holds: true, chunk: func(_ context.Context, c *policy.Chunk) (policy.ChunkAction, error) {
			if len(kept) < 5 {
				// What is appended to a piece is the policy's own, too.
				kept = append(kept, append(c.Data, "own memory"...))
			}
			// Toward the end some pieces are let go in between.
			if calls++; c.Last || calls > pieces-1000 && calls%7 == 0 {
				return nil, nil
			}
			return policy.Hold(), nil
		}}),
	)
	x := begin(c)
	defer x.End(false)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	want := bytes.Repeat([]byte("x"), large)
	out := x.RunChunk(context.Background(), policy.RequestBodyChunks, budget, worker.Chunk{Data: want}, noResume{t})
	var sent []byte
	for i := range pieces {
		piece := []byte{byte(i)}
		want = append(want, piece...)
		out = x.RunChunk(context.Background(), policy.RequestBodyChunks, budget, worker.Chunk{Data: piece, Last: i == pieces-1}, noResume{t})
		wantContinue(t, out)
		sent = append(sent, out.Chunk.Data...)
	}
	runtime.ReadMemStats(&after)
	if !bytes.Equal(sent, want) {
		t.Errorf("%d bytes went on, not the %d that came", len(sent), len(want))
	}
	for i, k := range kept {
		if !bytes.HasSuffix(k, []byte("own memory")) {
			t.Fatalf("what a policy kept at call %d was written over", i)
		}
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 64*large {
		t.Errorf("%d MiB were allocated for a body of 1 MiB", n>>20)
	}
}
