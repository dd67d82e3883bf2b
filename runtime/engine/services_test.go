package engine_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	channelzpb "google.golang.org/grpc/channelz/grpc_channelz_v1"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"policyengine.dev/runtime/config"
	"policyengine.dev/runtime/extproc"
)

// The services beside ext_proc are ordinary ones, behind the codec that the kernel
// brings along.

// TestHealthIsToldForBothServices proves that Check and Watch answer for the server
// as a whole and for ext_proc, before and after there is a configuration, and that
// nothing is made up for others.
func TestHealthIsToldForBothServices(t *testing.T) {
	r := start(t, "chains: 7\n", func(c *config.Engine) { c.OnInvalidStart = config.WaitOnInvalidStart })
	client := healthpb.NewHealthClient(r.dial(nil))
	watches := map[string]healthpb.Health_WatchClient{}
	for _, service := range []string{"", extproc.ServiceName} {
		w, err := client.Watch(bounded(t), &healthpb.HealthCheckRequest{Service: service})
		if err != nil {
			t.Fatal(err)
		}
		watches[service] = w
	}
	expect := func(want healthpb.HealthCheckResponse_ServingStatus) {
		t.Helper()
		for service, w := range watches {
			if m, err := w.Recv(); err != nil || m.GetStatus() != want {
				t.Errorf("a watch of %q tells %v, %v; want %s", service, m, err, want)
			}
			m, err := client.Check(bounded(t), &healthpb.HealthCheckRequest{Service: service})
			if err != nil || m.GetStatus() != want {
				t.Errorf("a check of %q tells %v, %v; want %s", service, m, err, want)
			}
		}
	}
	expect(healthpb.HealthCheckResponse_NOT_SERVING)
	r.write(chains("{}"))
	expect(healthpb.HealthCheckResponse_SERVING)
	if m, err := client.Check(bounded(t), &healthpb.HealthCheckRequest{Service: "another"}); status.Code(err) != codes.NotFound {
		t.Errorf("a check of a service that is not there tells %v, %v", m, err)
	}
	all, err := client.List(bounded(t), &healthpb.HealthListRequest{})
	if err != nil || len(all.GetStatuses()) != 2 {
		t.Errorf("the list is %v, %v", all, err)
	}
}

// TestReflection proves that a tool such as grpcurl finds the services and what their
// messages are, ext_proc's among them, which the kernel has registered by hand.
func TestReflection(t *testing.T) {
	r := start(t, chains("{}"), nil)
	s, err := reflectionpb.NewServerReflectionClient(r.dial(nil)).ServerReflectionInfo(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	ask := func(q *reflectionpb.ServerReflectionRequest) *reflectionpb.ServerReflectionResponse {
		t.Helper()
		if err := s.Send(q); err != nil {
			t.Fatal(err)
		}
		m, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	var names []string
	for _, service := range ask(&reflectionpb.ServerReflectionRequest{
		MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{},
	}).GetListServicesResponse().GetService() {
		names = append(names, service.GetName())
	}
	for _, want := range []string{extproc.ServiceName, "grpc.health.v1.Health", "grpc.channelz.v1.Channelz"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is not among %v", want, names)
		}
		files := ask(&reflectionpb.ServerReflectionRequest{
			MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: want},
		})
		if len(files.GetFileDescriptorResponse().GetFileDescriptorProto()) == 0 {
			t.Errorf("%s is not described: %v", want, files.GetErrorResponse())
		}
	}
}

// TestChannelz proves that the server shows itself and its connections.
func TestChannelz(t *testing.T) {
	r := start(t, chains("{value: hello}"), nil)
	r.waitReady()
	conn := r.dial(nil)
	if _, err := ask(t, conn); err != nil {
		t.Fatal(err)
	}
	client := channelzpb.NewChannelzClient(conn)
	servers, err := client.GetServers(bounded(t), &channelzpb.GetServersRequest{})
	if err != nil {
		t.Fatal(err)
	}
	// Tests before this one may have left servers that are being let go of.
	for _, server := range servers.GetServer() {
		sockets, err := client.GetServerSockets(bounded(t), &channelzpb.GetServerSocketsRequest{ServerId: server.GetRef().GetServerId()})
		if err == nil && len(sockets.GetSocketRef()) > 0 && server.GetData().GetCallsStarted() > 0 {
			return
		}
	}
	t.Errorf("no server with a connection and calls among %v", servers)
}

// TestMessagesOverTheLimitEndTheirStreamAlone proves that the largest body that a
// chain may ask for can be received, that a message beyond is an error, and that
// neither harms anything else on the connection.
func TestMessagesOverTheLimitEndTheirStreamAlone(t *testing.T) {
	const ceiling, overhead = 64 << 20, 1 << 20
	r := start(t, chains("{value: hello}"), nil)
	r.waitReady()
	conn := r.dial(nil)
	send := func(size int) (*extprocv3.ProcessingResponse, error) {
		s, err := extprocv3.NewExternalProcessorClient(conn).Process(bounded(t))
		if err != nil {
			t.Fatal(err)
		}
		_ = s.Send(&extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestBody{
			RequestBody: &extprocv3.HttpBody{Body: make([]byte, size)}}})
		return s.Recv()
	}
	// It is answered, since it is a body without headers, and so was received.
	if m, err := send(ceiling); err != nil || m.GetImmediateResponse() == nil {
		t.Errorf("a message of the largest body is answered %v, %v", m, err)
	}
	if m, err := send(ceiling + overhead); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a message over the limit is answered %v, %v", m, err)
	}
	if reply, err := ask(t, conn); err != nil || greeting(reply) != "hello" {
		t.Errorf("the next reply is %v, %v", reply, err)
	}
}

// TestTheLimitOfMessagesFollowsTheLimitOfBodies proves that a body of limits.body fits
// into a message, even beyond what chains may ask for otherwise.
func TestTheLimitOfMessagesFollowsTheLimitOfBodies(t *testing.T) {
	const limit = 80 << 20
	r := start(t, chains("{}"), func(c *config.Engine) { c.Limits.Body = limit })
	s, err := extprocv3.NewExternalProcessorClient(r.dial(nil)).Process(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Send(&extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestBody{
		RequestBody: &extprocv3.HttpBody{Body: make([]byte, limit)}}})
	if m, err := s.Recv(); err != nil || m.GetImmediateResponse() == nil {
		t.Errorf("a message of the largest body is answered %v, %v", m, err)
	}
}

// TestTooManyPings proves that a client which pings without end is sent away with
// GOAWAY (RFC 9113, section 6.8), ENHANCE_YOUR_CALM, and that others are not.
func TestTooManyPings(t *testing.T) {
	r := start(t, chains("{value: hello}"), nil)
	r.waitReady()
	conn := r.dial(nil)
	if _, err := ask(t, conn); err != nil {
		t.Fatal(err)
	}
	c, err := (&net.Dialer{}).DialContext(bounded(t), "unix", r.Addr(0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	const settings, ping, goAway, enhanceYourCalm = 4, 6, 7, 11
	frame := func(kind byte, payload string) []byte {
		return append([]byte{0, 0, byte(len(payload)), kind, 0, 0, 0, 0, 0}, payload...)
	}
	hello := append([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), frame(settings, "")...)
	if _, err := c.Write(append(hello, bytes.Repeat(frame(ping, "12345678"), 10)...)); err != nil {
		t.Fatal(err)
	}
	for {
		header := make([]byte, 9)
		if _, err := io.ReadFull(c, header); err != nil {
			t.Fatalf("the connection ended without GOAWAY: %v", err)
		}
		payload := make([]byte, int(header[0])<<16|int(header[1])<<8|int(header[2]))
		if _, err := io.ReadFull(c, payload); err != nil {
			t.Fatal(err)
		}
		if header[3] == goAway {
			if code := binary.BigEndian.Uint32(payload[4:]); code != enhanceYourCalm {
				t.Errorf("GOAWAY says %d, %q", code, payload[8:])
			}
			break
		}
	}
	if reply, err := ask(t, conn); err != nil || greeting(reply) != "hello" {
		t.Errorf("on another connection the reply is %v, %v", reply, err)
	}
}

// TestHealthWatchesDoNotHoldUpADrain proves that somebody who watches health, as gRPC
// clients do, is told and sent away, rather than waited for until the deadline.
func TestHealthWatchesDoNotHoldUpADrain(t *testing.T) {
	r := start(t, chains("{}"), func(c *config.Engine) { c.Drain.Deadline = time.Hour })
	r.waitReady()
	conn := r.dial(nil)
	var watches []grpc.ServerStreamingClient[healthpb.HealthCheckResponse]
	for range 10 {
		w, err := healthpb.NewHealthClient(conn).Watch(context.Background(), &healthpb.HealthCheckRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if m, err := w.Recv(); err != nil || m.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			t.Fatalf("health is %v, %v", m, err)
		}
		watches = append(watches, w)
	}
	r.stop()
	for _, w := range watches {
		if m, err := w.Recv(); err != nil || m.GetStatus() != healthpb.HealthCheckResponse_NOT_SERVING {
			t.Errorf("health is %v, %v", m, err)
		}
		if m, err := w.Recv(); status.Code(err) != codes.Unavailable {
			t.Errorf("the watch goes on with %v, %v", m, err)
		}
	}
	if err := r.ended(); err != nil {
		t.Error(err)
	}
}
