package policy_test

import (
	"testing"

	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

// TestState proves that what a call keeps is found again by type, by way of either context.
func TestState(t *testing.T) {
	type kept struct{ n int }
	var x exchange.Exchange
	var call exchange.Call
	req, resp := policy.NewRequestContext(&x, false).WithCall(&call), policy.NewResponseContext(&x, false).WithCall(&call)
	if _, ok := policy.LookupState[kept](&req); ok {
		t.Error("there is something before anything was kept")
	}
	policy.State[kept](&req).n = 7
	policy.State[kept](&req).n++
	of := resp.Request()
	if s, ok := policy.LookupState[kept](&resp); !ok || s.n != 8 || policy.State[kept](&of) != s {
		t.Errorf("found %v, %v", s, ok)
	}
	defer func() {
		if recover() == nil {
			t.Error("another type is found")
		}
	}()
	policy.State[int](&req)
}

// TestStateOfAContextAlone proves that a test that makes a context by itself can be run.
func TestStateOfAContextAlone(t *testing.T) {
	req := policy.NewRequestContext(&exchange.Exchange{}, false)
	if *policy.State[int](&req) != 0 {
		t.Error("not zero")
	}
	req.Annotate()
	req.StartSpan("s").End(nil)
	req.Logger().Info("nobody reads this")
	if req.RequestID() != "" {
		t.Errorf("request id %q", req.RequestID())
	}
}
