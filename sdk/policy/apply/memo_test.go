package apply_test

import (
	"testing"

	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policy/apply"
)

// TestMemo proves that what is remembered is the action and its phase, and nothing
// that was refused.
func TestMemo(t *testing.T) {
	var memo apply.Memo
	good := &policy.RequestMutation{Headers: set("x-a", "1"), Body: policy.NewBody([]byte("b"))}
	bad := &policy.RequestMutation{Headers: set("x a", "1")}
	for i := range 5 {
		x := newExchange()
		if err := memo.Request(x, policy.RequestBody, good); err != nil {
			t.Fatal(err)
		}
		if v, _ := x.Request.Headers.Get("x-a"); v != "1" || string(x.Request.Body.Bytes) != "b" {
			t.Errorf("time %d: not applied", i)
		}
		if memo.Request(x, policy.RequestHeaders, good) == nil {
			t.Errorf("time %d: a body is accepted in the headers phase since it was good in another", i)
		}
		if memo.Request(x, policy.RequestBody, bad) == nil {
			t.Errorf("time %d: an invalid action is accepted", i)
		}
	}
	// Another action is checked although one is remembered.
	if memo.Request(newExchange(), policy.RequestBody, &policy.RequestMutation{Method: "no token"}) == nil {
		t.Error("an invalid action is accepted")
	}
	resp := &policy.ResponseMutation{Status: 404}
	for range 3 {
		x := &exchange.Exchange{}
		if err := memo.Response(x, policy.ResponseHeaders, resp); err != nil || x.Response.Status != 404 {
			t.Errorf("status %d, %v", x.Response.Status, err)
		}
		if memo.Response(x, policy.ResponseHeaders, &policy.ResponseMutation{Status: 99}) == nil {
			t.Error("an invalid status is accepted")
		}
	}
}

func BenchmarkMemo(b *testing.B) {
	var memo apply.Memo
	m := &policy.RequestMutation{Headers: set("x-a", "1")}
	x := newExchange()
	b.ReportAllocs()
	for b.Loop() {
		x.Request.Headers.Reset(requestHeaders(x.Request.Headers.Storage()))
		if err := memo.Request(x, policy.RequestHeaders, m); err != nil {
			b.Fatal(err)
		}
	}
}
