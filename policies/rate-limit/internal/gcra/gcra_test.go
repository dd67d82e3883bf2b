package gcra_test

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"policyengine.dev/policies/rate-limit/internal/gcra"
	"policyengine.dev/sdk/policytest"
)

// model is an independent definition of the limit: it keeps every request that was
// allowed, and looks at all intervals that end now.
type model struct {
	units, window, burst int64
	granted              []grant
}

type grant struct{ at, cost int64 }

// allows reports whether, with cost at now, no interval would hold more than
// burst + rate x its length. Both sides are multiplied by the window.
func (m *model) allows(now, cost int64) bool {
	sum := cost
	within := func(since int64) bool {
		left := new(big.Int).Mul(big.NewInt(sum), big.NewInt(m.window))
		right := new(big.Int).Mul(big.NewInt(m.burst), big.NewInt(m.window))
		right.Add(right, new(big.Int).Mul(big.NewInt(m.units), big.NewInt(now-since)))
		return left.Cmp(right) <= 0
	}
	if !within(now) {
		return false
	}
	for i := len(m.granted) - 1; i >= 0; i-- {
		sum += m.granted[i].cost
		if !within(m.granted[i].at) {
			return false
		}
	}
	return true
}

// TestExactness proves that a request is allowed if and only if no interval gets more
// than burst + rate x its length: never more, and never fewer than a client is entitled
// to that waits.
func TestExactness(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 300 {
		units, burst := 1+random.Int64N(1000), 1+random.Int64N(30)
		window := 1 + random.Int64N(int64(time.Second))
		rate, err := gcra.NewRate(uint64(units), time.Duration(window), uint64(burst))
		if err != nil {
			t.Fatal(err)
		}
		clock := policytest.NewClock(time.Unix(0, 0))
		began := clock.Now()
		store := gcra.NewStore(clock)
		m := model{units: units, window: window, burst: burst}
		var advised time.Duration
		for range 150 {
			cost := 1 + random.Int64N(burst)
			if advised > 0 && random.IntN(2) == 0 {
				// A nanosecond before the advised time is too early, and then it is not.
				clock.Advance(advised - 1)
				ask(t, store, rate, &m, clock.Now().Sub(began), 0, false)
				clock.Advance(1)
				advised = 0
				continue
			}
			clock.Advance(time.Duration(random.Int64N(2*window/units + 2)))
			d := ask(t, store, rate, &m, clock.Now().Sub(began), cost, true)
			advised = 0
			if !d.Allowed {
				advised = d.RetryAfter
				if m.allows(int64(clock.Now().Sub(began)+advised-1), cost) || !m.allows(int64(clock.Now().Sub(began)+advised), cost) {
					t.Fatalf("round %d: the advice to retry after %s is not exact", round, advised)
				}
			}
		}
	}
}

func ask(t *testing.T, store *gcra.Store, rate gcra.Rate, m *model, now time.Duration, cost int64, charge bool) gcra.Decision {
	t.Helper()
	if !charge {
		cost = 0
	}
	requests := []gcra.Request{{Store: store, Key: store.Key([]byte("k")), Rate: rate, Cost: uint64(cost), MaxKeys: 1}}
	got := gcra.Take(requests)
	want := m.allows(int64(now), cost)
	if got != want {
		t.Fatalf("%d of %d in %d ns, burst %d: at %d a cost of %d is allowed: %t, the model says %t", m.units, m.units, m.window, m.burst, now, cost, got, want)
	}
	if got && cost > 0 {
		m.granted = append(m.granted, grant{int64(now), cost})
	}
	d := requests[0].Decision
	// What remains is the largest cost that the model would allow now.
	if d.Remaining > 0 && !m.allows(int64(now), int64(d.Remaining)) || m.allows(int64(now), int64(d.Remaining)+1) {
		t.Fatalf("%d remain, the model says otherwise", d.Remaining)
	}
	return d
}

// TestAllOrNone proves that a request which one limit refuses is charged to none.
func TestAllOrNone(t *testing.T) {
	clock := policytest.NewClock(time.Unix(0, 0))
	one, five := mustRate(t, 1, time.Minute, 1), mustRate(t, 5, time.Minute, 5)
	a, b := gcra.NewStore(clock), gcra.NewStore(clock)
	for _, order := range [][2]*gcra.Store{{a, b}, {b, a}} {
		small, large := order[0], order[1]
		key := []byte(fmt.Sprint(order))
		take := func() (bool, []gcra.Request) {
			r := []gcra.Request{
				{Store: small, Key: small.Key(key), Rate: one, Cost: 1, MaxKeys: 10},
				{Store: large, Key: large.Key(key), Rate: five, Cost: 1, MaxKeys: 10},
			}
			return gcra.Take(r), r
		}
		if ok, _ := take(); !ok {
			t.Fatal("the first request is refused")
		}
		kept := large.Len()
		for range 10 {
			if ok, r := take(); ok || r[1].Decision.Remaining != 3 || !r[1].Decision.Allowed {
				t.Fatalf("allowed %t, %+v", ok, r[1].Decision)
			}
		}
		r := []gcra.Request{{Store: large, Key: large.Key(key), Rate: five, MaxKeys: 10}}
		if gcra.Take(r); r[0].Decision.Remaining != 4 || large.Len() != kept {
			t.Errorf("%d remain of 4, %d keys of %d", r[0].Decision.Remaining, large.Len(), kept)
		}
	}
}

// TestFull proves what happens to new keys of a full store, that known keys keep their
// rate, and that keys which have their burst again make room.
func TestFull(t *testing.T) {
	rate := mustRate(t, 1, time.Second, 2)
	for _, tt := range []struct {
		full gcra.Full
		// allowed is how many of three requests of three new keys are allowed.
		allowed int
	}{{gcra.Share, 2}, {gcra.Refuse, 0}, {gcra.Allow, 3}} {
		clock := policytest.NewClock(time.Unix(0, 0))
		store := gcra.NewStore(clock)
		const most = 100
		take := func(key string) (bool, bool) {
			r := []gcra.Request{{Store: store, Key: store.Key([]byte(key)), Rate: rate, Cost: 1, MaxKeys: most, WhenFull: tt.full}}
			return gcra.Take(r), r[0].Overflow
		}
		for i := range most {
			if ok, overflow := take(fmt.Sprint("known", i)); !ok || overflow {
				t.Fatalf("key %d: allowed %t, overflow %t", i, ok, overflow)
			}
		}
		var allowed int
		for i := range 3 {
			ok, overflow := take(fmt.Sprint("new", i))
			if !overflow {
				t.Error("there is no overflow")
			}
			if ok {
				allowed++
			}
		}
		if allowed != tt.allowed {
			t.Errorf("mode %d: %d of 3 are allowed, want %d", tt.full, allowed, tt.allowed)
		}
		if ok, overflow := take("known7"); !ok || overflow {
			t.Errorf("a known key: allowed %t, overflow %t", ok, overflow)
		}
		clock.Advance(time.Second)
		// All but known7 have their burst again, and room is made for as many.
		for i := range most - 1 {
			if ok, overflow := take(fmt.Sprint("later", i)); !ok || overflow {
				t.Fatalf("mode %d: key %d: allowed %t, overflow %t", tt.full, i, ok, overflow)
			}
		}
		if _, overflow := take("one more"); !overflow || store.Len() != most {
			t.Errorf("mode %d: overflow %t with %d keys", tt.full, overflow, store.Len())
		}
	}
}

// TestARateMayChange proves that state survives a change of the rate, and that a key
// does not gain by it.
func TestARateMayChange(t *testing.T) {
	clock := policytest.NewClock(time.Unix(0, 0))
	store := gcra.NewStore(clock)
	take := func(r gcra.Rate) bool {
		return gcra.Take([]gcra.Request{{Store: store, Key: store.Key(nil), Rate: r, Cost: 1, MaxKeys: 1}})
	}
	third := mustRate(t, 3, time.Nanosecond*10, 1)
	if !take(third) {
		t.Fatal("the first request is refused")
	}
	seventh := mustRate(t, 7, time.Nanosecond*10, 1)
	clock.Advance(3)
	if take(seventh) {
		t.Error("allowed after 3 ns of 3 1/3")
	}
	clock.Advance(1)
	if !take(seventh) {
		t.Error("refused after 4 ns of 3 1/3")
	}
}

// TestConcurrentUse proves, with the race detector and by counting, that nothing is
// granted twice, across stores that are asked for in different orders.
func TestConcurrentUse(t *testing.T) {
	clock := policytest.NewClock(time.Unix(0, 0))
	rate := mustRate(t, 100, time.Hour, 100)
	a, b := gcra.NewStore(clock), gcra.NewStore(clock)
	const keys, workers = 7, 8
	granted := make([][keys]int, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range 400 {
				k := i % keys
				r := []gcra.Request{
					{Store: a, Key: a.Key([]byte{byte(k)}), Rate: rate, Cost: 1, MaxKeys: 5},
					{Store: b, Key: b.Key([]byte{byte(k)}), Rate: rate, Cost: 1, MaxKeys: 100},
				}
				if w%2 == 0 {
					r[0], r[1] = r[1], r[0]
				}
				if gcra.Take(r) {
					granted[w][k]++
				}
			}
		})
	}
	wg.Wait()
	var perKey [keys]int
	var sum int
	for w := range workers {
		for k, n := range granted[w] {
			perKey[k] += n
			sum += n
		}
	}
	for k, n := range perKey {
		if n > 100 {
			t.Errorf("key %d was granted %d times", k, n)
		}
	}
	// Five keys have room in a, and the others share one rate there.
	if sum != 600 || a.Len() != 5 || b.Len() != keys {
		t.Errorf("%d granted, %d and %d keys", sum, a.Len(), b.Len())
	}
}

func TestRefusedRates(t *testing.T) {
	for _, tt := range []struct {
		units  uint64
		window time.Duration
		burst  uint64
	}{{0, 1, 1}, {1, 0, 1}, {1, 1, 0}, {gcra.MaxUnits + 1, 1, 1}, {1, 1, gcra.MaxUnits + 1}, {1, gcra.MaxWindow + 1, 1}, {1, gcra.MaxWindow, 2}, {1, -1, 1}} {
		if _, err := gcra.NewRate(tt.units, tt.window, tt.burst); err == nil {
			t.Errorf("%+v is accepted", tt)
		}
	}
	if _, err := gcra.NewRate(gcra.MaxUnits, gcra.MaxWindow, gcra.MaxUnits); err != nil {
		t.Error(err)
	}
}

// TestAKnownKeyCostsNoAllocation proves that the request path does no more than count.
func TestAKnownKeyCostsNoAllocation(t *testing.T) {
	clock := policytest.NewClock(time.Unix(0, 0))
	rate := mustRate(t, 1000, time.Second, gcra.MaxUnits)
	store := gcra.NewStore(clock)
	key := []byte("known")
	requests := make([]gcra.Request, 1)
	if n := testing.AllocsPerRun(100, func() {
		requests[0] = gcra.Request{Store: store, Key: store.Key(key), Rate: rate, Cost: 1, MaxKeys: 10}
		gcra.Take(requests)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func mustRate(t testing.TB, units uint64, window time.Duration, burst uint64) gcra.Rate {
	t.Helper()
	r, err := gcra.NewRate(units, window, burst)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func BenchmarkTake(b *testing.B) {
	clock := policytest.NewClock(time.Unix(0, 0))
	rate := mustRate(b, 1000, time.Second, gcra.MaxUnits)
	for _, keys := range []int{1, 100_000} {
		b.Run(fmt.Sprintf("of %d keys", keys), func(b *testing.B) {
			store := gcra.NewStore(clock)
			names := make([][]byte, keys)
			for i := range names {
				names[i] = fmt.Appendf(nil, "key-%d", i)
			}
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				requests := make([]gcra.Request, 1)
				for i := rand.IntN(keys); pb.Next(); i = (i + 7919) % keys {
					requests[0] = gcra.Request{Store: store, Key: store.Key(names[i]), Rate: rate, Cost: 1, MaxKeys: keys}
					if !gcra.Take(requests) {
						b.Fatal("refused")
					}
				}
			})
		})
	}
}
