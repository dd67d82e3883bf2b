package extproc_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"policyengine.dev/runtime/extproc/negotiate"
	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

func itoa(n int) string { return strconv.Itoa(n) }

// withMetadata opens a stream with initial metadata.
func (e *envoy) withMetadata(t testing.TB, route string, pairs ...string) *stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(context.Background(), pairs...), patience)
	t.Cleanup(cancel)
	s, err := e.client.Process(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return &stream{t: t, grpc: s, cancel: cancel, first: true, route: route}
}

func TestRouteFromMetadata(t *testing.T) {
	c := &chain{steps: map[policy.Phase]step{policy.RequestHeaders: setsRequest("x-a", "1")}}
	e := serve(t, &source{chains: map[string]*chain{"told": c}}, options{RouteMetadata: "x-route"})
	s := e.withMetadata(t, "another", "x-route", "told")
	if r := s.call(requestHeaders(true)); requestMutation(r) == nil {
		t.Errorf("the reply is %v", r)
	}
	s.ended()
	s = e.withMetadata(t, "told")
	immediate(t, s.call(requestHeaders(true)), 500, "policy_engine.ROUTE_MISSING")
}

func TestRouteFromAnotherAttribute(t *testing.T) {
	c := &chain{steps: map[policy.Phase]step{policy.RequestHeaders: setsRequest("x-a", "1")}}
	e := serve(t, &source{chains: map[string]*chain{"told": c}}, options{RouteAttribute: "my.route"})
	s := e.open(t, "")
	m := requestHeaders(true)
	m.Attributes = attributesFor("told")
	fields := m.Attributes["envoy.filters.http.ext_proc"].Fields
	fields["my.route"] = fields["xds.route_name"]
	delete(fields, "xds.route_name")
	if r := s.call(m); requestMutation(r) == nil {
		t.Errorf("the reply is %v", r)
	}
}

// TestTraceContext proves that the stream's own trace context is taken only where it
// is wanted.
func TestTraceContext(t *testing.T) {
	for _, wanted := range []bool{true, false} {
		var parent, state string
		c := &chain{steps: map[policy.Phase]step{policy.RequestHeaders: func(_ context.Context, x *exchange.Exchange) *policy.ImmediateResponse {
			parent, state = x.TraceParent, x.TraceState
			return nil
		}}}
		e := serve(t, oneChain(c), options{TraceContext: wanted})
		e.withMetadata(t, "r", "traceparent", "00-a-b-01", "tracestate", "v=1").call(requestHeaders(true))
		if (parent == "00-a-b-01") != wanted || (state == "v=1") != wanted {
			t.Errorf("wanted %v: got %q and %q", wanted, parent, state)
		}
	}
}

// TestStamp proves that what a filter says of itself counts before what is declared,
// whatever other filters say, and that one that cannot be read allows nothing.
func TestStamp(t *testing.T) {
	var log bytes.Buffer
	c := &chain{needs: worker.Needs{Phases: policy.Phases(policy.RequestBody)}}
	e := serve(t, oneChain(c), options{
		Filter: negotiate.Settings{ModeOverride: true}, PreferModeOverride: true, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for _, tt := range []struct {
		name, stamp string
		ok          bool
	}{
		{"none", "", true},
		{"one that allows it", "v1 mode_override", true},
		{"one that does not", "v1 timeout=1s", false},
		{"the first again", "v1 mode_override", true},
		{"one that cannot be read", "v1 mode_override and_more", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var pairs []string
			if tt.stamp != "" {
				pairs = []string{negotiate.StampKey, tt.stamp}
			}
			s := e.withMetadata(t, "r", pairs...)
			m := requestHeaders(false)
			m.ProtocolConfig = serveConfig()
			if r := s.call(m); (r.GetModeOverride() != nil) != tt.ok || (r.GetImmediateResponse() == nil) != tt.ok {
				t.Errorf("the reply is %v", r)
			}
		})
	}
	if !strings.Contains(log.String(), "and_more") {
		t.Errorf("the log is %s", log.String())
	}
}

// TestBudget proves that policies have nine tenths of the filter's timeout for one
// message, all phases together.
func TestBudget(t *testing.T) {
	for name, tt := range map[string]struct {
		stamp *negotiate.Settings
		want  time.Duration
	}{
		"Envoy's default": {nil, 180 * time.Millisecond},
		"stamped":         {&negotiate.Settings{MessageTimeout: time.Second}, 900 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			var elapsed atomic.Int64
			pause := func(context.Context, *exchange.Exchange) *policy.ImmediateResponse {
				elapsed.Add(int64(2 * time.Millisecond))
				return nil
			}
			c := &chain{steps: map[policy.Phase]step{policy.RequestHeaders: pause, policy.RequestBody: pause}}
			e := serve(t, oneChain(c), options{Elapsed: func() time.Duration { return time.Duration(elapsed.Load()) }})
			e.stamp = tt.stamp
			e.open(t, "r").call(requestHeaders(true))
			if b := c.budgets(); !slices.Equal(b, []time.Duration{tt.want, tt.want - 2*time.Millisecond}) {
				t.Errorf("the phases had %v, of %v", b, tt.want)
			}
		})
	}
}

// TestImmediateHeaders proves that an answer carries only headers that Envoy takes.
func TestImmediateHeaders(t *testing.T) {
	answer := &policy.ImmediateResponse{Status: 401, Reason: "NO", Headers: []policy.Header{
		{Name: "WWW-Authenticate", Value: "Basic"}, {Name: "www-authenticate", Value: "Bearer"},
		{Name: "content-length", Value: "7"}, {Name: "x-envoy-upstream", Value: "1"}, {Name: ":status", Value: "200"},
		{Name: "bad name", Value: "1"}, {Name: "x-bad", Value: "a\r\nb: c"}, {Name: "", Value: "1"},
	}}
	c := &chain{steps: map[policy.Phase]step{policy.RequestHeaders: func(context.Context, *exchange.Exchange) *policy.ImmediateResponse { return answer }}}
	s := serve(t, oneChain(c), options{}).open(t, "r")
	im := immediate(t, s.call(requestHeaders(true)), 401, "policy_engine.fake@v1.0.0.NO")
	var got []string
	for _, h := range im.GetHeaders().GetSetHeaders() {
		//lint:ignore SA1019 the reply sends append beside append_action: Envoy reads only the one.
		add := h.GetAppend().GetValue()
		got = append(got, h.GetHeader().GetKey()+"="+string(h.GetHeader().GetRawValue())+" "+strconv.FormatBool(add))
	}
	if want := "www-authenticate=Basic false, www-authenticate=Bearer true"; strings.Join(got, ", ") != want {
		t.Errorf("the headers are %q, want %q", got, want)
	}
}

var errBroken = errors.New("the connection broke")

// breaking is a stream that ends in an error after so many messages, or replies.
type breaking struct {
	*direct
	receives, sends int
	err             error
}

func (b *breaking) RecvMsg(m any) error {
	if b.receives--; b.receives < 0 {
		return b.err
	}
	return b.direct.RecvMsg(m)
}

func (b *breaking) SendMsg(m any) error {
	if b.sends--; b.sends < 0 {
		return b.err
	}
	return b.direct.SendMsg(m)
}

// TestCancelledAnywhere proves that a stream that Envoy ends at any point ends with an
// error and leaves nothing behind, and that only a fault counts as a failure.
func TestCancelledAnywhere(t *testing.T) {
	messages := func(t *testing.T) [][]byte {
		first := requestHeaders(false)
		first.Attributes, first.ProtocolConfig = attributesFor("r"), &extprocv3.ProtocolConfiguration{RequestBodyMode: wholeBody, ResponseBodyMode: wholeBody}
		return [][]byte{marshal(t, first), marshal(t, requestBody("hello", false)), marshal(t, requestTrailers("a", "b")),
			marshal(t, responseHeaders(false)), marshal(t, responseBody("there", true))}
	}
	text := "request_headers=set(x-a,1) request_body=twice request_trailers=pass response_headers=pass response_body=twice"
	for at := range 6 {
		for _, tt := range []struct {
			name   string
			err    error
			failed bool
		}{{"end", io.EOF, false}, {"cancel", status.Error(codes.Canceled, "cancelled"), false}, {"break", errBroken, true}} {
			for _, sending := range []bool{false, true} {
				c := parseChain(t, text)
				s := oneChain(c)
				b := &breaking{direct: newDirect(&negotiate.Settings{RequestTrailers: true, ResponseTrailers: true}, messages(t)...), receives: 100, sends: 100, err: tt.err}
				if sending {
					b.sends = at
				} else {
					b.receives = at
				}
				var counts telemetry.Streams
				err := handlerOf(newService(s, options{Streams: &counts}))(b)
				over := at >= 5 // the kernel ends the stream with the fifth reply
				if (err == nil) != over || (counts.Failed.Load() == 1) != (tt.failed && !over) {
					t.Errorf("%s at %d (sending %v): %v, %d failures", tt.name, at, sending, err, counts.Failed.Load())
				}
				if s.acquired.Load() != s.released.Load() || c.begun.Load() != c.ended.Load() || counts.Open.Load() != 0 {
					t.Errorf("%s at %d (sending %v): something was left behind", tt.name, at, sending)
				}
			}
		}
	}
}

// TestHandlersThatArePulledAway proves that streams whose handler a policy has ended
// go on to their end, one after the other, and leave the server able to stop.
func TestHandlersThatArePulledAway(t *testing.T) {
	c := parseChain(t, "request_headers=exit+set(x-a,1) response_headers=exit+set(x-b,2)")
	e := serve(t, oneChain(c), options{})
	for range 100 {
		s := e.open(t, "r")
		if got := setHeaders(requestMutation(s.call(requestHeaders(true)))); got["x-a"] != "1" {
			t.Fatalf("the reply sets %v", got)
		}
		r := s.call(responseHeaders(true))
		if got := setHeaders(r.GetResponseHeaders().GetResponse().GetHeaderMutation()); got["x-b"] != "2" {
			t.Fatalf("the reply sets %v", got)
		}
		s.cancel()
	}
	for deadline := time.Now().Add(patience); c.ended.Load() != c.begun.Load(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d exchanges have ended", c.ended.Load(), c.begun.Load())
		}
	}
}

// TestTakenOverIsCounted proves that a stream whose policy never comes back is counted
// while it hangs.
func TestTakenOverIsCounted(t *testing.T) {
	c := parseChain(t, "request_headers=stuck+deny(504)")
	var counts telemetry.Streams
	e := serve(t, oneChain(c), options{Streams: &counts})
	t.Cleanup(func() { close(c.release) })
	s := e.open(t, "r")
	immediate(t, s.call(requestHeaders(true)), 504, "policy_engine.fake@v1.0.0.NO")
	if n := counts.TakenOver.Load(); n != 1 {
		t.Errorf("%d streams were taken over", n)
	}
	s.cancel()
}
