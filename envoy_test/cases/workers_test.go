package cases_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	"google.golang.org/grpc"

	"policyengine.dev/envoy_test/harness"
	"policyengine.dev/envoy_test/harness/harnesstest"
	"policyengine.dev/runtime/extproc"
	"policyengine.dev/runtime/extproc/negotiate"
	"policyengine.dev/runtime/kernel"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

// remote is a chain whose policy is a remote worker's: its executor ends a phase as
// one does that has found no worker for the policy, or none that is up.
type remote struct {
	phase  policy.Phase
	reason worker.Reason
}

// details are those of an answer for which a policy is to blame.
func (r remote) details() string {
	return "policy_engine.jwt-validation@v2.0.0." + r.reason.String()
}

func (r remote) Needs() worker.Needs { return worker.Needs{Phases: policy.Phases(r.phase)} }

type remoteExecutor struct {
	remote
	exchange exchange.Exchange
}

func (e *remoteExecutor) Exchange() *exchange.Exchange { return &e.exchange }
func (e *remoteExecutor) End(bool)                     {}
func (e *remoteExecutor) Held() int64                  { return 0 }

func (e *remoteExecutor) Run(_ context.Context, phase policy.Phase, _ time.Duration, _ worker.Resumer) worker.Outcome {
	if phase != e.phase {
		return worker.Outcome{}
	}
	return worker.Outcome{Kind: worker.Respond, Response: e.reason.Response(), Details: e.details()}
}

func (e *remoteExecutor) RunChunk(_ context.Context, _ policy.Phase, _ time.Duration, chunk worker.Chunk, _ worker.Resumer) worker.Outcome {
	return worker.Outcome{Chunk: chunk}
}

func (e *remoteExecutor) Reject(_ context.Context, refusal worker.Refusal, _ time.Duration, _ worker.Resumer) worker.Outcome {
	return refusal.Reason.Outcome()
}

// remotes is a configuration with a chain for each route.
type remotes map[string]remote

func (r remotes) Acquire() kernel.Snapshot { return r }
func (remotes) Release()                   {}
func (remotes) Begin(c kernel.Chain) worker.Executor {
	return &remoteExecutor{remote: c.(remote)}
}
func (r remotes) BeginShadow(c kernel.Chain) worker.Executor { return r.Begin(c) }
func (remotes) Version() string                              { return "test" }
func (r remotes) Chain(route string) (kernel.Chain, bool) {
	c, ok := r[route]
	return c, ok
}
func (remotes) OnUnknownRoute(string) worker.UnknownRoute { return worker.DenyUnknownRoute }

// TestAnswersForWorkers shows what clients get where no worker offers a policy, or
// none that does is up.
//
// It is a test of the seam, worker.Executor: an engine that has its policies in its
// own process cannot get into that state, so there is no exchange that a suite could
// make. The kernel, its server options, the answers and Envoy are the real ones; only
// the executor is made for the test, and ends its phase as one in front of remote
// workers does.
func TestAnswersForWorkers(t *testing.T) {
	chains := remotes{
		"unsupported":        {policy.RequestHeaders, worker.PolicyNotSupported},
		"down":               {policy.RequestHeaders, worker.WorkerDown},
		"unsupported-body":   {policy.RequestBody, worker.PolicyNotSupported},
		"down-body":          {policy.RequestBody, worker.WorkerDown},
		"unsupported-answer": {policy.ResponseHeaders, worker.PolicyNotSupported},
		"down-answer":        {policy.ResponseHeaders, worker.WorkerDown},
		"down-answer-body":   {policy.ResponseBody, worker.WorkerDown},
	}
	shown := harness.Modes{"down-answer-body": {ResponseBodyMode: filterv3.ProcessingMode_BUFFERED}}
	var routes []any
	for name := range chains {
		route := map[string]any{
			"name": name, "match": map[string]any{"path": "/" + name}, "route": map[string]any{"cluster": harness.UpstreamCluster},
		}
		shown.Apply(route)
		routes = append(routes, route)
	}
	s := harnesstest.Start(t, harness.Options{Bootstrap: harness.Bootstrap{Engine: serveKernel(t, chains), Routes: routes}})
	s.Upstream.Answer(harness.Answer{Chunks: [][]byte{[]byte("secret")}})
	for name, c := range chains {
		t.Run(name, func(t *testing.T) { askWorker(t, s, name, c) })
	}
}

// serveKernel serves the kernel alone and returns where.
func serveKernel(t *testing.T, source kernel.Source) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(extproc.ServerOptions()...)
	extproc.New(kernel.New(source, kernel.Options{}), extproc.Options{
		Filter: negotiate.Settings{ResponseTrailers: true, MessageTimeout: harness.MessageTimeout},
	}).Register(server)
	ended := make(chan struct{})
	go func() { defer close(ended); _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Stop(); <-ended })
	return listener.Addr().String()
}

func askWorker(t *testing.T, s *harness.Stack, route string, c remote) {
	s.Upstream.Forget()
	request, err := http.NewRequestWithContext(harnesstest.Context(t), http.MethodGet, "http://"+s.Address()+"/"+route, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var problem struct {
		Status int
		Reason string
	}
	if err := json.Unmarshal(body, &problem); err != nil {
		t.Errorf("the body is no problem details: %s", body)
	}
	wantStatus, wantRetry := http.StatusInternalServerError, ""
	if c.reason == worker.WorkerDown {
		wantStatus, wantRetry = http.StatusServiceUnavailable, "1"
	}
	if response.StatusCode != wantStatus || problem.Status != wantStatus || problem.Reason != c.reason.String() {
		t.Errorf("status %d, problem details %s", response.StatusCode, body)
	}
	if got := response.Header.Get("content-type"); got != "application/problem+json" {
		t.Errorf("the content type is %q", got)
	}
	if got := response.Header.Get("retry-after"); got != wantRetry {
		t.Errorf("retry-after is %q, want %q", got, wantRetry)
	}
	wantReached := 0
	if c.phase.IsResponse() {
		wantReached = 1
	}
	if got := s.Upstream.Received(); len(got) != wantReached {
		t.Errorf("the upstream saw %d requests, want %d", len(got), wantReached)
	}
	harnesstest.Eventually(t, func() error {
		log, err := s.Envoy.AccessLog()
		if err != nil {
			return err
		}
		for _, entry := range log {
			if entry.Route == route && entry.Status == wantStatus && entry.Details == c.details() {
				return nil
			}
		}
		return errors.New("no such entry in Envoy's access log: " + c.details())
	})
}
