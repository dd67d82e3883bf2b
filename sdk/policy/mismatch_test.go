package policy_test

import (
	"context"
	"testing"

	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

// wrong has methods with the right names and other signatures.
type wrong struct{}

func (wrong) OnRequestHeaders(context.Context, policy.RequestContext) error { return nil }

func (wrong) OnResponseBody(*policy.ResponseContext) (policy.ResponseAction, error) { return nil, nil }

func (wrong) Start() error { return nil }

func (wrong) Close() {}

func (wrong) HoldsChunks() bool { return true }

func (wrong) Other() {}

// byPointer has its methods by pointer.
type byPointer struct{}

func (*byPointer) OnRequestHeaders(context.Context, *policy.RequestContext) (policy.RequestAction, error) {
	return nil, nil
}

func (*byPointer) Close() error { return nil }

func TestMismatches(t *testing.T) {
	for _, tt := range []struct {
		name    string
		builder policy.Builder
		want    []policy.Mismatch
	}{
		{"all that the runtime calls", policy.Define(newEverything), nil},
		{"other signatures", policy.Define(func(params, policy.Host) (wrong, error) { return wrong{}, nil }), []policy.Mismatch{
			{policy.RequestHeaders, "policy_test.wrong has the method OnRequestHeaders(context.Context, policy.RequestContext) error, which is never called: the signature must be " +
				"OnRequestHeaders(context.Context, *policy.RequestContext) (policy.RequestAction, error)"},
			{policy.ResponseBody, "policy_test.wrong has the method OnResponseBody(*policy.ResponseContext) (policy.ResponseAction, error), which is never called: the signature must be " +
				"OnResponseBody(context.Context, *policy.ResponseContext) (policy.ResponseAction, error)"},
			{policy.PhaseCount, "policy_test.wrong has the method Start() error, which is never called: the signature must be Start(context.Context) error"},
			{policy.PhaseCount, "policy_test.wrong has the method Close(), which is never called: the signature must be Close() error"},
		}},
		{"a value whose pointer has the methods", policy.Define(func(params, policy.Host) (byPointer, error) { return byPointer{}, nil }), []policy.Mismatch{
			{policy.RequestHeaders, "the method OnRequestHeaders is that of *policy_test.byPointer, and the constructor returns policy_test.byPointer: it must return the pointer"},
			{policy.PhaseCount, "the method Close is that of *policy_test.byPointer, and the constructor returns policy_test.byPointer: it must return the pointer"},
		}},
		{"a pointer", policy.Define(func(params, policy.Host) (*byPointer, error) { return &byPointer{}, nil }), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.builder.Mismatches()
			for i := range max(len(got), len(tt.want)) {
				switch {
				case i >= len(got):
					t.Errorf("missing %v", tt.want[i])
				case i >= len(tt.want) || got[i] != tt.want[i]:
					t.Errorf("got %v", got[i])
				}
			}
		})
	}
}

// The request of a response can be read in one expression, without an allocation.
func TestRequestOfAResponse(t *testing.T) {
	x := &exchange.Exchange{}
	x.Request.Headers.Append("a", "1")
	resp := policy.NewResponseContext(x, false)
	if n := testing.AllocsPerRun(100, func() {
		if resp.Request().Header("a") != "1" || resp.Request().Headers().Len() != 1 {
			t.Error("another header")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
