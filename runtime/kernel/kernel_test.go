package kernel_test

import (
	"context"
	"log/slog"
	"runtime"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"

	"policyengine.dev/runtime/inmemory"
	"policyengine.dev/runtime/kernel"
	"policyengine.dev/runtime/memory"
	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

// These tests carry exchanges in memory and run real workers: what they prove holds for
// every carrier. What depends on Envoy is tested in runtime/extproc.

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// behaviour is a policy that a test writes down: it acts in the phases of which the
// function is set.
type behaviour struct {
	headers, body, trailers                         func(*policy.RequestContext) policy.RequestAction
	responseHeaders, responseBody, responseTrailers func(*policy.ResponseContext) policy.ResponseAction
	chunk, responseChunk                            func(piece []byte, last bool) policy.ChunkAction
	// holds says that it holds chunks back, reads that it only reads them.
	holds, reads bool
}

func (b *behaviour) ReadsChunks() bool { return b.reads }

func (b *behaviour) HoldsChunks() bool { return b.holds }

func (b *behaviour) ActivePhases() (all policy.PhaseSet) {
	for p, acts := range map[policy.Phase]bool{
		policy.RequestHeaders: b.headers != nil, policy.RequestBody: b.body != nil, policy.RequestTrailers: b.trailers != nil,
		policy.ResponseHeaders: b.responseHeaders != nil, policy.ResponseBody: b.responseBody != nil, policy.ResponseTrailers: b.responseTrailers != nil,
		policy.RequestBodyChunks: b.chunk != nil, policy.ResponseBodyChunks: b.responseChunk != nil,
	} {
		if acts {
			all = all.With(p)
		}
	}
	return all
}

func (b *behaviour) OnRequestHeaders(_ context.Context, c *policy.RequestContext) (policy.RequestAction, error) {
	return b.headers(c), nil
}

func (b *behaviour) OnRequestBody(_ context.Context, c *policy.RequestContext) (policy.RequestAction, error) {
	return b.body(c), nil
}

func (b *behaviour) OnRequestTrailers(_ context.Context, c *policy.RequestContext) (policy.RequestAction, error) {
	return b.trailers(c), nil
}

func (b *behaviour) OnResponseHeaders(_ context.Context, c *policy.ResponseContext) (policy.ResponseAction, error) {
	return b.responseHeaders(c), nil
}

func (b *behaviour) OnResponseBody(_ context.Context, c *policy.ResponseContext) (policy.ResponseAction, error) {
	return b.responseBody(c), nil
}

func (b *behaviour) OnResponseTrailers(_ context.Context, c *policy.ResponseContext) (policy.ResponseAction, error) {
	return b.responseTrailers(c), nil
}

func (b *behaviour) OnRequestBodyChunk(_ context.Context, _ *policy.RequestContext, c *policy.Chunk) (policy.ChunkAction, error) {
	return b.chunk(c.Data, c.Last), nil
}

func (b *behaviour) OnResponseBodyChunk(_ context.Context, _ *policy.ResponseContext, c *policy.Chunk) (policy.ChunkAction, error) {
	return b.responseChunk(c.Data, c.Last), nil
}

// source is a real worker as the kernel's source.
type source struct{ *worker.Worker }

type snapshot struct{ *worker.Snapshot }

func (s source) Acquire() kernel.Snapshot {
	if acquired := s.Worker.Acquire(); acquired != nil {
		return snapshot{acquired}
	}
	return nil
}

func (s snapshot) Begin(c kernel.Chain) worker.Executor { return s.Snapshot.Begin(c.(*worker.Chain)) }

func (s snapshot) BeginShadow(c kernel.Chain) worker.Executor {
	return s.Snapshot.BeginShadow(c.(*worker.Chain))
}

func (s snapshot) Chain(route string) (kernel.Chain, bool) {
	c, ok := s.Snapshot.Chain(route)
	return c, ok
}

type systemClock struct{}

func (systemClock) Now() time.Time                        { return time.Now() }
func (systemClock) NewTimer(d time.Duration) policy.Timer { return systemTimer{time.NewTimer(d)} }

type systemTimer struct{ *time.Timer }

func (t systemTimer) C() <-chan time.Time { return t.Timer.C }

const definition = `{"apiVersion":"policyengine/v1","name":"scripted","version":"v1.0.0","description":"Does what a test says.",
"phases":["request_headers","request_body","request_body_chunks","request_trailers","response_headers","response_body","response_body_chunks","response_trailers"]BODY,
"parameters":{"type":"object"}}`

// bench is a chain of one policy on the route "r", and what counts its exchanges.
type bench struct {
	carrier *inmemory.Carrier
	account *memory.Account
	streams telemetry.Streams
}

// newBench has a chain of the behaviour in force. step completes the configuration of its
// step and chain.
func newBench(t *testing.T, b *behaviour, plain bool, options inmemory.Options, complete func(*worker.ChainSpec)) *bench {
	t.Helper()
	body := ""
	if plain {
		body = `,"body":"decoded"`
	}
	registry, err := worker.NewRegistry(worker.Entry{
		Definition: replaceBody(definition, body),
		Factory:    policy.Define(func(struct{}, policy.Host) (*behaviour, error) { return b, nil }),
	})
	if err != nil {
		t.Fatal(err)
	}
	w := worker.New(registry, worker.Options{Host: policy.Host{Logger: slog.New(slog.DiscardHandler), Clock: systemClock{}}})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := w.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	chain := worker.ChainSpec{Name: "c", Policies: []worker.PolicySpec{{ID: "step", Name: "scripted", Version: "v1.0.0", Params: []byte("{}")}}}
	if complete != nil {
		complete(&chain)
	}
	spec := worker.Spec{Chains: []worker.ChainSpec{chain}, Routes: []worker.RouteSpec{{Name: "r", Chain: "c"}}}
	if _, err := w.Update(context.Background(), spec); err != nil {
		t.Fatal(err)
	}
	made := &bench{account: memory.NewAccount(1 << 20)}
	k := kernel.New(source{w}, kernel.Options{BodyLimit: 100, Memory: made.account, Streams: &made.streams})
	made.carrier = inmemory.New(k, options)
	return made
}

// patience bounds every wait of a test; nothing depends on how long it is.
const patience = 20 * time.Second

// do carries an exchange, and fails the test if anything of it stays behind.
func (b *bench) do(t *testing.T, request inmemory.Request, response *inmemory.Response) *inmemory.Result {
	t.Helper()
	request.Route = "r"
	if request.Method == "" {
		request.Method = "POST"
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	result, err := b.carrier.Do(ctx, request, func(*inmemory.Request) *inmemory.Response { return response })
	if err != nil {
		t.Fatal(err)
	}
	if n := b.account.Used(); n != 0 {
		t.Errorf("%d bytes are not given back", n)
	}
	return result
}

func text(body [][]byte) string {
	all := ""
	for i, piece := range body {
		if i > 0 {
			all += "|"
		}
		all += string(piece)
	}
	return all
}

func value(fields []exchange.Field, name string) string {
	all := ""
	for _, f := range fields {
		if f.Name == name {
			all += f.Value + ";"
		}
	}
	return all
}

func itoa(n int) string { return strconv.Itoa(n) }

// eventually waits until a condition holds.
func eventually(t *testing.T, holds func() bool, otherwise string) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal(otherwise)
		}
	}
}
