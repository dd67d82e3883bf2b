package extproc_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"policyengine.dev/runtime/extproc/negotiate"
	"policyengine.dev/runtime/telemetry"
)

// records keeps the records of refusals without a chain.
type records struct {
	mu  sync.Mutex
	all []*telemetry.Decision
}

func (r *records) Record(d *telemetry.Decision) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, d)
}

// TestRefusalsOfAChainHaveACause proves of each place where the kernel refuses an exchange
// with a chain that it says what was lacking, and counts it by its kind.
func TestRefusalsOfAChainHaveACause(t *testing.T) {
	whole := &extprocv3.ProtocolConfiguration{RequestBodyMode: wholeBody}
	duplex := &extprocv3.ProtocolConfiguration{RequestBodyMode: fullDuplex}
	both := &extprocv3.ProtocolConfiguration{RequestBodyMode: wholeBody, ResponseBodyMode: wholeBody}
	trailers := negotiate.Settings{RequestTrailers: true}
	large := []string{"content-length", "11"}
	for _, tt := range []struct {
		name, chain string
		filter      negotiate.Settings
		modes       *extprocv3.ProtocolConfiguration
		messages    []*extprocv3.ProcessingRequest
		reason      string
		kind        telemetry.Cause
		says        []string
	}{
		{"a body mode that is lacking", "request_body=pass", negotiate.Settings{}, nil,
			[]*extprocv3.ProcessingRequest{requestHeaders(false)}, "FILTER_CANNOT_SERVE_CHAIN", telemetry.PartNotShown,
			[]string{"needs request body (BUFFERED), request trailers", "body modes are NONE and NONE", "filter.preferModeOverride is off", "engine.yaml says"}},
		{"beside a mode that no override changes", "response_body=pass", negotiate.Settings{ModeOverride: true}, duplex,
			[]*extprocv3.ProcessingRequest{requestHeaders(false)}, "FILTER_CANNOT_SERVE_CHAIN", telemetry.PartNotShown,
			[]string{"response body (BUFFERED), response trailers", "FULL_DUPLEX_STREAMED and NONE"}},
		{"a body that was not whole", "request_body=pass response_headers=pass", trailers, whole,
			[]*extprocv3.ProcessingRequest{requestHeaders(false), requestBody("a", false), requestBody("b", true)}, "FILTER_CANNOT_SERVE_CHAIN", telemetry.BodyNotWhole, []string{"marked as complete"}},
		{"a change that is forbidden", "request_headers=set(x-a,1)", negotiate.Settings{NoHeaders: true}, nil,
			[]*extprocv3.ProcessingRequest{requestHeaders(true)}, "FILTER_CANNOT_SERVE_CHAIN", telemetry.ChangeForbidden, []string{`"x-a"`}},
		{"more headers than may be", "request_headers=many(20)", negotiate.Settings{MaxHeaders: 20}, nil,
			[]*extprocv3.ProcessingRequest{requestHeaders(true)}, "FILTER_CANNOT_SERVE_CHAIN", telemetry.AddedHeaders, []string{"policies set 20; the limit is 20"}},
		{"a large value of a policy's", "request_headers=set(x-a," + strings.Repeat("a", 1100) + ")", negotiate.Settings{MaxHeadersKB: 1}, nil,
			[]*extprocv3.ProcessingRequest{requestHeaders(true)}, "FILTER_CANNOT_SERVE_CHAIN", telemetry.AddedHeaders, []string{"policies set 1103; the limit is 1024"}},
		{"headers that leave no room", "request_headers=set(x-a,1)", negotiate.Settings{MaxHeaders: 20}, nil,
			[]*extprocv3.ProcessingRequest{requestHeaders(true, numbered(17)...)}, "HEADERS_TOO_LARGE", telemetry.HeaderCount, []string{"22 headers", "policies set 1; the limit is 20"}},
		{"a removal from too many", "request_headers=remove(x-0)", negotiate.Settings{MaxHeaders: 20}, nil,
			[]*extprocv3.ProcessingRequest{requestHeaders(true, numbered(18)...)}, "HEADERS_TOO_LARGE", telemetry.HeaderCount, []string{"21 headers", "policies set 0"}},
		{"large headers", "request_headers=set(x-a,1)", negotiate.Settings{MaxHeadersKB: 1}, nil,
			[]*extprocv3.ProcessingRequest{requestHeaders(true, "x-pad", strings.Repeat("p", 1000))}, "HEADERS_TOO_LARGE", telemetry.HeaderBytes, []string{"bytes of headers, of which policies set 4; the limit is 1024"}},
		{"a tunnel", "request_body=pass", trailers, whole,
			[]*extprocv3.ProcessingRequest{requestHeaders(false, "upgrade", "websocket")}, "UPGRADE_NOT_SUPPORTED", telemetry.Tunnel, []string{"upgrade or a CONNECT"}},
		{"a change behind trailers", "request_body=body(x)", trailers, whole,
			[]*extprocv3.ProcessingRequest{requestHeaders(false), requestTrailers("x-sum", "1")}, "TRAILERS_NOT_SUPPORTED", telemetry.BehindTrailers, []string{"no body"}},
		{"a length that is announced", "request_body=pass limit=10", trailers, whole,
			[]*extprocv3.ProcessingRequest{requestHeaders(false, large...)}, "BODY_TOO_LARGE", telemetry.LengthAnnounced, []string{"announces 11 bytes; the limit is 10"}},
		{"a length that comes", "request_body=pass limit=10", trailers, whole,
			[]*extprocv3.ProcessingRequest{requestHeaders(false), requestBody("eleven bytes", true)}, "BODY_TOO_LARGE", telemetry.LengthReceived, []string{"limit"}},
		{"a coding that is not known", "request_body=pass decode", trailers, both,
			[]*extprocv3.ProcessingRequest{requestHeaders(false, "content-encoding", "rot13"), requestBody("a", true)}, "BODY_UNDECODABLE", telemetry.Undecodable, []string{`"rot13"`, "unknown content coding"}},
		{"a coding that a policy leaves", "request_body=set(content-encoding,rot13)+body(x) decode", trailers, both,
			[]*extprocv3.ProcessingRequest{requestHeaders(false), requestBody("a", true)}, "FILTER_CANNOT_SERVE_CHAIN", telemetry.CodingNotKnown, []string{`"rot13"`}},
		{"a response before the request's body", "request_body=pass response_headers=pass", trailers, whole,
			[]*extprocv3.ProcessingRequest{requestHeaders(false), responseHeaders(true)}, "REQUEST_PHASE_SKIPPED", telemetry.RequestNotShown, []string{"did not send the trailers"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, streams := parseChain(t, tt.chain), new(telemetry.Streams)
			s := serve(t, oneChain(c), options{Filter: tt.filter, Streams: streams}).open(t, "r")
			if tt.modes != nil {
				s.modes = tt.modes
			}
			for _, m := range tt.messages {
				s.send(m)
			}
			for r := s.receive(); r.GetImmediateResponse() == nil; r = s.receive() {
			}
			got := c.refused.Load()
			if got == nil || got.Reason.String() != tt.reason || got.Cause.Kind() != tt.kind {
				t.Fatalf("refused by %+v, want %s for %s", got, tt.reason, tt.kind)
			}
			for _, text := range tt.says {
				if !strings.Contains(got.Cause.Error(), text) {
					t.Errorf("the cause is %q, which does not say %q", got.Cause, text)
				}
			}
			if n := streams.Refusals[tt.kind].Load(); n != 1 {
				t.Errorf("%s was counted %d times", tt.kind, n)
			}
		})
	}
}

// TestRefusalsWithoutAChainAreRecordedAndLogged proves of each refusal for which there is
// no chain that it has a record and a line of the log with cause and request id.
func TestRefusalsWithoutAChainAreRecordedAndLogged(t *testing.T) {
	for _, tt := range []struct {
		name   string
		source *source
		stamp  string
		attrs  map[string]*structpb.Struct
		reason string
		status int
		kind   telemetry.Cause
		says   string
	}{
		{"not ready", &source{notReady: true}, "", attributesFor("r"), "NOT_READY", 503, telemetry.NoConfiguration, "no valid configuration"},
		{"a route without a chain", &source{}, "", attributesFor("forgotten"), "ROUTE_UNKNOWN", 500, telemetry.RouteWithoutChain, `"forgotten"`},
		{"no route told", &source{}, "", map[string]*structpb.Struct{}, "ROUTE_MISSING", 500, telemetry.RouteNotSent, "xds.route_name"},
		{"no route", &source{}, "v1 route_name", map[string]*structpb.Struct{}, "ROUTE_NOT_FOUND", 404, telemetry.NoRoute, "no route for the request"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log bytes.Buffer
			var kept records
			streams := new(telemetry.Streams)
			e := serve(t, tt.source, options{
				Recorder: &kept, Streams: streams,
				Refusals: telemetry.NewRefusalLog(slog.New(slog.NewTextHandler(&log, nil)), 1, 1),
			})
			var pairs []string
			if tt.stamp != "" {
				pairs = []string{negotiate.StampKey, tt.stamp}
			}
			for range 3 {
				s := e.withMetadata(t, "r", pairs...)
				m := requestHeaders(true, "x-request-id", "id-1")
				m.Attributes = tt.attrs
				immediate(t, s.call(m), tt.status, "policy_engine."+tt.reason)
				s.ended()
			}
			if n := streams.Refusals[tt.kind].Load(); n != 3 {
				t.Errorf("%s was counted %d times, want 3", tt.kind, n)
			}
			kept.mu.Lock()
			defer kept.mu.Unlock()
			if len(kept.all) != 3 {
				t.Fatalf("there are %d records, want 3", len(kept.all))
			}
			d := kept.all[0]
			if !d.Denied || d.Status != tt.status || d.Reason != tt.reason || d.CauseKind != tt.kind.String() || !strings.Contains(d.Cause, tt.says) || d.RequestID != "id-1" {
				t.Errorf("the record is %+v", d)
			}
			if log.Len() == 0 {
				t.Error("there is no line")
			}
			for _, text := range []string{"request_id=id-1", "reason=" + tt.reason, "kind=" + tt.kind.String(), "cause="} {
				if !strings.Contains(log.String(), text) {
					t.Errorf("no line says %s: %s", text, &log)
				}
			}
		})
	}
}
