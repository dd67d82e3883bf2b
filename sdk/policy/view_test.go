package policy_test

import (
	"log/slog"
	"testing"

	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

// TestNotesCostNothingWhereNobodyReadsThem proves that annotations and spans allocate
// nothing where no decision is recorded.
func TestNotesCostNothingWhereNobodyReadsThem(t *testing.T) {
	var x exchange.Exchange
	var call exchange.Call
	req := policy.NewRequestContext(&x, false).WithCall(&call)
	if n := testing.AllocsPerRun(100, func() {
		req.Annotate(slog.Int("score", 7), slog.String("rule", "r1"))
		span := req.StartSpan("search", slog.Int("n", 1))
		span.Annotate(slog.Int("m", 2))
		span.End(nil)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestSpansOfAnExchange proves that a span that is recorded is the parent of what the policy
// asks others, and that one that is not passes the exchange's own trace on.
func TestSpansOfAnExchange(t *testing.T) {
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	x := &exchange.Exchange{TraceParent: parent}
	call := &exchange.Call{Place: &exchange.Place{Random: ones{}}, Records: true}
	for name, tt := range map[string]struct {
		view policy.View
		want string
	}{
		"recorded":      {new(policy.NewRequestContext(x, false).WithCall(call)), "00-0af7651916cd43dd8448eb211c80319c-0101010101010101-01"},
		"of a response": {new(policy.NewResponseContext(x, false).WithCall(call)), "00-0af7651916cd43dd8448eb211c80319c-0101010101010101-01"},
		"not recorded":  {new(policy.NewRequestContext(x, false)), parent},
	} {
		t.Run(name, func(t *testing.T) {
			s := tt.view.StartSpan("ask")
			if got := s.TraceParent(); got != tt.want {
				t.Errorf("traceparent %q, want %q", got, tt.want)
			}
			s.End(nil)
		})
	}
}

type ones struct{}

func (ones) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 1
	}
	return len(p), nil
}
