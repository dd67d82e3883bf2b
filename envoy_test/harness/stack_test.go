package harness_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extproc "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/grpc"

	"policyengine.dev/envoy_test/harness"
	"policyengine.dev/envoy_test/harness/harnesstest"
	"policyengine.dev/tools/envoy"
)

// tiny is the least processor there is: it turns away requests with the header deny,
// and sets a header on the others.
type tiny struct {
	extproc.UnimplementedExternalProcessorServer
}

func (tiny) Process(stream extproc.ExternalProcessor_ProcessServer) error {
	message, err := stream.Recv()
	if err != nil {
		return err
	}
	for _, h := range message.GetRequestHeaders().GetHeaders().GetHeaders() {
		if h.Key == "deny" {
			return stream.Send(&extproc.ProcessingResponse{Response: &extproc.ProcessingResponse_ImmediateResponse{
				ImmediateResponse: &extproc.ImmediateResponse{Status: &typev3.HttpStatus{Code: 403}, Details: "tiny_denied"},
			}})
		}
	}
	return stream.Send(&extproc.ProcessingResponse{Response: &extproc.ProcessingResponse_RequestHeaders{
		RequestHeaders: &extproc.HeadersResponse{Response: &extproc.CommonResponse{HeaderMutation: &extproc.HeaderMutation{
			SetHeaders: []*corev3.HeaderValueOption{{
				Header:       &corev3.HeaderValue{Key: "x-tiny", RawValue: []byte("seen")},
				AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
			}},
		}}},
	}})
}

func startTiny(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	extproc.RegisterExternalProcessorServer(server, tiny{})
	ended := make(chan struct{})
	go func() { defer close(ended); _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Stop(); <-ended })
	return listener.Addr().String()
}

func get(t *testing.T, url string, headers ...string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(harnesstest.Context(t), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
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
	return response.StatusCode, string(body)
}

func TestAStackShowsWhatPassedThroughIt(t *testing.T) {
	s := harnesstest.Start(t, harness.Options{Bootstrap: harness.Bootstrap{
		Engine: startTiny(t),
		Routes: []any{harness.Route("first", "/first"), harness.Route("rest", "/")},
	}})
	before, err := s.Envoy.Counters(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.Upstream.Answer(harness.Answer{Status: 201, Chunks: [][]byte{[]byte("made")}})
	if status, body := get(t, "http://"+s.Address()+"/first?x=1", "x-client", "here"); status != 201 || body != "made" {
		t.Errorf("got %d %q", status, body)
	}
	if status, _ := get(t, "http://"+s.Address()+"/second", "deny", "1"); status != 403 {
		t.Errorf("got %d", status)
	}

	received := s.Upstream.Received()
	if len(received) != 1 {
		t.Fatalf("the upstream received %d requests", len(received))
	}
	if r := received[0]; r.Target != "/first?x=1" || r.Header.Get("x-tiny") != "seen" || r.Header.Get("x-client") != "here" {
		t.Errorf("the upstream received %+v", r)
	}

	harnesstest.Eventually(t, func() error {
		log, err := s.Envoy.AccessLog()
		if err == nil && len(log) < 2 {
			err = io.ErrUnexpectedEOF
		}
		return err
	})
	log, _ := s.Envoy.AccessLog()
	if e := log[0]; e.Status != 201 || e.Route != "first" || e.Details != "via_upstream" || e.Upstream != s.Upstream.Address() || e.Total <= 0 || e.Total <= e.UpstreamTime {
		t.Errorf("first entry: %+v", e)
	}
	if e := log[1]; e.Status != 403 || e.Route != "rest" || e.Details != "tiny_denied" || e.Upstream != "" {
		t.Errorf("second entry: %+v", e)
	}

	counters, err := s.Envoy.Counters(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if rise := counters.Since(before); rise["streams_started"] != 2 || rise["stream_msgs_received"] != 2 || rise["spurious_msgs_received"] != 0 {
		t.Errorf("counters rose by %v", rise)
	}
}

func TestTheEngineFailingIsNoBypass(t *testing.T) {
	// Nobody listens there: the address was free a moment ago.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	s := harnesstest.Start(t, harness.Options{Bootstrap: harness.Bootstrap{Engine: listener.Addr().String()}})
	if status, _ := get(t, "http://"+s.Address()+"/"); status != 500 {
		t.Errorf("got %d", status)
	}
	if received := s.Upstream.Received(); len(received) != 0 {
		t.Errorf("the upstream received %+v", received)
	}
}

func TestAnEngineThatCannotBeStartedIsAnErrorThatLeavesNothing(t *testing.T) {
	t.Setenv("TMPDIR", harnesstest.Dir(t)) // others make directories, too
	before, err := filepath.Glob(filepath.Join(os.TempDir(), "policy-engine-*"))
	if err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"no such program": "/none", "one that ends at once": "/bin/false"} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err := harness.Start(ctx, harness.Options{Envoy: "/none", Engine: harness.EngineOptions{Path: path, Chains: []byte("chains: []")}})
			if err == nil || !strings.Contains(err.Error(), "the engine") {
				t.Errorf("got %v", err)
			}
		})
	}
	after, err := filepath.Glob(filepath.Join(os.TempDir(), "policy-engine-*"))
	if err != nil || len(after) > len(before) {
		t.Errorf("left behind: %v, %v", after, err)
	}
}

func TestAnEnvoyThatRefusesItsConfigurationIsAnErrorThatSaysWhy(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := harness.Start(ctx, harness.Options{
		Envoy:     envoy.Binary(t),
		Bootstrap: harness.Bootstrap{Engine: "unix:/none", ExtProc: map[string]any{"no_such_field": 1}},
	})
	if err == nil || !strings.Contains(err.Error(), "no_such_field") {
		t.Errorf("got %v", err)
	}
}

func TestBootstrapMergesOverrides(t *testing.T) {
	got, err := harness.Bootstrap{
		Upstream: "127.0.0.1:1", Engine: "unix:/e",
		ExtProc:    map[string]any{"processing_mode": map[string]any{"request_body_mode": "BUFFERED"}, "message_timeout": nil},
		Connection: map[string]any{"codec_type": "HTTP2"},
	}.JSON()
	if err != nil {
		t.Fatal(err)
	}
	text := string(got)
	for _, want := range []string{`"request_body_mode": "BUFFERED"`, `"response_header_mode": "SEND"`, `"codec_type": "HTTP2"`, `"path": "/e"`, `"name": "default"`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if strings.Contains(text, "message_timeout") {
		t.Error("a null does not take a field out")
	}
}
