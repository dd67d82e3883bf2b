package ratelimit_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	ratelimit "policyengine.dev/policies/rate-limit/v2.0.0"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policytest"
	"policyengine.dev/tools/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCases(t *testing.T) {
	policytest.Cases(t, ratelimit.Policy, "testdata/cases.yaml")
}

// host is that of one engine, with connections.
func host() *policytest.Host {
	h := policytest.NewHost()
	h.Dial = new(net.Dialer).DialContext
	return h
}

// engine is the policy in an engine of its own. It waits for Redis as long as it takes,
// unless more says otherwise.
func engine(t testing.TB, h *policytest.Host, redis, more string, opts ...policytest.Option) *policytest.Policy {
	t.Helper()
	params := fmt.Sprintf(`{redis: {addresses: [%q], timeout: 10s}, limits: [{name: caller, rate: 2, window: 1h, key: [{header: x-client}]}], %s}`, redis, more)
	if strings.Contains(more, "limits:") {
		params = fmt.Sprintf(`{redis: {addresses: [%q], timeout: 10s}, %s}`, redis, more)
	}
	return policytest.New(t, ratelimit.Policy, params, append(opts, policytest.WithHost(h))...)
}

func send(t testing.TB, p *policytest.Policy, client string) *policytest.Exchange {
	t.Helper()
	return p.Send(t, policytest.Request{Headers: policytest.Headers("x-client", client)})
}

// TestEnginesShareCounts proves that engines count together, that a refusal tells when to
// try again, and that a key which is over is refused without asking Redis for a second.
func TestEnginesShareCounts(t *testing.T) {
	server := redistest.Start(t)
	one, two := engine(t, host(), server.Address, ""), engine(t, host(), server.Address, "")
	send(t, one, "a").WantPassed(t)
	send(t, two, "a").WantPassed(t)
	for i, p := range []*policytest.Policy{one, two, two} {
		x := send(t, p, "a")
		x.WantRejected(t, 429, ratelimit.ReasonLimited)
		if retry := header(x.Immediate.Headers, "retry-after"); retry != "1800" {
			t.Errorf("request %d: Retry-After is %q", i, retry)
		}
	}
	send(t, one, "b").WantPassed(t)
	limit := policy.Label{Name: "limit", Value: "caller"}
	if n := two.Host.Metrics.Value("spared_total", limit); n != 2 {
		t.Errorf("Redis was spared %v requests", n)
	}
	// A second later Redis is asked again, and may have changed its mind.
	server.Do("flushall")
	two.Host.Clock.Advance(2 * time.Second)
	send(t, two, "a").WantPassed(t)
	if n := two.Host.Metrics.Value("fallbacks_total", policy.Label{Name: "mode", Value: "local"}); n != 0 {
		t.Errorf("%v requests were decided without Redis", n)
	}
}

func header(all []policy.Header, name string) string {
	for _, h := range all {
		if h.Name == name {
			return h.Value
		}
	}
	return ""
}

// TestAllOrNone proves that a request which one limit refuses is charged to no other.
func TestAllOrNone(t *testing.T) {
	server := redistest.Start(t)
	p := engine(t, host(), server.Address, `limits: [{name: all, rate: 10, window: 1h}, {name: one, rate: 1, window: 1h, key: [{header: x-client}]}]`)
	send(t, p, "a").WantPassed(t)
	for range 5 {
		p.Host.Clock.Advance(2 * time.Second)
		send(t, p, "a").WantRejected(t, 429, ratelimit.ReasonLimited)
	}
	x := send(t, p, "b")
	x.Respond(t, policytest.Response{})
	if got := x.Response.Header("ratelimit"); !strings.HasPrefix(got, `"all";r=8;`) {
		t.Errorf("RateLimit is %s", got)
	}
}

// TestShadowChargesNothing proves that a step on trial counts for itself alone.
func TestShadowChargesNothing(t *testing.T) {
	server := redistest.Start(t)
	trial := engine(t, host(), server.Address, "", policytest.InShadow())
	for i := range 4 {
		x := send(t, trial, "a")
		if _, refuses := x.Steps[0].Action.(*policy.ImmediateResponse); refuses != (i >= 2) {
			t.Errorf("request %d: the trial refuses: %t", i, refuses)
		}
	}
	enforced := engine(t, host(), server.Address, "")
	send(t, enforced, "a").WantPassed(t)
	send(t, enforced, "a").WantPassed(t)
	send(t, enforced, "a").WantRejected(t, 429, ratelimit.ReasonLimited)
}

// TestGroupsAndPrefixes proves which counts are shared, and that no name in Redis has
// anything of a request in it.
func TestGroupsAndPrefixes(t *testing.T) {
	server := redistest.Start(t)
	p := engine(t, host(), server.Address, "")
	send(t, p, "secret-client").WantPassed(t)
	send(t, p, "secret-client").WantPassed(t)
	send(t, engine(t, host(), server.Address, "group: other"), "secret-client").WantPassed(t)
	for _, key := range server.Do("keys", "*").([]any) {
		if s := fmt.Sprint(key); !strings.HasPrefix(s, "policy-engine:rate-limit:{") || strings.Contains(s, "secret") {
			t.Errorf("a state is called %s", s)
		}
	}
	if n := server.Do("dbsize"); n != int64(2) {
		t.Errorf("there are %v states", n)
	}
}

// TestReloadsKeepTheConnection proves that instances with the same server share its
// connections, that those survive a reload, and that they end with the last user.
func TestReloadsKeepTheConnection(t *testing.T) {
	server := redistest.Start(t)
	h := host()
	dials := 0
	dial := h.Dial
	h.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		dials++
		return dial(ctx, network, address)
	}
	p := engine(t, h, server.Address, "")
	send(t, p, "a").WantPassed(t)
	send(t, p, "a").WantPassed(t)
	for range 3 {
		next := engine(t, h, server.Address, "responseHeaders: never")
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		p = next
		send(t, p, "a").WantRejected(t, 429, ratelimit.ReasonLimited)
	}
	if dials != 1 {
		t.Errorf("connected %d times", dials)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	server.Eventually("the connection has ended", func() bool {
		return strings.Count(fmt.Sprint(server.Do("client", "list", "type", "normal")), " fd=") == 1
	})
	if n := h.Shared.Len(); n != 0 {
		t.Errorf("%d resources are left", n)
	}
}

// TestAway proves what each mode does while Redis is away: refuse, let pass, or count here,
// on from what Redis has said; and that all count in Redis again when it is back.
func TestAway(t *testing.T) {
	for _, away := range []struct {
		name      string
		off, back func(*redistest.Server)
	}{
		{"stopped", (*redistest.Server).Kill, (*redistest.Server).Restart},
		{"paused", (*redistest.Server).Pause, (*redistest.Server).Resume},
		{"full", func(s *redistest.Server) { s.Do("config", "set", "maxmemory", "1") }, func(s *redistest.Server) { s.Do("config", "set", "maxmemory", "0") }},
	} {
		for mode, want := range map[string]string{"deny": "503 503 503", "allow": "200 200 200", "local": "200 429 429"} {
			t.Run(away.name+", "+mode, func(t *testing.T) {
				server := redistest.Start(t, "--maxmemory-policy", "noeviction")
				params := fmt.Sprintf(`{redis: {addresses: [%q], timeout: 500ms}, whenUnavailable: %s, limits: [{name: caller, rate: 2, window: 1h, key: [{header: x-client}]}]}`, server.Address, mode)
				p := policytest.New(t, ratelimit.Policy, params, policytest.WithHost(host()))
				server.Eventually("Redis has counted one", func() bool { send(t, p, "a"); n, _ := server.Do("dbsize").(int64); return n == 1 })
				away.off(server)
				var got []string
				for range 3 {
					x := send(t, p, "a")
					status := 200
					if x.Immediate != nil {
						status = x.Immediate.Status
					}
					got = append(got, fmt.Sprint(status))
				}
				if s := strings.Join(got, " "); s != want {
					t.Errorf("%s, want %s", s, want)
				}
				if n := p.Host.Metrics.Value("fallbacks_total", policy.Label{Name: "mode", Value: mode}); n != 3 {
					t.Errorf("%v requests were decided without Redis", n)
				}
				away.back(server)
				server.Eventually("Redis counts again", func() bool {
					p.Host.Clock.Advance(2 * time.Second)
					send(t, p, "b")
					n, _ := server.Try("dbsize")
					return n == int64(2) || away.name == "stopped" && n == int64(1)
				})
			})
		}
	}
}

// TestNoNetworkNeededToLoad proves that a chain loads while Redis is away, but not with a
// password that cannot be read.
func TestNoNetworkNeededToLoad(t *testing.T) {
	h := policytest.NewHost() // it makes no connections
	p := engine(t, h, "127.0.0.1:1", "")
	send(t, p, "a").WantPassed(t)
	p = policytest.New(t, ratelimit.Policy, `{redis: {addresses: ["r:1"], password: {file: /absent}}, limits: [{name: a, rate: 1, window: 1s}]}`, policytest.WithHost(h), policytest.WithoutStart())
	if err := p.Instance.(*ratelimit.RateLimit).Start(t.Context()); err == nil || !strings.Contains(err.Error(), "redis.password") {
		t.Errorf("Start gives %v", err)
	}
}

// TestAllocations bounds what a request allocates, on this side of the client.
func TestAllocations(t *testing.T) {
	p := engine(t, policytest.NewHost(), "127.0.0.1:1", "responseHeaders: never")
	instance := p.Instance.(*ratelimit.RateLimit)
	x := send(t, p, "a")
	for range 10 { // Redis is not asked any more then
		send(t, p, "a")
	}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := instance.OnRequestHeaders(t.Context(), &x.Request); err != nil {
			t.Fatal(err)
		}
	}); n > 12 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkOnRequestHeaders compares a request with a round trip of the same server.
func BenchmarkOnRequestHeaders(b *testing.B) {
	server := redistest.Start(b)
	const one = `limits: [{name: a, rate: 2000000000, window: 1s, key: [{header: x-client}]}], responseHeaders: never`
	const three = `limits: [{name: a, rate: 2000000000, window: 1s, key: [{header: x-client}]}, {name: b, rate: 2000000000, window: 1s}, {name: c, rate: 2000000000, window: 1s}], responseHeaders: never`
	const over = `limits: [{name: o, rate: 1, window: 1h, key: [{header: x-client}]}], responseHeaders: never`
	b.Run("the bare operation: PING", func(b *testing.B) {
		c, err := net.Dial("tcp", server.Address)
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		reply := make([]byte, 7)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Write([]byte("PING\r\n")); err != nil {
				b.Fatal(err)
			}
			if _, err := c.Read(reply); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, tt := range []struct{ name, params string }{{"one limit", one}, {"three limits", three}, {"a key that is over", over}} {
		p := engine(b, host(), server.Address, tt.params)
		instance := p.Instance.(*ratelimit.RateLimit)
		x := send(b, p, "a")
		send(b, p, "a")
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := instance.OnRequestHeaders(b.Context(), &x.Request); err != nil {
					b.Fatal(err)
				}
			}
		})
		if tt.name != "one limit" {
			continue
		}
		b.Run("one limit, 64 at a time", func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				x := send(b, p, "a")
				for pb.Next() {
					if _, err := instance.OnRequestHeaders(b.Context(), &x.Request); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
