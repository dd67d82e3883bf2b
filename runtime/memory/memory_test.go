package memory_test

import (
	"sync"
	"testing"

	"policyengine.dev/runtime/memory"
)

func TestTheLimitHolds(t *testing.T) {
	a := memory.NewAccount(100)
	for _, tt := range []struct {
		name string
		n    int64
		ok   bool
		used int64
	}{
		{"below the limit", 60, true, 60},
		{"over it, which takes nothing", 41, false, 60},
		{"up to it", 40, true, 100},
		{"nothing always fits", 0, true, 100},
		{"a byte more", 1, false, 100},
	} {
		if got := a.Take(tt.n); got != tt.ok || a.Used() != tt.used {
			t.Errorf("%s: Take reports %v with %d in use, want %v and %d", tt.name, got, a.Used(), tt.ok, tt.used)
		}
	}
	if a.Fits(1) || !a.Fits(0) {
		t.Error("a full account takes more, or not even nothing")
	}
	a.Add(50)
	if a.Used() != 150 || a.Take(1) {
		t.Errorf("%d bytes are in use after an addition over the limit", a.Used())
	}
	a.Give(150)
	if a.Used() != 0 || !a.Take(100) {
		t.Errorf("%d bytes are in use after all was given back", a.Used())
	}
}

func TestThePeakSinceTheLastTime(t *testing.T) {
	a := memory.NewAccount(100)
	a.Take(80)
	a.Give(70)
	for _, want := range []int64{80, 10} {
		if got := a.TakePeak(); got != want {
			t.Errorf("the peak is %d, want %d", got, want)
		}
	}
}

func TestNoAccountHasNoLimit(t *testing.T) {
	var a *memory.Account
	a.Add(1)
	a.Give(1)
	a.Refuse()
	if !a.Take(1<<40) || !a.Fits(1<<40) || a.Used() != 0 || a.Limit() != 0 || a.Refused() != 0 || a.TakePeak() != 0 {
		t.Error("an account that is none counts or refuses")
	}
}

// TestManyAtOnce proves that takes and gives of many goroutines leave nothing behind,
// and that no success goes over the limit.
func TestManyAtOnce(t *testing.T) {
	const limit = 1000
	a := memory.NewAccount(limit)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 10_000 {
				if a.Take(300) {
					a.Give(300)
				}
			}
		})
	}
	all.Wait()
	if a.Used() != 0 {
		t.Errorf("%d bytes are left", a.Used())
	}
	if p := a.TakePeak(); p > limit {
		t.Errorf("%d bytes were in use", p)
	}
}
