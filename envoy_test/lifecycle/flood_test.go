package lifecycle_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"

	"policyengine.dev/envoy_test/harness"
	"policyengine.dev/envoy_test/harness/harnesstest"
)

const (
	// leaving is how many streams to each engine are reset at the same time. Envoy
	// allows 1,000 control frames to wait by default.
	leaving = 1500
	// bystanders is how many requests stay while the others leave.
	bystanders = 20
)

// TestClientsThatLeaveTakeNoOtherRequestDown shows what happens when the clients of
// many requests go away at about the same time. Envoy resets their streams to the
// engine at once. With Envoy's default limit of outbound control frames it takes that
// for a flood, closes its connection to the engine, and answers every other request on
// it with 500. The cluster that pectl envoy-config writes has a limit that this does
// not reach.
func TestClientsThatLeaveTakeNoOtherRequestDown(t *testing.T) {
	const options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
	asByDefault := map[string]any{options: map[string]any{"explicit_http_config": map[string]any{
		"http2_protocol_options": map[string]any{"max_outbound_frames": nil, "max_outbound_control_frames": nil},
	}}}
	for _, c := range []struct {
		name, path string
		engines    int
		byDefault  bool
	}{
		{name: "while upstreams answer", path: "/slow", engines: 1},
		{name: "while upstreams answer, with two engines", path: "/slow", engines: 2},
		{name: "while the engine decides", path: "/held", engines: 1},
		{name: "with Envoy's default limits", path: "/slow", engines: 1, byDefault: true},
		{name: "with Envoy's default limits and two engines", path: "/slow", engines: 2, byDefault: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			var engines []*harness.Engine
			for i := range c.engines {
				engines = append(engines, s.engine(fmt.Sprint("e", i), nil))
			}
			cluster := generated(t, engines...)
			if c.byDefault {
				cluster = map[string]any{"typed_extension_protocol_options": asByDefault, "load_assignment": cluster["load_assignment"]}
			}
			// All requests come on one connection, so that they leave at once.
			s.edit = func(b *harness.Bootstrap) {
				b.UpstreamHTTP2 = true
				b.Connection = map[string]any{"http2_protocol_options": map[string]any{"max_concurrent_streams": 10_000}}
			}
			s.front(engines[0].Address(), cluster)

			staying := s.crowd(c.path, bystanders)
			crowd := s.crowd(c.path, leaving*c.engines)
			s.inFlight(engines, float64(bystanders+leaving*c.engines))
			crowd.leave()
			floods := func() int64 { return clusterStat(t, s.envoy, "http2.outbound_control_flood") }
			if c.byDefault {
				harnesstest.Eventually(t, func() error {
					if n := floods(); n == 0 {
						return fmt.Errorf("Envoy has counted no flood")
					}
					return nil
				})
			} else {
				s.inFlight(engines, bystanders)
			}
			s.open()
			failed := staying.failures()
			switch {
			case c.byDefault && failed == 0:
				t.Error("no request has failed: this test shows nothing")
			case !c.byDefault && failed > 0:
				t.Errorf("%d of %d requests have failed that stayed", failed, bystanders)
			}
			if n := floods(); !c.byDefault && n > 0 {
				t.Errorf("Envoy has counted %d floods", n)
			}
			if n := clusterStat(t, s.envoy, "outlier_detection.ejections_enforced_total"); n > 0 {
				t.Errorf("%d healthy engines were ejected", n)
			}
		})
	}
}

// inFlight waits until the engines together have so many streams open.
func (s *site) inFlight(engines []*harness.Engine, want float64) {
	s.t.Helper()
	harnesstest.Eventually(s.t, func() error {
		var open float64
		for _, e := range engines {
			n, err := metric(s.t.Context(), e, "streams_open")
			if err != nil {
				return err
			}
			open += n
		}
		if open != want {
			return fmt.Errorf("%v streams are open, want %v", open, want)
		}
		return nil
	})
}

// crowd is many requests on one HTTP/2 connection.
type crowd struct {
	connection net.Conn
	answers    chan answer
	done       sync.WaitGroup
}

// crowd begins n requests for path.
func (s *site) crowd(path string, n int) *crowd {
	s.t.Helper()
	c := &crowd{answers: make(chan answer, n)}
	var mu sync.Mutex
	transport := &http.Transport{Protocols: new(http.Protocols), DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		if c.connection != nil {
			return nil, fmt.Errorf("a second connection")
		}
		var err error
		c.connection, err = new(net.Dialer).DialContext(ctx, network, address)
		return c.connection, err
	}}
	transport.Protocols.SetUnencryptedHTTP2(true)
	client := &http.Client{Transport: transport}
	ctx, cancel := context.WithCancel(harnesstest.Context(s.t))
	// The first answer tells the client how many streams the connection may have.
	if a := get(ctx, client, s.envoy, "/app"); a.signed() != nil {
		s.t.Fatalf("the first request: %+v", a)
	}
	for range n {
		c.done.Go(func() { c.answers <- get(ctx, client, s.envoy, path) })
	}
	s.t.Cleanup(func() {
		cancel()
		c.done.Wait()
		transport.CloseIdleConnections()
	})
	return c
}

// leave closes the connection under all requests.
func (c *crowd) leave() { _ = c.connection.Close() }

// failures waits for all answers and counts those that no engine has signed.
func (c *crowd) failures() (n int) {
	c.done.Wait()
	close(c.answers)
	for a := range c.answers {
		if a.signed() != nil {
			n++
		}
	}
	return n
}
