package worker_test

import (
	"testing"

	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
)

// TestBodiesThatAChainNeverNeeds proves that a policy which needs a body that the chain rules
// out is a load error at its place, and that other policies and other bodies are not.
func TestBodiesThatAChainNeverNeeds(t *testing.T) {
	h := newHarness(t, false)
	for _, p := range []policy.Phase{policy.RequestHeaders, policy.RequestBody, policy.RequestBodyChunks, policy.RequestTrailers,
		policy.ResponseHeaders, policy.ResponseBody, policy.ResponseBodyChunks, policy.ResponseTrailers} {
		for _, never := range []struct{ request, response bool }{{false, false}, {true, false}, {false, true}, {true, true}} {
			ps := h.use(&script{phases: policy.Phases(p)})
			_, err := h.Check(specOf(worker.ChainSpec{Name: "c", NoRequestBody: never.request, NoResponseBody: never.response,
				Policies: []worker.PolicySpec{h.use(setHeader("x", "1")), ps}}))
			field := ""
			switch p {
			case policy.RequestBody, policy.RequestBodyChunks:
				if never.request {
					field = "requestBody"
				}
			case policy.ResponseBody, policy.ResponseBodyChunks:
				if never.response {
					field = "responseBody"
				}
			}
			want := "chains[0].policies[1]: script@v1.0.0 needs the phase " + p.String() + ", and the chain says " + field + ": never; leave the policy or " + field + " out"
			if field == "" && err != nil || field != "" && (err == nil || err.Error() != want) {
				t.Errorf("a policy of %s, never %+v: %v", p, never, err)
			}
		}
	}
}
