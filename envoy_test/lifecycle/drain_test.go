package lifecycle_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"policyengine.dev/envoy_test/harness"
	"policyengine.dev/envoy_test/harness/harnesstest"
)

// watch follows the engine's gRPC health.
func watch(t *testing.T, e *harness.Engine) healthpb.Health_WatchClient {
	t.Helper()
	conn, err := grpc.NewClient(e.Address(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	w, err := healthpb.NewHealthClient(conn).Watch(harnesstest.Context(t), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, w, healthpb.HealthCheckResponse_SERVING)
	return w
}

func expect(t *testing.T, w healthpb.Health_WatchClient, want healthpb.HealthCheckResponse_ServingStatus) {
	t.Helper()
	if m, err := w.Recv(); err != nil || m.GetStatus() != want {
		t.Fatalf("health is %v, %v; want %s", m, err, want)
	}
}

func drain(delay, deadline string) map[string]any {
	return map[string]any{"drain": map[string]any{"delay": delay, "deadline": deadline}}
}

// defaultDrain takes out what the harness says of the drain, so that the engine's
// defaults are in force.
var defaultDrain = map[string]any{"drain": nil}

// TestARequestInFlightEndsAsIfNothingHadHappened shows a drain from all sides: health
// says NOT_SERVING while the engine still takes requests, so that Envoy sends them
// elsewhere before it has to; a request that waits in a policy, and one whose response
// has not come yet, are both seen to their end by the engine that has them; and the
// process ends with 0.
func TestARequestInFlightEndsAsIfNothingHadHappened(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	old := s.engine("old", drain("5s", "1m"))
	next := strings.Replace(old.Address(), "/old/", "/new/", 1)
	s.front(old.Address(), fleet(strings.TrimPrefix(old.Address(), "unix:"), strings.TrimPrefix(next, "unix:")))
	takes(t, s.envoy, old)
	health := watch(t, old)
	held, slow := s.begin("/held"), s.begin("/slow")
	s.upstream.arrived(t, "/slow")
	inFlight(t, old, 2)
	young := s.engine("new", nil)
	takes(t, s.envoy, old, young)

	old.Terminate()
	expect(t, health, healthpb.HealthCheckResponse_NOT_SERVING)
	takes(t, s.envoy, young)
	if strings.Contains(old.Log(), `"msg":"drained"`) {
		t.Error("the engine has not waited for what is in flight")
	}
	// Envoy's threads hear of it up to a second later (update_merge_window of the
	// cluster). Until then the engine still serves what comes.
	tried := 0
	for elsewhere := 0; elsewhere < 20; elsewhere++ {
		a := s.get("/app")
		if err := a.signed(); err != nil {
			t.Fatalf("a new request: %v", err)
		}
		if tried++; tried > 100_000 {
			t.Fatal("Envoy goes on sending requests to the old engine")
		}
		if a.answered == "old" {
			elsewhere = -1
		}
	}
	t.Logf("after %d requests there were 20 for the new engine alone", tried)
	// The watch ends when connections are asked to go away. What is in flight
	// goes on after that, too.
	if m, err := health.Recv(); status.Code(err) != codes.Unavailable {
		t.Fatalf("the watch of the health goes on with %v, %v", m, err)
	}
	inFlight(t, old, 2)
	if n := s.upstream.count("/held"); n != 0 {
		t.Error("the request that a policy holds has reached the upstream")
	}
	s.open()
	for name, answers := range map[string]<-chan answer{"held in a policy": held, "waiting for its response": slow} {
		if a := wait(t, "the request "+name, answers); a.signed() != nil || a.answered != "old" {
			t.Errorf("the request %s got %+v", name, a)
		}
	}
	ended(t, old, 0)
	if !strings.Contains(old.Log(), `"msg":"drained"`) {
		t.Error("the engine has not drained")
	}
}

// TestADrainEnds shows what becomes of a request that does not end: Envoy fails it when
// the engine goes, at the drain's deadline or at a second signal, and it never reaches
// the upstream. The process ends with 0 nevertheless, as it was told to.
func TestADrainEnds(t *testing.T) {
	for name, c := range map[string]struct {
		route    string
		deadline string
		again    bool
		logged   string
	}{
		"at its deadline": {"/held", "200ms", false, "the drain's deadline has passed"},
		"at its deadline, with a policy that ignores its context": {"/stuck", "200ms", false, "are abandoned"},
		"at a second signal": {"/held", "1h", true, "ending at once"},
		"at a second signal, with a policy that ignores its context": {"/stuck", "1h", true, "are abandoned"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			e := s.engine("only", drain("0s", c.deadline))
			s.front(e.Address(), nil)
			health := watch(t, e)
			request := s.begin(c.route)
			inFlight(t, e, 1)
			e.Terminate()
			expect(t, health, healthpb.HealthCheckResponse_NOT_SERVING)
			if c.again {
				e.Terminate()
			}
			if err := s.refused(wait(t, "the request", request)); err != nil {
				t.Error(err)
			}
			ended(t, e, 0)
			if !strings.Contains(e.Log(), c.logged) {
				t.Errorf("the engine has not said %q", c.logged)
			}
		})
	}
}

// TestARollingUpdateFailsNoRequest replaces both engines of a cluster, one after the
// other, under load: each new one is waited for until Envoy takes it, each old one is
// told to end. With the drain of an engine.yaml that says nothing of it and the cluster
// that pectl envoy-config writes, not one request fails.
func TestARollingUpdateFailsNoRequest(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	first, second := s.engine("a", defaultDrain), s.engine("b", defaultDrain)
	s.front(first.Address(), generated(t, first, second))
	takes(t, s.envoy, first, second)
	l := send(t, s.envoy, "/app")
	l.served(t, "a")
	l.served(t, "b")
	for _, r := range []struct {
		engine, other *harness.Engine
		name          string
	}{{first, second, "a"}, {second, first, "b"}} {
		r.engine.Terminate()
		takes(t, s.envoy, r.other)
		ended(t, r.engine, 0)
		if err := r.engine.Start(harnesstest.Context(t), s.chains(r.name+"2")); err != nil {
			t.Fatal(err)
		}
		takes(t, s.envoy, first, second)
		l.served(t, r.name+"2")
	}
	l.end(t)
}

// TestAKilledEngineIsLeftOut kills one of two engines under load, without a word to
// anybody. With the cluster that pectl envoy-config writes, what fails then is Envoy's
// own refusal and little, nothing reaches the upstream unchecked, and the other engine
// has the rest. Started again, the engine gets its share again.
func TestAKilledEngineIsLeftOut(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	first, second := s.engine("a", defaultDrain), s.engine("b", defaultDrain)
	s.front(first.Address(), generated(t, first, second))
	takes(t, s.envoy, first, second)
	l := send(t, s.envoy, "/app")
	l.served(t, "a")
	l.served(t, "b")
	first.Kill()
	takes(t, s.envoy, second)
	for range 100 {
		l.served(t, "b")
	}
	if err := first.Start(harnesstest.Context(t), s.chains("a2")); err != nil {
		t.Fatal(err)
	}
	takes(t, s.envoy, first, second)
	l.served(t, "a2")
	l.stop()
	t.Logf("served: %v, failed: %d", l.by, len(l.failed))
	// What each client had on its way, and as much again before Envoy's threads
	// have heard. Without outlier detection it is hundreds.
	if most := 4 * clients; len(l.failed) > most {
		t.Errorf("%d requests have failed, more than %d", len(l.failed), most)
	}
	for _, a := range l.failed {
		if a.err != nil || a.status != 500 || a.asked != "" || a.answered != "" {
			t.Errorf("got %+v, want Envoy's own refusal", a)
		}
	}
	served := 0
	for _, n := range l.by {
		served += n
	}
	// A response may be lost with its engine once the request had passed.
	if n := s.upstream.unchecked(); n != 0 {
		t.Errorf("%d requests have reached the upstream unchecked", n)
	}
	if n := s.upstream.count(); n < served {
		t.Errorf("%d requests were served and %d have reached the upstream", served, n)
	}
}

// TestConnectionsOfAgeFailNoRequest has connections made again many times under load,
// while other requests wait for their response on connections that are past their age.
func TestConnectionsOfAgeFailNoRequest(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	e := s.engine("only", map[string]any{"connections": map[string]any{"maxAge": "100ms", "maxAgeGrace": "1m"}})
	s.front(e.Address(), nil)
	l := send(t, s.envoy, "/app")
	var slow []<-chan answer
	const renewed = 20
	connections := func() int64 { return clusterStat(t, s.envoy, "upstream_cx_total") }
	for begun := connections(); connections() < begun+renewed; time.Sleep(20 * time.Millisecond) {
		if t.Context().Err() != nil || len(slow) > 3000 {
			t.Fatal("connections are not made again")
		}
		if len(slow) < 20 {
			slow = append(slow, s.begin("/slow"))
		}
	}
	l.end(t)
	s.open()
	for _, answers := range slow {
		if err := wait(t, "a request on an old connection", answers).signed(); err != nil {
			t.Error(err)
		}
	}
}
