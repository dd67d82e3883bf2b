package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"policyengine.dev/policies/rate-limit/internal/gcra"
	"policyengine.dev/policies/rate-limit/internal/redisstore"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policytest"
	"policyengine.dev/tools/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open opens a store with an instance's host of its own, and closes it with the test.
func open(t testing.TB, p redisstore.Params) *redisstore.Store {
	t.Helper()
	h := policytest.NewHost()
	h.Dial = new(net.Dialer).DialContext
	return openWith(t, h, p)
}

func openWith(t testing.TB, h *policytest.Host, p redisstore.Params) *redisstore.Store {
	t.Helper()
	if p.Timeout == 0 {
		p.Timeout = policy.Duration(10 * time.Second)
	}
	if p.Connections == 0 {
		p.Connections = 4
	}
	if p.Mode == "" {
		p.Mode = "single"
	}
	s, err := redisstore.Open(h.Policy(), p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func single(s *redistest.Server) redisstore.Params {
	return redisstore.Params{Addresses: []string{s.Address}}
}

func rate(t testing.TB, units uint64, window time.Duration, burst uint64) gcra.Rate {
	t.Helper()
	r, err := gcra.NewRate(units, window, burst)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func take(t testing.TB, s *redisstore.Store, requests ...redisstore.Request) bool {
	t.Helper()
	ok, err := s.Take(t.Context(), requests)
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

// TestTheScriptIsExact proves by a real server that the script decides as package gcra
// does, whose own test compares it with an independent model: for random rates, costs and
// states, at the server's time, both say the same of each limit, and the state that is
// written is the one that follows.
func TestTheScriptIsExact(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, single(server))
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 400 {
		n := 1 + random.IntN(3)
		requests := make([]redisstore.Request, n)
		for i := range requests {
			units, burst := 1+random.Uint64N(1000), 1+random.Uint64N(30)
			window := time.Duration(1+random.Int64N(int64(time.Second/time.Microsecond))) * time.Microsecond
			requests[i] = redisstore.Request{Key: fmt.Sprintf("{g}%d/%d", round, i), Rate: rate(t, units, window, burst), Cost: random.Uint64N(burst + 2)}
		}
		for range 6 {
			before := make([]string, n)
			for i, r := range requests {
				before[i] = state(server, r.Key)
			}
			allowed := take(t, s, requests...)
			all := true
			for i, r := range requests {
				all = all && r.Decision.Allowed
				after := state(server, r.Key)
				if (!allowed || r.Cost == 0) && after != before[i] && after != "" { // it may have expired meanwhile
					t.Fatalf("round %d: a request that was refused, or costs nothing, was charged: %q became %q", round, before[i], after)
				}
				if allowed && r.Cost > 0 && after != "" {
					checkState(t, r, before[i], after)
				}
			}
			if all != allowed {
				t.Fatalf("round %d: allowed %t, but the limits say %t", round, allowed, all)
			}
		}
	}
}

func state(s *redistest.Server, key string) string {
	v, _ := s.Try("get", key)
	text, _ := v.(string)
	return text
}

func numbers(t *testing.T, state string) [4]uint64 {
	t.Helper()
	var n [4]uint64
	for i, f := range strings.Fields(state) {
		v, err := strconv.ParseUint(f, 10, 64)
		if err != nil || i > 3 {
			t.Fatalf("the state is %q", state)
		}
		n[i] = v
	}
	return n
}

// checkState compares the state after a charge with the definition: the later of the time
// before and now, and the span of the cost, as a fraction of whole numbers.
func checkState(t *testing.T, r redisstore.Request, before, after string) {
	t.Helper()
	a := numbers(t, after)
	now, units := a[0], a[3]
	whole, part := now, uint64(0)
	if before != "" {
		if b := numbers(t, before); b[1] >= now {
			whole, part = b[1], b[2]
		}
	}
	span := r.Rate.Span(r.Cost)
	whole, part = whole+span.Micros, part+span.Part
	if part >= units {
		whole, part = whole+1, part-units
	}
	if a[1] != whole || a[2] != part {
		t.Fatalf("from %q by %v of %d to %q, want %d and %d", before, span, units, after, whole, part)
	}
	ahead := whole - now
	if got := uint64(r.Ahead / time.Microsecond); got != ahead {
		t.Fatalf("the state lies %d µs ahead, told were %d", ahead, got)
	}
}

// TestNeverMoreThanTheRate proves by real time and many engines at once that no more is
// granted than burst + rate x time, and that a client that waits as advised is served.
func TestNeverMoreThanTheRate(t *testing.T) {
	server := redistest.Start(t)
	r := rate(t, 50, 500*time.Millisecond, 20)
	began := time.Now()
	var mu sync.Mutex
	granted := 0
	var wg sync.WaitGroup
	for range 3 {
		s := open(t, single(server))
		for range 4 {
			wg.Go(func() {
				for time.Since(began) < 400*time.Millisecond {
					q := []redisstore.Request{{Key: "k", Rate: r, Cost: 1}}
					ok, err := s.Take(t.Context(), q)
					if err != nil {
						t.Error(err)
						return
					}
					if ok {
						mu.Lock()
						granted++
						mu.Unlock()
					}
				}
			})
		}
	}
	wg.Wait()
	// The grants lie within the time that has passed by the slower of two clocks.
	if most := 20 + int(time.Since(began)*50/(500*time.Millisecond)) + 1; granted > most || granted < 20 {
		t.Errorf("%d were granted, at most %d may be", granted, most)
	}
	s := open(t, single(server))
	q := []redisstore.Request{{Key: "k", Rate: r, Cost: 20}}
	for ok := false; !ok; {
		if ok = take(t, s, q...); !ok {
			time.Sleep(q[0].Decision.RetryAfter)
			if ok = take(t, s, q...); !ok {
				t.Fatal("refused after the advised wait")
			}
		}
	}
}

// TestAStateIsKeptOverChanges proves that a changed rate gains nobody anything, that a
// clock that goes back locks nobody out, and that a state goes when its burst is whole.
func TestAStateIsKeptOverChanges(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, single(server))
	third, hour := rate(t, 3, time.Hour, 3), rate(t, 7, time.Hour, 7)
	q := redisstore.Request{Key: "k", Rate: third, Cost: 3}
	take(t, s, q)
	q.Rate = hour
	q.Cost = 1
	if take(t, s, q) {
		t.Error("a new rate has given a new burst")
	}
	n := numbers(t, state(server, "k"))
	year := uint64(365 * 24 * time.Hour / time.Microsecond)
	server.Do("set", "k", fmt.Sprintf("%d %d %d %d", n[0]+year, n[1]+year, n[2], n[3]))
	q.Rate, q.Cost = third, 1
	all := []redisstore.Request{q}
	if take(t, s, all...); all[0].Decision.RetryAfter > time.Hour {
		t.Errorf("after the clock went back: %s to wait", all[0].Decision.RetryAfter)
	}
	if ttl, _ := server.Do("pttl", "k").(int64); ttl <= 0 || ttl > time.Hour.Milliseconds()+2 {
		// SET without PX above removed it; a charge sets it again.
		take(t, s, redisstore.Request{Key: "fresh", Rate: third, Cost: 1})
		if ttl, _ := server.Do("pttl", "fresh").(int64); ttl <= 0 || ttl > 20*time.Minute.Milliseconds()+2 {
			t.Errorf("the state is kept for %d ms", ttl)
		}
	}
	for _, bad := range []string{"", "x", "1 2 3", "1 2 3 -4", "1.5 2 3 4"} {
		server.Do("set", "bad", bad)
		if ok, err := s.Take(t.Context(), []redisstore.Request{{Key: "bad", Rate: third, Cost: 1}}); err == nil || ok {
			t.Errorf("a state of %q: %t, %v", bad, ok, err)
		}
	}
	server.Do("rpush", "list", "x")
	for range 20 { // such a key opens no breaker
		if _, err := s.Take(t.Context(), []redisstore.Request{{Key: "list", Rate: third, Cost: 1}}); err == nil || errors.Is(err, redisstore.ErrPaused) {
			t.Fatalf("a key that is a list: %v", err)
		}
	}
}

// TestOneRoundTrip proves that all limits of a request take one command, and that
// concurrent requests share round trips.
func TestOneRoundTrip(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, redisstore.Params{Addresses: []string{server.Address}, Connections: 1})
	r := rate(t, 1000, time.Second, 1000)
	three := func() []redisstore.Request {
		return []redisstore.Request{{Key: "{g}a", Rate: r, Cost: 1}, {Key: "{g}b", Rate: r, Cost: 1}, {Key: "{g}c", Rate: r, Cost: 1}}
	}
	take(t, s, three()...) // connects, and loads the script
	before := calls(server)
	for range 10 {
		take(t, s, three()...)
	}
	if n := calls(server) - before; n != 10 {
		t.Errorf("ten requests of three limits are %d scripts", n)
	}
	server.Pause()
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			if _, err := s.Take(t.Context(), three()); err != nil {
				t.Error(err)
			}
		})
	}
	server.Eventually("all wait", func() bool { return redisstore.Waiting(s) >= 198 })
	before = redisstore.Batches(s)
	server.Resume()
	wg.Wait()
	// One was under way, and the others follow in two batches of at most 128.
	if n := redisstore.Batches(s) - before; n > 3 {
		t.Errorf("200 requests that wait take %d round trips", n)
	}
	if n := strings.Count(fmt.Sprint(server.Do("client", "list")), " fd="); n > 2 {
		t.Errorf("there are %d connections", n)
	}
}

func calls(s *redistest.Server) int {
	_, rest, _ := strings.Cut(fmt.Sprint(s.Do("info", "commandstats")), "cmdstat_evalsha:calls=")
	number, _, _ := strings.Cut(rest, ",")
	n, _ := strconv.Atoi(number)
	return n
}

// TestCluster proves that the limits of one step, which have one hash tag, are decided
// together wherever their slot is.
func TestCluster(t *testing.T) {
	nodes := redistest.StartCluster(t, 3)
	s := open(t, redisstore.Params{Mode: "cluster", Addresses: []string{nodes[0].Address, nodes[1].Address}})
	r := rate(t, 2, time.Hour, 2)
	for _, group := range []string{"a", "b", "c", "d", "e"} {
		q := func() []redisstore.Request {
			return []redisstore.Request{{Key: redisstore.Key("p:", group, "x", "1"), Rate: r, Cost: 1}, {Key: redisstore.Key("p:", group, "y", "2"), Rate: r, Cost: 1}}
		}
		for i, want := range []bool{true, true, false} {
			if got := take(t, s, q()...); got != want {
				t.Errorf("group %s: request %d of a burst of two passes: %t, want %t", group, i+1, got, want)
			}
		}
	}
	for i, node := range nodes {
		if n, _ := node.Do("dbsize").(int64); n == 0 || n == 10 {
			t.Errorf("node %d has %d of 10 states", i, n)
		}
	}
	// Limits without a common tag lie on several nodes, and cannot be decided together.
	if _, err := s.Take(t.Context(), []redisstore.Request{{Key: "a", Rate: r, Cost: 1}, {Key: "b", Rate: r, Cost: 1}}); err == nil {
		t.Error("keys of two slots are decided")
	}
}

// TestCredentials proves that a password is sent and a wrong one is an error, that a
// changed file is followed, and that none of it is in errors, logs or metrics.
func TestCredentials(t *testing.T) {
	const good, bad = "the-good-password", "some-other-password"
	server := redistest.Start(t, "--requirepass", good)
	h := policytest.NewHost()
	h.Dial = new(net.Dialer).DialContext
	h.Secrets.SetFile("/redis", bad)
	s := openWith(t, h, redisstore.Params{Addresses: []string{server.Address}, Password: policy.Secret{File: "/redis"}})
	q := redisstore.Request{Key: "k", Rate: rate(t, 1, time.Hour, 5), Cost: 1}
	for range 10 {
		_, err := s.Take(t.Context(), []redisstore.Request{q})
		if err == nil || strings.Contains(err.Error(), bad) {
			t.Fatalf("a wrong password: %v", err)
		}
	}
	h.Secrets.SetFile("/redis", good)
	server.Eventually("the new password is used", func() bool {
		h.Clock.Advance(time.Second)
		_, err := s.Take(t.Context(), []redisstore.Request{q})
		return err == nil
	})
	if log := h.Logs.String(); strings.Contains(log, bad) || strings.Contains(log, good) || !strings.Contains(log, "WRONGPASS") {
		t.Errorf("the log is %s", log)
	}
}

// TestAbandoned proves that a request whose client has gone is given up at once, and says
// nothing about Redis.
func TestAbandoned(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, single(server))
	q := []redisstore.Request{{Key: "k", Rate: rate(t, 1, time.Hour, 100), Cost: 1}}
	take(t, s, q...)
	server.Pause()
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Millisecond, cancel)
		if _, err := s.Take(ctx, q); !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
	}
	server.Resume()
	take(t, s, q...)
}
