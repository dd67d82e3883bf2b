package extproc_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"

	"policyengine.dev/runtime/kernel"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
)

type setterParams struct {
	Name string `json:"name"`
	Both bool   `json:"both"`
}

type header struct {
	request  *policy.RequestMutation
	response *policy.ResponseMutation
}

func newHeader(p setterParams, _ policy.Host) (*header, error) {
	m := policy.HeaderMutation{Set: []policy.Header{{Name: p.Name, Value: "1"}}}
	h := &header{request: &policy.RequestMutation{Headers: m}}
	if p.Both {
		h.response = &policy.ResponseMutation{Headers: m}
	}
	return h, nil
}

func (h *header) ActivePhases() policy.PhaseSet {
	s := policy.Phases(policy.RequestHeaders)
	if h.response != nil {
		s = s.With(policy.ResponseHeaders)
	}
	return s
}

func (h *header) OnRequestHeaders(context.Context, *policy.RequestContext) (policy.RequestAction, error) {
	return h.request, nil
}

func (h *header) OnResponseHeaders(context.Context, *policy.ResponseContext) (policy.ResponseAction, error) {
	return h.response, nil
}

// workerSource is a real worker as the kernel's source.
type workerSource struct{ *worker.Worker }

type workerSnapshot struct{ *worker.Snapshot }

func (s workerSource) Acquire() kernel.Snapshot {
	if snapshot := s.Worker.Acquire(); snapshot != nil {
		return workerSnapshot{snapshot}
	}
	return nil
}

func (s workerSnapshot) Begin(c kernel.Chain) worker.Executor {
	return s.Snapshot.Begin(c.(*worker.Chain))
}

func (s workerSnapshot) BeginShadow(c kernel.Chain) worker.Executor {
	return s.Snapshot.BeginShadow(c.(*worker.Chain))
}

func (s workerSnapshot) Chain(route string) (kernel.Chain, bool) {
	c, ok := s.Snapshot.Chain(route)
	return c, ok
}

// headerChain is a worker with a chain of so many header policies, on a condition that
// may be empty.
func headerChain(t testing.TB, policies int, both bool, when string) workerSource {
	t.Helper()
	registry, err := worker.NewRegistry(worker.Entry{
		Definition: `{"apiVersion":"policyengine/v1","name":"header","version":"v1.0.0","description":"Sets a header.","phases":["request_headers","response_headers"],
"parameters":{"type":"object","properties":{"name":{"type":"string"},"both":{"type":"boolean"}}}}`,
		Factory: policy.Define(newHeader),
	})
	if err != nil {
		t.Fatal(err)
	}
	w := worker.New(registry, worker.Options{Host: policy.Host{Logger: slog.New(slog.DiscardHandler), Clock: systemClock{}}})
	t.Cleanup(func() {
		if err := w.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	spec := worker.Spec{Chains: []worker.ChainSpec{{Name: "c"}}, Routes: []worker.RouteSpec{{Name: "r", Chain: "c"}}}
	for i := range policies {
		spec.Chains[0].Policies = append(spec.Chains[0].Policies, worker.PolicySpec{ID: fmt.Sprint("h", i), Name: "header", Version: "v1", When: when,
			Params: fmt.Appendf(nil, `{"name":"x-step-%d","both":%v}`, i, both)})
	}
	if _, err := w.Update(context.Background(), spec); err != nil {
		t.Fatal(err)
	}
	return workerSource{w}
}

// replay is a stream that is used again and again.
type replay struct {
	handler func(grpc.ServerStream) error
	stream  *direct
}

func newReplay(t testing.TB, policies int, both bool) *replay {
	return newReplayWith(t, headerChain(t, policies, both, ""), options{})
}

func newReplayWith(t testing.TB, chain workerSource, o options) *replay {
	first := requestHeaders(true, "accept", "application/json", "accept-encoding", "gzip, br", "authorization", "Bearer abc.def.ghi",
		"content-type", "application/json", "cookie", "session=123", "user-agent", "Mozilla/5.0", "x-request-id", "0c9c6f3e-0f52-4c3e-9d5e-5e2b5f6b7a80")
	first.Attributes, first.ProtocolConfig = attributesFor("r"), &extprocv3.ProtocolConfiguration{}
	d := newDirect(nil, marshal(t, first), marshal(t, responseHeaders(false, "content-type", "application/json", "server", "x")))
	d.discard = true
	return &replay{handler: handlerOf(newService(chain, o)), stream: d}
}

func (r *replay) run(t testing.TB) {
	r.stream.read = 0
	if err := r.handler(r.stream); err != nil {
		t.Fatal(err)
	}
}

// TestAllocations proves what a stream costs beside grpc: the copy of each message,
// which policies may keep, and grpc's slice of one buffer for each reply that says
// something.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("pools lose what they hold under the race detector")
	}
	for _, tt := range []struct {
		name     string
		policies int
		both     bool
		when     string
		most     float64
	}{
		{"empty chain", 0, false, "", 1},
		{"five header policies", 5, false, "", 2},
		{"five header policies both ways", 5, true, "", 4},
		{"five header policies both ways, by their conditions", 5, true, `request.method == "POST"`, 4},
		// The answer is one that is always the same, and there is no second.
		{"five header policies both ways, ruled out by their conditions", 5, true, `request.method == "GET"`, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newReplayWith(t, headerChain(t, tt.policies, tt.both, tt.when), options{})
			if got := testing.AllocsPerRun(500, func() { r.run(t) }); got > tt.most {
				t.Errorf("%v allocations, at most %v allowed", got, tt.most)
			}
		})
	}
}

func BenchmarkStream(b *testing.B) {
	for _, bc := range []struct {
		policies int
		both     bool
	}{{0, false}, {1, false}, {5, false}, {5, true}} {
		b.Run(fmt.Sprintf("policies=%d/both=%v", bc.policies, bc.both), func(b *testing.B) {
			r := newReplay(b, bc.policies, bc.both)
			b.ReportAllocs()
			for b.Loop() {
				r.run(b)
			}
		})
	}
}
