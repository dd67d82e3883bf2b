package admin_test

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

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

// slowReader reads a page only when it is told to.
type slowReader struct {
	*httptest.ResponseRecorder
	once        sync.Once
	begun, read chan struct{}
}

func (r *slowReader) Write(p []byte) (int, error) {
	r.once.Do(func() { close(r.begun) })
	<-r.read
	return r.ResponseRecorder.Write(p)
}

// TestScrapesDoNotHoldUpRequests proves that counting takes no lock that a scrape
// holds: it goes on while a collector stands in the middle of one.
func TestScrapesDoNotHoldUpRequests(t *testing.T) {
	p := newPage(t, false)
	if _, err := p.worker.Update(context.Background(), large()); err != nil {
		t.Fatal(err)
	}
	// A scrape stands still as long as nobody takes what it gives.
	p.use("route-0-0")
	page := &slowReader{ResponseRecorder: httptest.NewRecorder(), begun: make(chan struct{}), read: make(chan struct{})}
	scraped := make(chan struct{})
	go func() {
		defer close(scraped)
		p.handler.ServeHTTP(page, httptest.NewRequest("GET", "/metrics", nil))
	}()
	<-page.begun
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
	close(page.read)
	<-scraped
	s := p.worker.Acquire()
	defer s.Release()
	if n := s.Requests("route-0-0").Count(telemetry.RequestPassed); n != 1001 {
		t.Errorf("%d requests are counted", n)
	}
	for c, chain := range s.Chains() {
		for step := range chain.Steps {
			if n := step.Metrics.Outcomes(policy.RequestHeaders, telemetry.Passed); (c == 0) != (n == 1001) {
				t.Fatalf("chain %d, step %s: %d calls", c, step.ID, n)
			}
		}
	}
}

// TestThePageGrowsWithWhatWasUsed proves that a configuration by itself takes no room on the page of metrics, and that
// a request adds its route and the steps that have run, at each level of detail.
func TestThePageGrowsWithWhatWasUsed(t *testing.T) {
	for name, tc := range map[string]struct {
		detail worker.Detail
		// labels are those of the step's series, of which there are so many for five steps of one chain and for five
		// of another.
		labels    string
		one, both int
		// after is the count after both requests, and after a step is gone.
		after string
	}{
		"step":  {worker.StepDetail, `{chain="chain-0",id="p0",mode="enforce",outcome="pass",phase="request_headers",policy="key",version="v1.0.0"} 1`, 5, 10, ""},
		"chain": {worker.ChainDetail, `{chain="chain-0",mode="enforce",outcome="pass",phase="request_headers",policy="key",version="v1.0.0"} 5`, 1, 2, `"} 5`},
		"route": {worker.RouteDetail, `{mode="enforce",outcome="pass",phase="request_headers",policy="key",version="v1.0.0"} 5`, 1, 1, `"} 10`},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPageWith(t, false, tc.detail)
			if _, err := p.worker.Update(context.Background(), large()); err != nil {
				t.Fatal(err)
			}
			series := func(page, name string) int { return strings.Count(page, "\npolicy_engine_"+name+"{") }
			fresh := p.want("/metrics", 200)
			if n := series(fresh, "policy_calls_total") + series(fresh, "policy_duration_seconds_count") + series(fresh, "requests_total"); n != 0 {
				t.Errorf("%d series before the first request", n)
			}
			p.use("route-0-0")
			if page := p.want("/metrics", 200, "policy_engine_policy_calls_total"+tc.labels+"\n"); series(page, "policy_calls_total") != tc.one ||
				series(page, "policy_duration_seconds_count") != tc.one || series(page, "requests_total") != 1 {
				t.Errorf("after a request the page is %s", page)
			}
			p.use("route-1-0")
			if page := p.want("/metrics", 200); series(page, "policy_calls_total") != tc.both || series(page, "requests_total") != 2 {
				t.Errorf("after a request on another chain the page is %s", page)
			}
			// What is counted together goes on over a change of one of the steps.
			spec := large()
			spec.Version, spec.Chains[0].Policies = "other", spec.Chains[0].Policies[1:]
			if _, err := p.worker.Update(context.Background(), spec); err != nil {
				t.Fatal(err)
			}
			if tc.detail != worker.StepDetail {
				p.want("/metrics", 200, tc.after)
			}
		})
	}
}

// TestMetricsCompressed proves that the page is the same when it is compressed.
func TestMetricsCompressed(t *testing.T) {
	p := newPage(t, false)
	if err := p.update(`{"starts":true}`, "one"); err != nil {
		t.Fatal(err)
	}
	p.use("charge")
	r := httptest.NewRequest("GET", "/metrics", nil)
	r.Header.Set("Accept-Encoding", "deflate, gzip;q=0.5")
	w := httptest.NewRecorder()
	p.handler.ServeHTTP(w, r)
	unzipped, err := gzip.NewReader(w.Result().Body)
	if err != nil || w.Result().Header.Get("Content-Encoding") != "gzip" {
		t.Fatal(err, w.Result().Header)
	}
	page, err := io.ReadAll(unzipped)
	if err != nil || string(page) != p.want("/metrics", 200) {
		t.Errorf("%v: the page is %s", err, page)
	}
}
