package extproc_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	modev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/structpb"

	"policyengine.dev/runtime/extproc/negotiate"
	"policyengine.dev/runtime/extproc/wire"
)

// patience bounds every wait of a test; nothing depends on how long it is.
const patience = 20 * time.Second

// envoy is the client's side of the protocol.
type envoy struct {
	client extprocv3.ExternalProcessorClient
	// stamp, where it is not nil, goes with every stream.
	stamp *negotiate.Settings
}

// serve starts a kernel for s and returns a client of it.
func serve(t testing.TB, s *source, o options) *envoy {
	t.Helper()
	l := bufconn.Listen(1 << 20)
	g := grpc.NewServer(grpc.ForceServerCodecV2(wire.Codec{}), grpc.MaxRecvMsgSize(16<<20), grpc.WaitForHandlers(true))
	newService(s, o).Register(g)
	go g.Serve(l) //nolint:errcheck // ends with the listener
	conn, err := grpc.NewClient("passthrough:///kernel", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		g.Stop()
		if a, r := s.acquired.Load(), s.released.Load(); a != r {
			t.Errorf("the snapshot was acquired %d times and released %d times", a, r)
		}
		for name, c := range s.chains {
			if b, e := c.begun.Load(), c.ended.Load(); b != e && !c.panics {
				t.Errorf("chain %s began %d times and ended %d times", name, b, e)
			}
		}
	})
	return &envoy{client: extprocv3.NewExternalProcessorClient(conn)}
}

// exchange is one stream, with what tests expect of it.
type stream struct {
	t      testing.TB
	grpc   extprocv3.ExternalProcessor_ProcessClient
	cancel context.CancelFunc
	// attributes and config go with the first message.
	first bool
	route string
	modes *extprocv3.ProtocolConfiguration
}

func (e *envoy) open(t testing.TB, route string) *stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	if e.stamp != nil {
		ctx = metadata.AppendToOutgoingContext(ctx, negotiate.StampKey, e.stamp.Stamp())
	}
	s, err := e.client.Process(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return &stream{t: t, grpc: s, cancel: cancel, first: true, route: route, modes: &extprocv3.ProtocolConfiguration{}}
}

// withModes has the filter set up for these bodies.
func (s *stream) withModes(request, response modev3.ProcessingMode_BodySendMode) *stream {
	s.modes.RequestBodyMode, s.modes.ResponseBodyMode = request, response
	return s
}

func (s *stream) send(m *extprocv3.ProcessingRequest) {
	s.t.Helper()
	if s.first {
		s.first = false
		if !m.ObservabilityMode && m.ProtocolConfig == nil {
			m.ProtocolConfig = s.modes
		}
		if m.Attributes == nil {
			m.Attributes = attributesFor(s.route)
		}
	}
	if err := s.grpc.Send(m); err != nil && !errors.Is(err, io.EOF) {
		s.t.Fatal(err)
	}
}

func (s *stream) receive() *extprocv3.ProcessingResponse {
	s.t.Helper()
	r, err := s.grpc.Recv()
	if err != nil {
		s.t.Fatalf("receiving: %v", err)
	}
	return r
}

// call sends a message and returns the reply.
func (s *stream) call(m *extprocv3.ProcessingRequest) *extprocv3.ProcessingResponse {
	s.t.Helper()
	s.send(m)
	return s.receive()
}

// ended expects the engine to have ended the stream cleanly.
func (s *stream) ended() {
	s.t.Helper()
	if r, err := s.grpc.Recv(); !errors.Is(err, io.EOF) {
		s.t.Fatalf("the stream goes on with %v, %v; want its end", r, err)
	}
}

// serveConfig is what a filter without bodies says of itself.
func serveConfig() *extprocv3.ProtocolConfiguration { return &extprocv3.ProtocolConfiguration{} }

// attributesFor are the attributes of a request on the route.
func attributesFor(route string) map[string]*structpb.Struct {
	return map[string]*structpb.Struct{wire.AttributesKey: {Fields: map[string]*structpb.Value{
		"xds.route_name": structpb.NewStringValue(route)}}}
}

func headers(pairs ...string) *corev3.HeaderMap {
	m := &corev3.HeaderMap{}
	for i := 0; i < len(pairs); i += 2 {
		m.Headers = append(m.Headers, &corev3.HeaderValue{Key: pairs[i], RawValue: []byte(pairs[i+1])})
	}
	return m
}

func requestHeaders(end bool, pairs ...string) *extprocv3.ProcessingRequest {
	all := append([]string{":method", "POST", ":scheme", "http", ":authority", "a.example", ":path", "/p?q=1"}, pairs...)
	return &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestHeaders{
		RequestHeaders: &extprocv3.HttpHeaders{Headers: headers(all...), EndOfStream: end}}}
}

func responseHeaders(end bool, pairs ...string) *extprocv3.ProcessingRequest {
	all := append([]string{":status", "200"}, pairs...)
	return &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_ResponseHeaders{
		ResponseHeaders: &extprocv3.HttpHeaders{Headers: headers(all...), EndOfStream: end}}}
}

func requestBody(data string, end bool) *extprocv3.ProcessingRequest {
	return &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestBody{
		RequestBody: &extprocv3.HttpBody{Body: []byte(data), EndOfStream: end}}}
}

func responseBody(data string, end bool) *extprocv3.ProcessingRequest {
	return &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_ResponseBody{
		ResponseBody: &extprocv3.HttpBody{Body: []byte(data), EndOfStream: end}}}
}

func requestTrailers(pairs ...string) *extprocv3.ProcessingRequest {
	return &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestTrailers{
		RequestTrailers: &extprocv3.HttpTrailers{Trailers: headers(pairs...)}}}
}

func responseTrailers(pairs ...string) *extprocv3.ProcessingRequest {
	return &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_ResponseTrailers{
		ResponseTrailers: &extprocv3.HttpTrailers{Trailers: headers(pairs...)}}}
}
