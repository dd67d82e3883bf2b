package extproc_test

import (
	"context"
	"testing"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/structpb"

	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sets returns a step that sets a header of the request.
func setsRequest(name, value string) step {
	return func(_ context.Context, x *exchange.Exchange) *policy.ImmediateResponse {
		x.Request.Headers.Set(name, value)
		return nil
	}
}

func setsResponse(name, value string) step {
	return func(_ context.Context, x *exchange.Exchange) *policy.ImmediateResponse {
		x.Response.Headers.Set(name, value)
		return nil
	}
}

func passes(context.Context, *exchange.Exchange) *policy.ImmediateResponse { return nil }

func denies(context.Context, *exchange.Exchange) *policy.ImmediateResponse {
	return policy.Reject(403, "NO", "", policy.Header{Name: "X-Why", Value: "because"})
}

func oneChain(c *chain) *source { return &source{chains: map[string]*chain{"r": c}} }

// immediate expects an immediate response with the status and the details.
func immediate(t *testing.T, r *extprocv3.ProcessingResponse, status int, details string) *extprocv3.ImmediateResponse {
	t.Helper()
	im := r.GetImmediateResponse()
	if im == nil || int(im.GetStatus().GetCode()) != status || im.GetDetails() != details {
		t.Fatalf("the reply is %v, want an immediate response %d %s", r, status, details)
	}
	return im
}

// setHeaders are the headers that a reply sets, in the form of a test's expectation.
func setHeaders(m *extprocv3.HeaderMutation) map[string]string {
	all := map[string]string{}
	for _, h := range m.GetSetHeaders() {
		all[h.GetHeader().GetKey()] += string(h.GetHeader().GetRawValue())
	}
	for _, name := range m.GetRemoveHeaders() {
		all[name] = "(removed)"
	}
	return all
}

func requestMutation(r *extprocv3.ProcessingResponse) *extprocv3.HeaderMutation {
	return r.GetRequestHeaders().GetResponse().GetHeaderMutation()
}

func TestHeadersOfARequest(t *testing.T) {
	e := serve(t, oneChain(&chain{steps: map[policy.Phase]step{policy.RequestHeaders: setsRequest("x-a", "1")}}), options{})
	s := e.open(t, "r")
	r := s.call(requestHeaders(false, "x-a", "0"))
	if got := setHeaders(requestMutation(r)); got["x-a"] != "1" || len(got) != 1 {
		t.Errorf("the reply sets %v", got)
	}
	if r.GetModeOverride() != nil || r.GetDynamicMetadata() != nil || r.GetRequestHeaders().GetResponse().GetClearRouteCache() {
		t.Errorf("the reply asks for more than it needs: %v", r)
	}
	// Nothing else matters to this chain.
	s.ended()
}

func TestHeadersOfBoth(t *testing.T) {
	e := serve(t, oneChain(&chain{steps: map[policy.Phase]step{
		policy.RequestHeaders:  setsRequest("x-a", "1"),
		policy.ResponseHeaders: setsResponse("x-b", "2"),
	}}), options{})
	s := e.open(t, "r")
	s.call(requestHeaders(true))
	r := s.call(responseHeaders(false, "server", "x"))
	if got := setHeaders(r.GetResponseHeaders().GetResponse().GetHeaderMutation()); got["x-b"] != "2" || len(got) != 1 {
		t.Errorf("the reply sets %v", got)
	}
	s.ended()
}

func TestDenied(t *testing.T) {
	e := serve(t, oneChain(&chain{steps: map[policy.Phase]step{
		policy.RequestHeaders: denies, policy.ResponseHeaders: passes}}), options{})
	s := e.open(t, "r")
	im := immediate(t, s.call(requestHeaders(false)), 403, "policy_engine.fake@v1.0.0.NO")
	if got := setHeaders(im.GetHeaders()); got["content-type"] != policy.ProblemContentType || got["x-why"] != "because" {
		t.Errorf("the headers are %v", got)
	}
	s.ended()
}

// TestNoChain proves that what has no chain is denied unless it is said otherwise.
func TestNoChain(t *testing.T) {
	for _, tt := range []struct {
		name    string
		source  *source
		attrs   map[string]*structpb.Struct
		status  int
		details string
	}{
		{"unknown route", &source{}, nil, 500, "policy_engine.ROUTE_UNKNOWN"},
		{"no attribute", &source{}, map[string]*structpb.Struct{}, 500, "policy_engine.ROUTE_MISSING"},
		{"no configuration", &source{notReady: true}, nil, 503, "policy_engine.NOT_READY"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, tt.source, options{}).open(t, "r")
			m := requestHeaders(false)
			m.Attributes = tt.attrs
			immediate(t, s.call(m), tt.status, tt.details)
			s.ended()
		})
	}
	t.Run("unknown route that may pass", func(t *testing.T) {
		s := serve(t, &source{unknown: worker.ContinueUnknownRoute}, options{}).open(t, "r")
		if r := s.call(requestHeaders(false)); r.GetRequestHeaders() == nil {
			t.Errorf("the reply is %v", r)
		}
		s.ended()
	})
}
