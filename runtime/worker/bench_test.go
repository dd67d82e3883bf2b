package worker_test

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

// fifteen are the headers of a request as a browser's reach a gateway.
var fifteen = []exchange.Field{
	{Name: "accept", Value: "application/json"}, {Name: "accept-encoding", Value: "gzip, br"},
	{Name: "accept-language", Value: "en-GB,en;q=0.9"}, {Name: "authorization", Value: "Bearer abc.def.ghi"},
	{Name: "cache-control", Value: "no-cache"}, {Name: "content-type", Value: "application/json"},
	{Name: "cookie", Value: "session=123"}, {Name: "idempotency-key", Value: "9f2c"},
	{Name: "origin", Value: "https://shop.example"}, {Name: "referer", Value: "https://shop.example/cart"},
	{Name: "user-agent", Value: "Mozilla/5.0"}, {Name: "x-forwarded-for", Value: "203.0.113.7"},
	{Name: "x-forwarded-proto", Value: "https"}, {Name: "x-request-id", Value: "0c9c6f3e-0f52-4c3e-9d5e-5e2b5f6b7a80"},
	{Name: "x-tier", Value: "free"},
}

func headerChain(h *harness, n int, when string) held {
	var specs []worker.PolicySpec
	for i := range n {
		ps := h.use(setHeader(fmt.Sprintf("x-step-%d", i), "1"))
		ps.When = when
		specs = append(specs, ps)
	}
	return h.load(specs...)
}

func runOnce(c held, t worker.Resumer) worker.Outcome {
	x := c.Begin()
	e := x.Exchange()
	e.Route = "r"
	e.Request.Method, e.Request.Path = "POST", "/v1/charges"
	e.Request.Headers.Reset(append(e.Request.Headers.Storage(), fifteen...))
	out := x.Run(context.Background(), policy.RequestHeaders, budget, t)
	x.End(false)
	return out
}

const condition = `request.method == "POST" && request.path.startsWith("/v1/")`

func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("counted without the race detector only")
	}
	for name, tc := range map[string]struct {
		policies int
		when     string
		most     float64
	}{
		"five header policies":                   {5, "", 0},
		"five header policies, each a condition": {5, condition, 0},
		"ten header policies":                    {10, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := headerChain(newHarness(t, false), tc.policies, tc.when)
			var resume worker.Resumer = noResume{t}
			if got := testing.AllocsPerRun(500, func() { runOnce(c, resume) }); got > tc.most {
				t.Errorf("%v allocations, at most %v allowed", got, tc.most)
			}
		})
	}
}

func BenchmarkChain(b *testing.B) {
	for _, bc := range []struct {
		name     string
		policies int
		when     string
	}{
		{"policies=0", 0, ""}, {"policies=1", 1, ""}, {"policies=5", 5, ""}, {"policies=10", 10, ""},
		{"policies=5/conditions", 5, condition},
	} {
		b.Run(bc.name, func(b *testing.B) {
			c := headerChain(newHarness(b, false), bc.policies, bc.when)
			var resume worker.Resumer = noResume{b}
			b.ReportAllocs()
			before := processorTime(b)
			for b.Loop() {
				runOnce(c, resume)
			}
			b.ReportMetric(float64(processorTime(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

func BenchmarkChainParallel(b *testing.B) {
	c := headerChain(newHarness(b, false), 5, "")
	var resume worker.Resumer = noResume{b}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			runOnce(c, resume)
		}
	})
}

// processorTime is what the process has used of the processors. On a machine that is
// shared it says more than the time that has passed.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
