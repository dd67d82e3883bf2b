package engine_test

import (
	"net"
	"testing"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"policyengine.dev/runtime/config"
)

// TestDrain proves that health turns first, that a stream in flight ends in its own
// time, and that new ones are not taken.
func TestDrain(t *testing.T) {
	r := start(t, chains("{value: hello}"), func(c *config.Engine) { c.Drain.Deadline = time.Hour })
	r.waitReady()
	conn := r.dial(nil)
	s, err := extprocv3.NewExternalProcessorClient(conn).Process(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(requestHeaders("r")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); err != nil {
		t.Fatal(err)
	}
	watch, err := healthpb.NewHealthClient(conn).Watch(bounded(t), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := watch.Recv(); err != nil || m.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Fatalf("health is %v, %v", m, err)
	}
	r.stop()
	if m, err := watch.Recv(); err != nil || m.GetStatus() != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Fatalf("health is %v, %v", m, err)
	}
	if code, body := r.page("/readyz"); code != 503 || body != "draining\n" {
		t.Errorf("/readyz: %d %s", code, body)
	}
	select {
	case err := <-r.result:
		t.Fatalf("the engine ended with a stream open: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	// The response comes, and with it the end of the stream.
	if err := s.Send(&extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_ResponseHeaders{ResponseHeaders: &extprocv3.HttpHeaders{}}}); err != nil {
		t.Fatal(err)
	}
	if m, err := s.Recv(); err != nil || m.GetResponseHeaders() == nil {
		t.Fatalf("the reply is %v, %v", m, err)
	}
	// The watch is a stream too, and ends by itself.
	if m, err := watch.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("the watch goes on with %v, %v", m, err)
	}
	if err := r.ended(); err != nil {
		t.Error(err)
	}
}

// TestDrainEnds proves that streams which do not end do not keep the process: for
// longer than the deadline, or at all once it is to end at once.
func TestDrainEnds(t *testing.T) {
	for name, tt := range map[string]struct {
		deadline time.Duration
		kill     bool
	}{
		"at the deadline":   {time.Millisecond, false},
		"by another signal": {time.Hour, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, chains("{value: hello}"), func(c *config.Engine) { c.Drain.Deadline = tt.deadline })
			r.waitReady()
			s, err := extprocv3.NewExternalProcessorClient(r.dial(nil)).Process(bounded(t))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Send(requestHeaders("r")); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Recv(); err != nil {
				t.Fatal(err)
			}
			r.stop()
			if tt.kill {
				r.kill()
			}
			if err := r.ended(); err != nil {
				t.Error(err)
			}
			if m, err := s.Recv(); err == nil {
				t.Errorf("the stream goes on with %v", m)
			}
		})
	}
}

// TestEndsWhileAPolicyStarts proves that a configuration which is held up in a policy
// does not keep the process.
func TestEndsWhileAPolicyStarts(t *testing.T) {
	for name, kill := range map[string]bool{"in time": false, "at once": true} {
		t.Run(name, func(t *testing.T) {
			r := start(t, chains("{hang: true}"), nil)
			until(t, "the engine to answer", func() bool { status, _ := r.page("/readyz"); return status == 503 })
			r.stop()
			if kill {
				r.kill()
			}
			if err := r.ended(); err != nil {
				t.Error(err)
			}
			hanging <- struct{}{} // or the start would outlive the test
		})
	}
}

// TestACollectorThatIsGoneDoesNotFailTheEnd proves that spans which nobody takes any
// more do not make a failure of an end that was asked for.
func TestACollectorThatIsGoneDoesNotFailTheEnd(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	r := start(t, chains("{value: hello}"), func(c *config.Engine) {
		c.Telemetry.Tracing = config.Tracing{Endpoint: gone.Addr().String(), Insecure: true, SampleRatio: 1}
	})
	r.waitReady()
	s, err := extprocv3.NewExternalProcessorClient(r.dial(nil)).Process(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(requestHeaders("r")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); err != nil {
		t.Fatal(err)
	}
	_ = s.CloseSend() // the exchange is over, and has a span
	if _, err := s.Recv(); err == nil {
		t.Error("the stream goes on")
	}
	r.stop()
	if err := r.ended(); err != nil {
		t.Error(err)
	}
}
