package gcra_test

import (
	"testing"
	"time"

	"policyengine.dev/policies/rate-limit/internal/gcra"
	"policyengine.dev/sdk/policytest"
)

// TestMirror proves that what is known elsewhere refuses here for a while, that counting
// here ends that, and that keys without room are left out.
func TestMirror(t *testing.T) {
	clock := policytest.NewClock(time.Unix(0, 0))
	store := gcra.NewStore(clock)
	rate := mustRate(t, 1, time.Second, 2)
	key, other := store.Key([]byte("a")), store.Key([]byte("b"))
	over := func(cost uint64) bool {
		_, over := store.Over(key, rate, cost, time.Second)
		return over
	}
	if over(2) {
		t.Error("a key that was never noted is over")
	}
	store.Mirror(key, clock.Now(), 1500*time.Millisecond, 1)
	store.Mirror(other, clock.Now(), time.Second, 1)
	if store.Len() != 1 {
		t.Errorf("%d keys", store.Len())
	}
	if d, over := store.Over(key, rate, 1, time.Second); !over || d.RetryAfter != 500*time.Millisecond {
		t.Errorf("over %t, %+v", over, d)
	}
	clock.Advance(500 * time.Millisecond)
	if over(1) || !over(2) {
		t.Errorf("half a second later: one %t, two %t", over(1), over(2))
	}
	clock.Advance(501 * time.Millisecond)
	if over(2) {
		t.Error("what was noted more than a second ago still counts")
	}
	// The fallback counts on from there.
	store.Mirror(key, clock.Now(), time.Second, 1)
	take := func() bool {
		return gcra.Take([]gcra.Request{{Store: store, Key: key, Rate: rate, Cost: 1, MaxKeys: 1}})
	}
	if !take() || take() {
		t.Error("the burst of two has one left")
	}
	if over(1) {
		t.Error("what was counted here is taken for known elsewhere")
	}
}

// TestDecideRefusesNonsense proves that numbers which are no state of the rate are errors.
func TestDecideRefusesNonsense(t *testing.T) {
	rate := mustRate(t, 3, time.Second, 2)
	for _, tt := range []struct {
		tat gcra.Point
		now uint64
	}{{gcra.Point{Micros: gcra.MaxMicros + 1}, gcra.MaxMicros}, {gcra.Point{}, gcra.MaxMicros + 1}, {gcra.Point{Part: 3}, 0}, {gcra.Point{Micros: gcra.MaxMicros}, 1}} {
		if d, _, err := rate.Decide(tt.tat, tt.now, 1); err == nil {
			t.Errorf("%+v gives %+v", tt, d)
		}
	}
}
