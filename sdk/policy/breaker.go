package policy

import (
	"sync"
	"time"
)

// breaker is a circuit breaker: after some failures in a row it lets nothing through for a
// while, and then one request at a time until one succeeds. It follows the time that it is
// given. The zero value is closed, and opens with the first failure.
type breaker struct {
	// most is how many failures in a row open it, and pause for how long.
	most  int
	pause time.Duration

	mu       sync.Mutex
	failures int
	// open says that it is open or half open. probing is set while a request is let through.
	open, probing bool
	until         time.Time
	// turn counts openings and closings: what began before the last one does not count.
	turn uint64
}

type breakerOutcome uint8

const (
	breakerFailure breakerOutcome = iota
	breakerSuccess
	// breakerNeither: the request was given up, so that it says nothing.
	breakerNeither
)

type breakerChange uint8

const (
	breakerSame breakerChange = iota
	breakerOpened
	breakerClosed
)

// allow reports whether a request may be sent. turn is for done, which has to be called once.
func (b *breaker) allow(now time.Time) (turn uint64, ok bool) {
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

func (b *breaker) done(turn uint64, outcome breakerOutcome, now time.Time) breakerChange {
	b.mu.Lock()
	defer b.mu.Unlock()
	if turn != b.turn {
		return breakerSame
	}
	b.probing = false
	switch outcome {
	case breakerSuccess:
		b.failures = 0
		if b.open {
			b.open = false
			b.turn++
			return breakerClosed
		}
	case breakerFailure:
		b.failures++
		switch {
		case b.open:
			b.until = now.Add(b.pause)
		case b.failures >= b.most:
			b.open, b.until = true, now.Add(b.pause)
			b.turn++
			return breakerOpened
		}
	}
	return breakerSame
}
