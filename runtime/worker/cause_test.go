package worker_test

import (
	"context"
	"strings"
	"testing"

	"policyengine.dev/sdk/policy"
)

// TestTheCauseOfAnAnswerIsRecorded proves that what a policy tells the operator about
// its answer is in the decision record, at its step, and bounded.
func TestTheCauseOfAnAnswerIsRecorded(t *testing.T) {
	for _, cause := range []string{"the claim exp: it is missing", "", strings.Repeat("ä", 1000)} {
		h := newHarness(t, true)
		x, _ := h.runRequest(h.load(h.use(setHeader("x-a", "1")), h.use(onRequestHeaders(
			func(context.Context, *policy.RequestContext) (policy.RequestAction, error) {
				ir := policy.Reject(401, "NO", "")
				ir.Cause = cause
				return ir, nil
			}))))
		x.End(false)
		d := h.records.all[0]
		got := d.Steps[1].Cause
		if d.Steps[0].Cause != "" || d.Cause != got || !strings.HasPrefix(cause, strings.TrimSuffix(got, "…")) || got == "" && cause != "" || len(got) > 256 {
			t.Errorf("%d bytes of cause %q are recorded as %q and %q", len(cause), cause[:min(len(cause), 20)], got, d.Cause)
		}
	}
}
