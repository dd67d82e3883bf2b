package worker_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
)

// TestReadingChunks proves what a policy that only reads chunks may answer: what changes a
// chunk is its error, in shadow mode too, and all else does what it always does.
func TestReadingChunks(t *testing.T) {
	for _, tt := range []struct {
		name    string
		answer  policy.ChunkAction
		err     error
		onError worker.OnError
		details string
	}{
		{name: "nothing passes the chunk"},
		{name: "a replacement is an error", answer: policy.ReplaceChunk([]byte("new")), details: "POLICY_ERROR"},
		{name: "so is one by the same bytes", answer: policy.ReplaceChunk([]byte("chunk")), details: "POLICY_ERROR"},
		{name: "so is holding", answer: policy.Hold(), details: "POLICY_ERROR"},
		{name: "with onError: continue the chunk passes as it is", answer: policy.ReplaceChunk([]byte("new")), onError: worker.ContinueOnError},
		{name: "it may refuse", answer: policy.Reject(403, "NO", ""), details: "NO"},
		{name: "it may err", err: errors.New("broken"), details: "POLICY_ERROR"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHarness(t, false)
			ps := h.use(&script{phases: policy.Phases(policy.RequestBodyChunks), reads: true, holds: true,
				chunk: func(context.Context, *policy.Chunk) (policy.ChunkAction, error) { return tt.answer, tt.err }})
			ps.OnError = tt.onError
			x := begin(h.load(ps))
			defer x.End(false)
			out := x.RunChunk(context.Background(), policy.RequestBodyChunks, budget, worker.Chunk{Data: []byte("chunk")}, noResume{t})
			if tt.details != "" {
				if want := "policy_engine.script@v1.0.0." + tt.details; out.Kind != worker.Respond || out.Details != want {
					t.Fatalf("the outcome is %+v, want %s", out, want)
				}
				return
			}
			wantContinue(t, out)
			if out.Chunk.Changed || !bytes.Equal(out.Chunk.Data, []byte("chunk")) {
				t.Errorf("the chunk became %+v", out.Chunk)
			}
		})
	}
}

// TestChainsThatReadChunks proves that a chain changes the chunks of a direction if one of its
// policies may, and not if all of them only read.
func TestChainsThatReadChunks(t *testing.T) {
	both := policy.Phases(policy.RequestBodyChunks, policy.ResponseBodyChunks)
	h := newHarness(t, false)
	reads := func(phases policy.PhaseSet, reads bool) worker.PolicySpec {
		return h.use(&script{phases: phases, reads: reads})
	}
	for _, tt := range []struct {
		name              string
		policies          []worker.PolicySpec
		request, response bool
	}{
		{name: "one that reads", policies: []worker.PolicySpec{reads(both, true)}},
		{name: "one that may change", policies: []worker.PolicySpec{reads(both, false)}, request: true, response: true},
		{name: "two, of which one may change requests", policies: []worker.PolicySpec{reads(both, true), reads(policy.Phases(policy.RequestBodyChunks), false)}, request: true},
		{name: "two, of which one may change responses", policies: []worker.PolicySpec{reads(policy.Phases(policy.ResponseBodyChunks), false), reads(both, true)}, response: true},
		{name: "none that sees chunks", policies: []worker.PolicySpec{reads(policy.Phases(policy.RequestBody), false)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := h.loadChain(worker.ChainSpec{Policies: tt.policies}).Needs()
			if n.ChangesRequestChunks != tt.request || n.ChangesResponseChunks != tt.response {
				t.Errorf("needs %+v", n)
			}
		})
	}
}
