package inmemory_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"policyengine.dev/runtime/inmemory"
	"policyengine.dev/runtime/kernel"
	"policyengine.dev/runtime/memory"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// params say what the policy of these tests does.
type params struct {
	// Phases has the phases in which it acts, by name.
	Phases []string `json:"phases"`
	// Deny is the phase in which it answers the client.
	Deny string `json:"deny"`
	// Panics is the phase in which it ends its goroutine's work by a panic.
	Panics string `json:"panics"`
	// Reads says that it only reads chunks; otherwise it writes them in upper case.
	Reads bool `json:"reads"`
}

// teller notes in the header or trailer x-PHASE that a phase ran, and writes bodies in upper
// case.
type teller struct{ params }

func (p *teller) ActivePhases() (all policy.PhaseSet) {
	for _, name := range p.Phases {
		if phase, ok := policy.ParsePhase(name); ok {
			all = all.With(phase)
		}
	}
	return all
}

func (p *teller) ReadsChunks() bool { return p.Reads }

// ends returns the answer for the client, where the phase is to give one.
func (p *teller) ends(phase policy.Phase) *policy.ImmediateResponse {
	if p.Panics == phase.String() {
		panic("as the test wants")
	}
	if p.Deny == phase.String() {
		return policy.Reject(403, "DENIED", "As the test wants.")
	}
	return nil
}

func tells(phase policy.Phase) policy.HeaderMutation {
	return policy.HeaderMutation{Set: []policy.Header{{Name: "X-" + strings.ReplaceAll(phase.String(), "_", "-"), Value: "1"}}}
}

func (p *teller) request(phase policy.Phase, m *policy.RequestMutation) (policy.RequestAction, error) {
	if ir := p.ends(phase); ir != nil {
		return ir, nil
	}
	m.DynamicMetadata = []policy.Entry{{Key: phase.String(), Value: true}}
	return m, nil
}

func (p *teller) response(phase policy.Phase, m *policy.ResponseMutation) (policy.ResponseAction, error) {
	if ir := p.ends(phase); ir != nil {
		return ir, nil
	}
	return m, nil
}

func (p *teller) chunk(phase policy.Phase, c *policy.Chunk) (policy.ChunkAction, error) {
	switch ir := p.ends(phase); {
	case ir != nil:
		return ir, nil
	case p.Reads:
		return nil, nil
	}
	return policy.ReplaceChunk(bytes.ToUpper(c.Data)), nil
}

func (p *teller) OnRequestHeaders(context.Context, *policy.RequestContext) (policy.RequestAction, error) {
	return p.request(policy.RequestHeaders, &policy.RequestMutation{Headers: tells(policy.RequestHeaders), Path: "/told"})
}

func (p *teller) OnRequestBody(_ context.Context, c *policy.RequestContext) (policy.RequestAction, error) {
	return p.request(policy.RequestBody, &policy.RequestMutation{Headers: tells(policy.RequestBody), Body: policy.NewBody(append(bytes.ToUpper(c.Body()), '!'))})
}

func (p *teller) OnRequestTrailers(context.Context, *policy.RequestContext) (policy.RequestAction, error) {
	return p.request(policy.RequestTrailers, &policy.RequestMutation{Trailers: tells(policy.RequestTrailers)})
}

func (p *teller) OnResponseHeaders(context.Context, *policy.ResponseContext) (policy.ResponseAction, error) {
	return p.response(policy.ResponseHeaders, &policy.ResponseMutation{Headers: tells(policy.ResponseHeaders), Status: 202})
}

func (p *teller) OnResponseBody(_ context.Context, c *policy.ResponseContext) (policy.ResponseAction, error) {
	return p.response(policy.ResponseBody, &policy.ResponseMutation{Headers: tells(policy.ResponseBody), Body: policy.NewBody(append(bytes.ToUpper(c.Body()), '!'))})
}

func (p *teller) OnResponseTrailers(context.Context, *policy.ResponseContext) (policy.ResponseAction, error) {
	return p.response(policy.ResponseTrailers, &policy.ResponseMutation{Trailers: tells(policy.ResponseTrailers)})
}

func (p *teller) OnRequestBodyChunk(_ context.Context, _ *policy.RequestContext, c *policy.Chunk) (policy.ChunkAction, error) {
	return p.chunk(policy.RequestBodyChunks, c)
}

func (p *teller) OnResponseBodyChunk(_ context.Context, _ *policy.ResponseContext, c *policy.Chunk) (policy.ChunkAction, error) {
	return p.chunk(policy.ResponseBodyChunks, c)
}

const definition = `{"apiVersion":"policyengine/v1","name":"teller","version":"v1.0.0","description":"Notes which phases ran.","body":"raw",
"phases":["request_headers","request_body","request_body_chunks","request_trailers","response_headers","response_body","response_body_chunks","response_trailers"],
"parameters":{"type":"object"}}`

// source is a worker as the kernel's source.
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

// newCarrier has a chain of one teller on the route "r". Without params it has no
// configuration.
func newCarrier(t *testing.T, with string) (*inmemory.Carrier, *memory.Account) {
	t.Helper()
	registry, err := worker.NewRegistry(worker.Entry{Definition: definition,
		Factory: policy.Define(func(p params, _ policy.Host) (*teller, error) { return &teller{p}, nil })})
	if err != nil {
		t.Fatal(err)
	}
	w := worker.New(registry, worker.Options{Host: policy.Host{Logger: slog.New(slog.DiscardHandler), Clock: systemClock{}}})
	t.Cleanup(func() {
		if err := w.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if with != "" {
		spec := worker.Spec{
			Chains: []worker.ChainSpec{{Name: "c", Policies: []worker.PolicySpec{{ID: "step", Name: "teller", Version: "v1.0.0", Params: []byte(with)}}}},
			Routes: []worker.RouteSpec{{Name: "r", Chain: "c"}},
		}
		if _, err := w.Update(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
	}
	account := memory.NewAccount(1 << 20)
	return inmemory.New(kernel.New(source{w}, kernel.Options{BodyLimit: 100, Memory: account}), inmemory.Options{}), account
}

func fields(pairs ...string) (all []exchange.Field) {
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, exchange.Field{Name: pairs[i], Value: pairs[i+1]})
	}
	return all
}

func body(pieces ...string) (all [][]byte) {
	for _, p := range pieces {
		all = append(all, []byte(p))
	}
	return all
}

// line writes headers, pieces of the body and trailers down.
func line(headers []exchange.Field, pieces [][]byte, trailers []exchange.Field) string {
	var b strings.Builder
	for _, f := range headers {
		fmt.Fprintf(&b, "%s=%s ", f.Name, f.Value)
	}
	fmt.Fprintf(&b, "[%s]", bytes.Join(pieces, []byte("|")))
	for _, f := range trailers {
		fmt.Fprintf(&b, " %s=%s", f.Name, f.Value)
	}
	return b.String()
}

// TestDo proves what the upstream and the client get of a whole exchange, by the phases in
// which a policy acts, and where an answer in each phase ends it.
func TestDo(t *testing.T) {
	const asTheyWere = "content-length=6 x-own=1 [one|two] x-sum=1"
	const denied = "403 DENIED"
	for _, tt := range []struct {
		name, params   string
		upstream, seen string
	}{
		{"no phase", `{"phases":[]}`, "/asked " + asTheyWere, "200 " + asTheyWere},
		{"headers of both", `{"phases":["request_headers","response_headers"]}`,
			"/told content-length=6 x-own=1 x-request-headers=1 [one|two] x-sum=1", "202 content-length=6 x-own=1 x-response-headers=1 [one|two] x-sum=1"},
		{"whole bodies, whose length is corrected", `{"phases":["request_body","response_body"]}`,
			"/asked content-length=7 x-own=1 x-request-body=1 [ONETWO!] x-sum=1", "200 content-length=7 x-own=1 x-response-body=1 [ONETWO!] x-sum=1"},
		{"pieces, which may change their length", `{"phases":["request_body_chunks","response_body_chunks"]}`,
			"/asked x-own=1 [ONE|TWO] x-sum=1", "200 x-own=1 [ONE|TWO] x-sum=1"},
		{"pieces that are read", `{"phases":["request_body_chunks","response_body_chunks"],"reads":true}`, "/asked " + asTheyWere, "200 " + asTheyWere},
		{"trailers", `{"phases":["request_trailers","response_trailers"]}`,
			"/asked content-length=6 x-own=1 [one|two] x-sum=1 x-request-trailers=1", "200 content-length=6 x-own=1 [one|two] x-sum=1 x-response-trailers=1"},
		{"an answer to the request's headers", `{"phases":["request_headers"],"deny":"request_headers"}`, "nothing", denied},
		{"an answer to the whole body", `{"phases":["request_headers","request_body"],"deny":"request_body"}`, "nothing", denied},
		{"an answer to a piece", `{"phases":["request_body_chunks"],"deny":"request_body_chunks"}`, "/asked x-own=1 []", denied},
		{"an answer to trailers", `{"phases":["request_trailers"],"deny":"request_trailers"}`, "/asked content-length=6 x-own=1 [one|two]", denied},
		{"an answer to the response's headers", `{"phases":["response_headers"],"deny":"response_headers"}`, "/asked " + asTheyWere, denied},
		{"an answer to the response's body", `{"phases":["response_body"],"deny":"response_body"}`, "/asked " + asTheyWere, denied},
		{"a panic", `{"phases":["request_headers"],"panics":"request_headers"}`, "nothing", "500 POLICY_PANIC"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, account := newCarrier(t, tt.params)
			calls := 0
			result, err := c.Do(t.Context(), inmemory.Request{Route: "r", Method: "POST", Path: "/asked",
				Headers: fields("Content-Length", "6", "X-Own", "1"), Body: body("one", "two"), Trailers: fields("X-Sum", "1")},
				func(*inmemory.Request) *inmemory.Response {
					calls++
					return &inmemory.Response{Status: 200, Headers: fields("Content-Length", "6", "X-Own", "1"), Body: body("one", "two"), Trailers: fields("X-Sum", "1")}
				})
			if err != nil {
				t.Fatal(err)
			}
			upstream, client := "nothing", ""
			if q := result.Request; q != nil {
				upstream = q.Path + " " + line(q.Headers, q.Body, q.Trailers)
			}
			if result.Answer != nil {
				client = fmt.Sprint(result.Response.Status, " ", result.Answer.Response.Reason)
			} else {
				client = fmt.Sprint(result.Response.Status, " ", line(result.Response.Headers, result.Response.Body, result.Response.Trailers))
			}
			if upstream != tt.upstream {
				t.Errorf("the upstream got %s\nwant %s", upstream, tt.upstream)
			}
			if client != tt.seen {
				t.Errorf("the client got %s\nwant %s", client, tt.seen)
			}
			if asked := strings.Contains(tt.params, `"deny":"request`) || strings.Contains(tt.params, "panics"); calls > 1 || (calls == 0) != asked {
				t.Errorf("the upstream was called %d times", calls)
			}
			if n := account.Used(); n != 0 {
				t.Errorf("%d bytes are not given back", n)
			}
		})
	}
}

// TestEndsWithoutAResponse proves that an exchange ends with the request where nobody
// answers it, and that the proxy's metadata of its policies is kept.
func TestEndsWithoutAResponse(t *testing.T) {
	for name, upstream := range map[string]func(*inmemory.Request) *inmemory.Response{
		"no upstream": nil, "no response": func(*inmemory.Request) *inmemory.Response { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := newCarrier(t, `{"phases":["request_headers","response_headers"]}`)
			result, err := c.Do(t.Context(), inmemory.Request{Route: "r", Path: "/"}, upstream)
			if err != nil || result.Request == nil || result.Response != nil || result.Answer != nil {
				t.Fatalf("the result is %+v, %v", result, err)
			}
			if len(result.Metadata) != 1 || result.Metadata["request_headers"] != true {
				t.Errorf("the metadata is %v", result.Metadata)
			}
		})
	}
}

// TestRefusals proves which requests never reach a policy.
func TestRefusals(t *testing.T) {
	for _, tt := range []struct{ name, params, route, reason string }{
		{"no configuration", "", "r", "NOT_READY"},
		{"a route without a chain", `{"phases":[]}`, "other", "ROUTE_UNKNOWN"},
		{"a body over the limit", `{"phases":["request_body"]}`, "r", "BODY_TOO_LARGE"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, account := newCarrier(t, tt.params)
			result, err := c.Do(t.Context(), inmemory.Request{Route: tt.route, Path: "/", Body: body(strings.Repeat("x", 60), strings.Repeat("x", 60))}, nil)
			if err != nil || result.Answer == nil || result.Answer.Response.Reason != tt.reason || result.Request != nil {
				t.Errorf("the result is %+v, %v; want %s", result, err, tt.reason)
			}
			if n := account.Used(); n != 0 {
				t.Errorf("%d bytes are not given back", n)
			}
		})
	}
}
