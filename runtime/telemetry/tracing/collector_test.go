package tracing_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/runtime/telemetry/tracing"
)

const patience = 30 * time.Second

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// serve runs a collector until the test ends, and returns where it listens.
func serve(t *testing.T, c collectorpb.TraceServiceServer, options ...grpc.ServerOption) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(options...)
	collectorpb.RegisterTraceServiceServer(server, c)
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(l) }()
	t.Cleanup(func() { server.Stop(); <-served })
	return l.Addr().String()
}

// hanging takes spans and says nothing.
type hanging struct {
	collectorpb.UnimplementedTraceServiceServer
	called chan struct{}
}

func (h hanging) Export(ctx context.Context, _ *collectorpb.ExportTraceServiceRequest) (*collectorpb.ExportTraceServiceResponse, error) {
	select {
	case h.called <- struct{}{}:
	default:
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestCollectorThatHangs proves that requests do not wait for a collector that takes
// spans and never answers, nor does the end of the process; that what waits is bounded,
// and that each exchange is counted once.
func TestCollectorThatHangs(t *testing.T) {
	h := hanging{called: make(chan struct{}, 1)}
	var counts telemetry.Traces
	var log bytes.Buffer
	tracer, err := tracing.New(context.Background(), tracing.Options{
		Endpoint: serve(t, h), Insecure: true, SampleRatio: 1, Counts: &counts, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	const all = 10_000
	recorded := make(chan struct{})
	go func() {
		defer close(recorded)
		for range all {
			tracer.Record(decision())
		}
	}()
	select {
	case <-recorded:
	case <-time.After(patience):
		t.Fatal("requests wait for the collector")
	}
	select {
	case <-h.called:
	case <-time.After(patience):
		t.Fatal("nothing was sent")
	}
	if n := counts.Dropped.Load(); n == 0 || n == all {
		t.Errorf("%d of %d are dropped while the collector hangs", n, all)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := tracer.Shutdown(ctx); err == nil {
		t.Error("nothing says that spans were lost")
	}
	if sent, failed, dropped := counts.Sent.Load(), counts.Failed.Load(), counts.Dropped.Load(); sent != 0 || failed+dropped != all {
		t.Errorf("%d sent, %d failed, %d dropped, of %d", sent, failed, dropped, all)
	}
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("%d lines on the log: %s", n, log.String())
	}
	tracer.Record(decision()) // after the end, for nobody
}

// failing is an exporter that cannot send.
type failing struct{ sdktrace.SpanExporter }

func (failing) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error {
	return errors.New("nobody is there")
}
func (failing) Shutdown(context.Context) error { return nil }

// TestErrorsAreToldAtABoundedRate proves that a collector that is gone is on the log
// once, with the reason, and in the counts each time.
func TestErrorsAreToldAtABoundedRate(t *testing.T) {
	var counts telemetry.Traces
	var log bytes.Buffer
	tracer := tracing.NewWith(failing{}, tracing.Options{SampleRatio: 1, Counts: &counts, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for range 20 {
		tracer.Record(decision())
		tracer.Flush(bounded(t))
	}
	if err := tracer.Shutdown(bounded(t)); err != nil {
		t.Error(err)
	}
	if n := strings.Count(log.String(), "nobody is there"); n != 1 || counts.Failed.Load() != 20 {
		t.Errorf("%d failed; the log: %s", counts.Failed.Load(), log.String())
	}
}

// TestUnsampledIsNeitherSentNorLost proves that what is not traced is in no count.
func TestUnsampledIsNeitherSentNorLost(t *testing.T) {
	var counts telemetry.Traces
	tracer := tracing.NewWith(failing{}, tracing.Options{Counts: &counts})
	d := decision()
	d.TraceParent = ""
	tracer.Record(d)
	if err := tracer.Shutdown(bounded(t)); err != nil {
		t.Error(err)
	}
	if n := counts.Sent.Load() + counts.Failed.Load() + counts.Dropped.Load(); n != 0 {
		t.Errorf("%d are counted", n)
	}
}

// telling passes on what it gets.
type telling struct {
	collectorpb.UnimplementedTraceServiceServer
	got chan told
}

type told struct {
	metadata  metadata.MD
	resources map[string]string
}

func (c telling) Export(ctx context.Context, r *collectorpb.ExportTraceServiceRequest) (*collectorpb.ExportTraceServiceResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	all := map[string]string{}
	for _, a := range r.ResourceSpans[0].Resource.Attributes {
		all[a.Key] = a.Value.GetStringValue()
	}
	c.got <- told{md, all}
	return &collectorpb.ExportTraceServiceResponse{}, nil
}

// TestTLSHeadersAndResource proves that spans go over TLS to a collector of a private
// authority, with the headers that it asks for, and say which process they are of: by
// OpenTelemetry's own variables.
func TestTLSHeadersAndResource(t *testing.T) {
	certificate, file := selfSigned(t)
	c := telling{got: make(chan told, 10)}
	address := serve(t, c, grpc.Creds(credentials.NewServerTLSFromCert(&certificate)))
	t.Setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", file)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20token")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.instance.id=mine")
	var counts telemetry.Traces
	tracer, err := tracing.New(context.Background(), tracing.Options{
		Endpoint: address, SampleRatio: 1, Version: "v7", Instance: "host", Counts: &counts,
	})
	if err != nil {
		t.Fatal(err)
	}
	tracer.Record(decision())
	if err := tracer.Shutdown(bounded(t)); err != nil {
		t.Error(err)
	}
	if counts.Sent.Load() != 1 {
		t.Fatalf("%d sent, %d failed", counts.Sent.Load(), counts.Failed.Load())
	}
	got := <-c.got
	if h := got.metadata.Get("authorization"); len(h) != 1 || h[0] != "Bearer token" {
		t.Errorf("the header is %v", h)
	}
	for name, want := range map[string]string{
		"service.name": "policy-engine", "service.version": "v7", "service.instance.id": "mine", "deployment.environment.name": "test",
	} {
		if got.resources[name] != want {
			t.Errorf("%s is %q, want %q", name, got.resources[name], want)
		}
	}
}

// TestNoTLSWithoutTrust proves that a collector whose certificate is not trusted gets
// no spans.
func TestNoTLSWithoutTrust(t *testing.T) {
	certificate, _ := selfSigned(t)
	c := telling{got: make(chan told, 10)}
	tracer, err := tracing.New(context.Background(), tracing.Options{
		Endpoint: serve(t, c, grpc.Creds(credentials.NewServerTLSFromCert(&certificate))), SampleRatio: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	tracer.Record(decision())
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	if err := tracer.Shutdown(ctx); err == nil || len(c.got) > 0 {
		t.Errorf("error %v, %d exports", err, len(c.got))
	}
}

func selfSigned(t *testing.T) (certificate tls.Certificate, file string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}
