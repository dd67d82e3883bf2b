package breaker_test

import (
	"testing"
	"time"

	"policyengine.dev/sdk/breaker"
)

// TestBreaker proves each change: failures in a row open it, time lets one request through,
// whose outcome decides, and what began before a change does not count.
func TestBreaker(t *testing.T) {
	now := time.Unix(0, 0)
	b := &breaker.Breaker{Most: 2, Pause: time.Second}
	ask := func(want bool) uint64 {
		t.Helper()
		turn, ok := b.Allow(now)
		if ok != want {
			t.Fatalf("a request is let through: %t", ok)
		}
		return turn
	}
	done := func(turn uint64, o breaker.Outcome, want breaker.Change) {
		t.Helper()
		if got := b.Done(turn, o, now); got != want {
			t.Fatalf("the change is %d, want %d", got, want)
		}
	}
	late := ask(true)
	done(ask(true), breaker.Failure, breaker.Same)
	done(ask(true), breaker.Success, breaker.Same)
	done(ask(true), breaker.Failure, breaker.Same)
	done(ask(true), breaker.Neither, breaker.Same)
	done(ask(true), breaker.Failure, breaker.Opened)
	done(late, breaker.Success, breaker.Same)
	ask(false)
	now = now.Add(time.Second)
	probe := ask(true)
	ask(false)
	done(probe, breaker.Failure, breaker.Same)
	ask(false)
	now = now.Add(time.Second)
	probe = ask(true)
	done(probe, breaker.Neither, breaker.Same)
	probe = ask(true)
	done(probe, breaker.Success, breaker.Closed)
	ask(true)
}
