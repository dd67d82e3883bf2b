package extproc_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/types/known/structpb"

	"policyengine.dev/runtime/extproc"
	"policyengine.dev/runtime/extproc/negotiate"
	"policyengine.dev/runtime/extproc/wire"
	"policyengine.dev/runtime/telemetry"
)

// proxy is an Envoy with connections of its own to a kernel, as far as a kernel can
// tell.
type proxy struct {
	t      *testing.T
	kernel *extproc.Service
	log    bytes.Buffer
	counts telemetry.Streams
	conn   net.Conn
}

func newProxy(t *testing.T, o options, chains map[string]*chain) *proxy {
	p := &proxy{t: t}
	o.Logger, o.Streams = slog.New(slog.NewTextHandler(&p.log, nil)), &p.counts
	p.kernel = newService(&source{chains: chains}, o)
	p.reconnect()
	return p
}

func (p *proxy) reconnect() {
	if p.conn != nil {
		p.conn.Close()
	}
	client, server := net.Pipe()
	p.conn = negotiate.Track(server)
	p.t.Cleanup(func() { client.Close(); server.Close() })
}

// exchange sends messages for a route over a stream of a filter with the stamp, and
// returns how the engine answered in the upstream's place, or "".
func (p *proxy) exchange(stamp, route string, modes *extprocv3.ProtocolConfiguration, messages ...*extprocv3.ProcessingRequest) string {
	p.t.Helper()
	var encoded [][]byte
	for i, m := range messages {
		if i == 0 {
			m.Attributes, m.ProtocolConfig = attributesFor(route), modes
		}
		encoded = append(encoded, marshal(p.t, m))
	}
	d := newDirect(nil, encoded...)
	d.ctx = peer.NewContext(metadata.NewIncomingContext(context.Background(), metadata.Pairs(negotiate.StampKey, stamp)),
		&peer.Peer{Addr: p.conn.RemoteAddr()})
	_ = handlerOf(p.kernel)(d)
	for _, r := range d.replies {
		if im := r.GetImmediateResponse(); im != nil {
			return strings.TrimPrefix(im.Details, "policy_engine.")
		}
	}
	return ""
}

func bodyChains(t *testing.T) map[string]*chain {
	return map[string]*chain{
		"whole":   parseChain(t, "request_body=pass"),
		"late":    parseChain(t, "request_body=pass response_headers=pass"),
		"pieces":  parseChain(t, "request_body_chunks=pass"),
		"headers": parseChain(t, "request_headers=set(x-a,1)"),
	}
}

// TestIgnoredOverride proves that a filter that has ignored a mode override is not
// relied on any more over this connection and with this stamp, and that this is told in
// the log once, in the counts and in the findings.
func TestIgnoredOverride(t *testing.T) {
	const stamp, other = "v1 timeout=1s mode_override", "v1 timeout=2s mode_override"
	for _, route := range []string{"whole", "late", "pieces"} {
		t.Run(route, func(t *testing.T) {
			p := newProxy(t, options{PreferModeOverride: true}, bodyChains(t))
			ignored := func() string {
				return p.exchange(stamp, route, serveConfig(), requestHeaders(false), responseHeaders(false))
			}
			if got := ignored(); got != "REQUEST_PHASE_SKIPPED" {
				t.Errorf("the response to a request that was not checked: %q", got)
			}
			for _, r := range []string{"whole", "late", "pieces"} {
				if got := p.exchange(stamp, r, serveConfig(), requestHeaders(false)); got != "FILTER_CANNOT_SERVE_CHAIN" {
					t.Errorf("the next request on %s is answered %q", r, got)
				}
			}
			if got := p.exchange(stamp, "headers", serveConfig(), requestHeaders(false)); got != "" {
				t.Errorf("a chain without bodies is refused: %q", got)
			}
			if got := p.exchange(stamp, route, serveConfig(), requestHeaders(true)); got != "" {
				t.Errorf("a request that ends with its headers is refused: %q", got)
			}
			found := p.kernel.Findings()
			if len(found) != 1 || found[0].Stamp != stamp || found[0].Route != route {
				t.Errorf("the findings are %+v", found)
			}
			if n := strings.Count(p.log.String(), "level=ERROR"); n != 1 || !strings.Contains(p.log.String(), "ignored a mode override") {
				t.Errorf("the log has %d lines: %s", n, p.log.String())
			}
			if got := p.exchange(other, route, serveConfig(), requestHeaders(false)); got != "" {
				t.Errorf("another stamp is refused: %q", got)
			}
			p.reconnect()
			if n := len(p.kernel.Findings()); n != 0 {
				t.Errorf("%d findings once the connection is gone", n)
			}
			if got := ignored(); got != "REQUEST_PHASE_SKIPPED" {
				t.Errorf("another connection is answered %q", got)
			}
			if n := p.counts.Contradictions.Load(); n != 2 {
				t.Errorf("%d requests have shown it, want 2", n)
			}
		})
	}
}

// TestUnsentTrailers proves the same for a filter that does not send the trailers that
// it is said to send: of a request with headers and trailers alone, no body policy runs.
func TestUnsentTrailers(t *testing.T) {
	const stamp = "v1 request_trailers"
	p := newProxy(t, options{}, bodyChains(t))
	modes := &extprocv3.ProtocolConfiguration{RequestBodyMode: wholeBody}
	if got := p.exchange(stamp, "late", modes, requestHeaders(false), responseHeaders(true)); got != "REQUEST_PHASE_SKIPPED" {
		t.Errorf("the response to a request that was not checked: %q", got)
	}
	if got := p.exchange(stamp, "whole", modes, requestHeaders(false)); got != "FILTER_CANNOT_SERVE_CHAIN" {
		t.Errorf("the next request is answered %q", got)
	}
	if !strings.Contains(p.log.String(), "trailers") {
		t.Errorf("the log is %s", p.log.String())
	}
}

// TestNothingIsShown proves that what a client or an upstream can bring about says nothing
// against a filter: requests that end with their headers, early answers, resets, answers
// of Envoy's own, empty bodies and trailers.
func TestNothingIsShown(t *testing.T) {
	const stamp = "v1 mode_override"
	p := newProxy(t, options{PreferModeOverride: true}, map[string]*chain{
		"whole":  parseChain(t, "request_body=pass"),
		"late":   parseChain(t, "request_body=pass response_headers=pass"),
		"pieces": parseChain(t, "request_body_chunks=pass"),
		"held":   parseChain(t, "request_body_chunks=hold"),
		"shown":  parseChain(t, "request_body_chunks=pass response_headers=pass"),
		"deny":   parseChain(t, "request_headers=deny(403) request_body=pass response_headers=pass"),
	})
	local := responseHeaders(false)
	local.Attributes = map[string]*structpb.Struct{wire.AttributesKey: {Fields: map[string]*structpb.Value{
		"response.code_details": structpb.NewStringValue("request_overall_timeout")}}}
	pieces := &extprocv3.ProtocolConfiguration{RequestBodyMode: streamed}
	for name, tc := range map[string]struct {
		route    string
		modes    *extprocv3.ProtocolConfiguration
		messages []*extprocv3.ProcessingRequest
	}{
		"a request that ends with its headers": {"late", serveConfig(), []*extprocv3.ProcessingRequest{requestHeaders(true), responseHeaders(false)}},
		"one that is reset":                    {"late", serveConfig(), []*extprocv3.ProcessingRequest{requestHeaders(false)}},
		"one that is reset, in pieces":         {"pieces", serveConfig(), []*extprocv3.ProcessingRequest{requestHeaders(false)}},
		"one that is reset in its body":        {"pieces", serveConfig(), []*extprocv3.ProcessingRequest{requestHeaders(false), requestBody("a", false)}},
		"an empty body":                        {"whole", serveConfig(), []*extprocv3.ProcessingRequest{requestHeaders(false), requestBody("", true)}},
		"an empty body, and a response":        {"late", serveConfig(), []*extprocv3.ProcessingRequest{requestHeaders(false), requestBody("", true), responseHeaders(true)}},
		"trailers alone":                       {"late", serveConfig(), []*extprocv3.ProcessingRequest{requestHeaders(false), requestTrailers("a", "b"), responseHeaders(true)}},
		"a body and trailers":                  {"late", serveConfig(), []*extprocv3.ProcessingRequest{requestHeaders(false), requestBody("a", false), requestTrailers("a", "b"), responseHeaders(true)}},
		"an answer of Envoy's own":             {"late", serveConfig(), []*extprocv3.ProcessingRequest{requestHeaders(false), local}},
		"an early answer":                      {"shown", pieces, []*extprocv3.ProcessingRequest{requestHeaders(false), responseHeaders(false)}},
		"a refusal of a policy":                {"deny", serveConfig(), []*extprocv3.ProcessingRequest{requestHeaders(false)}},
		"a tunnel":                             {"whole", serveConfig(), []*extprocv3.ProcessingRequest{requestHeaders(false, "upgrade", "websocket")}},
		"pieces that are held back":            {"held", serveConfig(), []*extprocv3.ProcessingRequest{requestHeaders(false, "content-length", "1"), requestBody("a", false)}},
	} {
		t.Run(name, func(t *testing.T) {
			stamp := stamp
			if tc.modes == pieces {
				stamp += " request_trailers"
			}
			p.exchange(stamp, tc.route, tc.modes, tc.messages...)
			if found := p.kernel.Findings(); len(found) != 0 || p.counts.Contradictions.Load() != 0 {
				t.Fatalf("it counts against the filter: %+v", found)
			}
		})
	}
}

// TestCausesOfWhatIsNotShown proves that a refusal says why the engine did not ask for
// what is not shown.
func TestCausesOfWhatIsNotShown(t *testing.T) {
	const stamp = "v1 mode_override"
	for name, tc := range map[string]struct {
		prefers bool
		chain   string
		shown   bool // that the filter has ignored an override before
		says    string
	}{
		"an engine that does not ask":         {false, "request_body=pass", false, "filter.preferModeOverride is off"},
		"what would not show":                 {true, "response_body=pass", false, "would not show"},
		"a filter that has ignored it before": {true, "request_body=pass", true, "found not to do what is said"},
	} {
		t.Run(name, func(t *testing.T) {
			c := parseChain(t, tc.chain)
			p := newProxy(t, options{PreferModeOverride: tc.prefers}, map[string]*chain{"r": c})
			if tc.shown {
				p.exchange(stamp, "r", serveConfig(), requestHeaders(false), responseHeaders(false))
			}
			p.exchange(stamp, "r", serveConfig(), requestHeaders(false))
			if got := c.refused.Load(); got == nil || !strings.Contains(got.Cause.Error(), tc.says) {
				t.Errorf("the cause is %v, which does not say %q", got, tc.says)
			}
		})
	}
}
