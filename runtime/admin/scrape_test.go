package admin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
)

// large is a configuration of 1,000 routes and 100 chains with 5 policies each.
func large() worker.Spec {
	spec := worker.Spec{Version: "large"}
	for i := range 100 {
		c := worker.ChainSpec{Name: fmt.Sprint("chain-", i)}
		for j := range 5 {
			c.Policies = append(c.Policies, worker.PolicySpec{ID: fmt.Sprint("p", j), Name: "key", Version: "v1", Params: json.RawMessage(`{"starts":true}`)})
		}
		spec.Chains = append(spec.Chains, c)
		for j := range 10 {
			spec.Routes = append(spec.Routes, worker.RouteSpec{Name: fmt.Sprintf("route-%d-%d", i, j), Chain: c.Name})
		}
	}
	return spec
}

// BenchmarkScrape is what one scrape costs with 1,000 routes and 100 chains.
func BenchmarkScrape(b *testing.B) {
	p := newPage(b, false)
	if _, err := p.worker.Update(context.Background(), large()); err != nil {
		b.Fatal(err)
	}
	size := 0
	for b.Loop() {
		w := httptest.NewRecorder()
		p.handler.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		n, _ := io.Copy(io.Discard, w.Result().Body)
		size = int(n)
	}
	b.ReportMetric(float64(size), "bytes")
}

// TestScrapesDoNotHoldUpRequests proves that counting takes no lock that a scrape
// holds: it goes on while a collector stands in the middle of one.
func TestScrapesDoNotHoldUpRequests(t *testing.T) {
	p := newPage(t, false)
	if _, err := p.worker.Update(context.Background(), large()); err != nil {
		t.Fatal(err)
	}
	// A scrape stands still as long as nobody takes what it gives.
	given := make(chan prometheus.Metric)
	go func() { defer close(given); p.metrics.Collect(given) }()
	<-given
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		s := p.worker.Acquire()
		defer s.Release()
		c, _ := s.Chain("route-0-0")
		for range 1000 {
			x := s.Begin(c)
			x.Exchange().Route = "route-0-0"
			x.Run(context.Background(), policy.RequestHeaders, time.Second, nil)
			p.streams.Responded("policy_engine.key@v1.0.0.NO")
			p.streams.Parts[0].Observe(time.Microsecond)
			x.End(false)
		}
	}()
	select {
	case <-finished:
	case <-time.After(30 * time.Second):
		t.Error("requests wait for a scrape")
	}
	for range given {
	}
	s := p.worker.Acquire()
	defer s.Release()
	if n := s.Requests("route-0-0").Count(telemetry.RequestPassed); n != 1000 {
		t.Errorf("%d requests are counted", n)
	}
	for c, chain := range s.Chains() {
		for step := range chain.Steps {
			if n := step.Metrics.Outcomes(policy.RequestHeaders, telemetry.Passed); (c == 0) != (n == 1000) {
				t.Fatalf("chain %d, step %s: %d calls", c, step.ID, n)
			}
		}
	}
}
