package extproc_test

import (
	"context"
	"testing"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"policyengine.dev/runtime/extproc/negotiate"
	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/sdk/policy"
)

// TestStreamsThatEndUndecided proves that a stream whose policies were cut short ends
// with an error and without a word: to an Envoy that waits nevertheless, a clean end
// would let the request pass.
func TestStreamsThatEndUndecided(t *testing.T) {
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	late, stop := context.WithDeadline(context.Background(), time.Unix(1, 0))
	defer stop()
	for name, tc := range map[string]struct {
		ctx    context.Context
		code   codes.Code
		failed uint64
	}{
		"a client that went away":    {canceled, codes.Canceled, 0},
		"a stream that was too long": {late, codes.DeadlineExceeded, 1},
	} {
		for _, stuck := range []bool{false, true} {
			c := parseChain(t, "request_headers=pass")
			c.gone = map[policy.Phase]bool{policy.RequestHeaders: true}
			if stuck {
				c.stuck[policy.RequestHeaders] = true
				close(c.release)
			}
			first := requestHeaders(false)
			first.Attributes, first.ProtocolConfig = attributesFor("r"), serveConfig()
			d := newDirect(nil, marshal(t, first))
			d.ctx = tc.ctx
			var counts telemetry.Streams
			err := handlerOf(newService(oneChain(c), options{Streams: &counts}))(d)
			if status.Code(err) != tc.code || len(d.replies) != 0 {
				t.Errorf("%s, taken over %t: %v, and %d replies", name, stuck, err, len(d.replies))
			}
			if n := counts.Failed.Load(); n != tc.failed {
				t.Errorf("%s, taken over %t: %d streams have failed, want %d", name, stuck, n, tc.failed)
			}
		}
	}
}

// TestHalfClosed proves that a stream that Envoy half-closes before the policies have
// decided ends with an error and no reply, wherever the exchange is. It ends cleanly
// only where Envoy waits for nothing.
func TestHalfClosed(t *testing.T) {
	duplex := &extprocv3.ProtocolConfiguration{RequestBodyMode: fullDuplex, ResponseBodyMode: fullDuplex}
	whole := &extprocv3.ProtocolConfiguration{RequestBodyMode: wholeBody, ResponseBodyMode: wholeBody}
	pieces := &extprocv3.ProtocolConfiguration{RequestBodyMode: streamed, ResponseBodyMode: streamed}
	trailers := negotiate.Settings{RequestTrailers: true, ResponseTrailers: true}
	observed := requestHeaders(false)
	observed.ObservabilityMode = true
	for name, tc := range map[string]struct {
		chain    string
		modes    *extprocv3.ProtocolConfiguration
		messages []*extprocv3.ProcessingRequest
		replies  int
		clean    bool
	}{
		"before the first message": {chain: "request_headers=pass", modes: serveConfig()},
		"while the request's headers wait for its body in full duplex": {
			chain: "request_body=pass", modes: duplex, messages: []*extprocv3.ProcessingRequest{requestHeaders(false)}},
		"while a part of that body has arrived": {
			chain: "request_body=pass", modes: duplex, messages: []*extprocv3.ProcessingRequest{requestHeaders(false), requestBody("a", false)}},
		"while a piece is held back in full duplex": {
			chain: "request_body_chunks=hold", modes: duplex,
			messages: []*extprocv3.ProcessingRequest{requestHeaders(false), requestBody("a", false)}, replies: 1},
		"while a whole body is waited for": {
			chain: "request_body=pass", modes: whole, messages: []*extprocv3.ProcessingRequest{requestHeaders(false)}, replies: 1},
		"between the pieces of a body": {
			chain: "request_body_chunks=pass", modes: pieces,
			messages: []*extprocv3.ProcessingRequest{requestHeaders(false), requestBody("a", false)}, replies: 2},
		"while trailers are waited for": {
			chain: "request_trailers=pass", modes: serveConfig(), messages: []*extprocv3.ProcessingRequest{requestHeaders(false)}, replies: 1},
		"while the response is waited for": {
			chain: "response_headers=pass", modes: serveConfig(), messages: []*extprocv3.ProcessingRequest{requestHeaders(true)}, replies: 1},
		"while the response's headers wait for its body in full duplex": {
			chain: "response_body=pass", modes: duplex,
			messages: []*extprocv3.ProcessingRequest{requestHeaders(true), responseHeaders(false)}, replies: 1},
		"while a whole response body is waited for": {
			chain: "response_body=pass", modes: whole,
			messages: []*extprocv3.ProcessingRequest{requestHeaders(true), responseHeaders(false)}, replies: 2},
		"when Envoy only watches": {
			chain: "request_body=pass", messages: []*extprocv3.ProcessingRequest{observed}, clean: true},
	} {
		t.Run(name, func(t *testing.T) {
			var messages [][]byte
			for i, m := range tc.messages {
				if i == 0 {
					m.Attributes, m.ProtocolConfig = attributesFor("r"), tc.modes
				}
				messages = append(messages, marshal(t, m))
			}
			d := newDirect(&trailers, messages...)
			var counts telemetry.Streams
			err := handlerOf(newService(oneChain(parseChain(t, tc.chain)), options{Streams: &counts}))(d)
			want := codes.Canceled
			if tc.clean {
				want = codes.OK
			}
			if status.Code(err) != want || len(d.replies) != tc.replies {
				t.Errorf("the stream ended with %v after %d replies, want %v after %d", err, len(d.replies), want, tc.replies)
			}
			if n := counts.Failed.Load(); n != 0 {
				t.Errorf("it counts as %d failures of the engine", n)
			}
		})
	}
}

// TestHalfClosedWhileDraining proves that a stream that was taken over, has decided
// everything and only waits for its handler ends cleanly when Envoy ends it.
func TestHalfClosedWhileDraining(t *testing.T) {
	c := parseChain(t, "request_headers=stuck+set(x-a,1)")
	e := serve(t, oneChain(c), options{})
	s := e.open(t, "r")
	s.call(requestHeaders(true))
	if err := s.grpc.CloseSend(); err != nil {
		t.Fatal(err)
	}
	close(c.release)
	s.ended()
}

// TestStreamsThatEnvoyEndsEarly proves that the chain is told whether Envoy ended the
// stream before it had seen what it needs, so that the request counts as canceled.
func TestStreamsThatEnvoyEndsEarly(t *testing.T) {
	for name, tc := range map[string]struct {
		chain      string
		unfinished bool
	}{
		"a request that was all there is to see":      {"request_headers=pass", false},
		"a response that policies wait for":           {"request_headers=pass response_headers=pass", true},
		"a body that policies wait for":               {"request_body=pass", true},
		"a request that was answered in the meantime": {"request_headers=deny response_headers=pass", false},
	} {
		t.Run(name, func(t *testing.T) {
			c := parseChain(t, tc.chain)
			first := requestHeaders(false)
			first.Attributes, first.ProtocolConfig = attributesFor("r"), serveConfig()
			d := newDirect(nil, marshal(t, first))
			_ = handlerOf(newService(oneChain(c), options{Filter: negotiate.Settings{ModeOverride: true}, PreferModeOverride: true}))(d)
			if c.ended.Load() != 1 || c.unfinished.Load() != tc.unfinished {
				t.Errorf("ended %d times, unfinished %t, want %t", c.ended.Load(), c.unfinished.Load(), tc.unfinished)
			}
		})
	}
}
