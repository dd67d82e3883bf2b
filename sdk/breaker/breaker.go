// Package breaker has a circuit breaker that follows a time which it is given, so that
// tests and replays can move it.
package breaker

import (
	"sync"
	"time"
)

// Breaker lets nothing through for a while after some failures in a row, and then one
// request at a time until one succeeds. The zero value is closed, and opens with the first
// failure. Safe for concurrent use; set the fields before the first one.
type Breaker struct {
	// Most is how many failures in a row open it, and Pause for how long.
	Most  int
	Pause time.Duration

	mu       sync.Mutex
	failures int
	// open says that it is open or half open. probing is set while a request is let through.
	open, probing bool
	until         time.Time
	// turn counts openings and closings: what began before the last one does not count.
	turn uint64
}

// Outcome is what became of a request.
type Outcome uint8

// The outcomes.
const (
	Failure Outcome = iota
	Success
	// Neither: the request was given up, so that it says nothing.
	Neither
)

// Change is what an outcome did to the breaker.
type Change uint8

// The changes.
const (
	Same Change = iota
	Opened
	Closed
)

// Allow reports whether a request may be sent. turn is for [Breaker.Done], which has to be
// called once if ok.
func (b *Breaker) Allow(now time.Time) (turn uint64, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open {
		if b.probing || now.Before(b.until) {
			return 0, false
		}
		b.probing = true
	}
	return b.turn, true
}

// Done tells the outcome of a request that Allow let through.
func (b *Breaker) Done(turn uint64, outcome Outcome, now time.Time) Change {
	b.mu.Lock()
	defer b.mu.Unlock()
	if turn != b.turn {
		return Same
	}
	b.probing = false
	switch outcome {
	case Success:
		b.failures = 0
		if b.open {
			b.open = false
			b.turn++
			return Closed
		}
	case Failure:
		b.failures++
		switch {
		case b.open:
			b.until = now.Add(b.Pause)
		case b.failures >= b.Most:
			b.open, b.until = true, now.Add(b.Pause)
			b.turn++
			return Opened
		}
	}
	return Same
}
