package gcra

import (
	"errors"
	"math/bits"
	"time"
)

// Point is a theoretical arrival time, or a span of time, of a rate whose state is kept
// elsewhere: Micros microseconds, and Part/[Rate.Units] of one.
type Point struct{ Micros, Part uint64 }

// MaxMicros is the latest moment that [Rate.Decide] takes: a floating point number holds
// every whole number up to it.
const MaxMicros = 1<<53 - 1

// Units is the denominator of the rate's points.
func (r Rate) Units() uint64 { return r.units }

// WholeMicros reports whether the rate's window is a whole number of microseconds. Only
// then its points are exact.
func (r Rate) WholeMicros() bool { return r.window%uint64(time.Microsecond) == 0 }

// Span is the time that the rate needs for cost units. cost is at most the burst.
func (r Rate) Span(cost uint64) Point {
	hi, lo := bits.Mul64(cost, r.window/uint64(time.Microsecond))
	whole, rest := bits.Div64(hi, lo, r.units)
	return Point{whole, rest}
}

// Tolerance is how far a theoretical arrival time may lie ahead.
func (r Rate) Tolerance() Point { return r.Span(r.burst) }

// ErrNoPoint is the error of [Rate.Decide] for numbers that are no points of the rate.
var ErrNoPoint = errors.New("the state of a limit is out of range")

// Decide says whether cost units may be taken at now, in microseconds, by a key whose
// theoretical arrival time is tat, and how far that lies ahead afterwards, rounded down.
func (r Rate) Decide(tat Point, now, cost uint64) (d Decision, ahead time.Duration, err error) {
	if now > MaxMicros || tat.Micros > MaxMicros || tat.Part >= r.units || tat.Micros > now+2*uint64(MaxWindow/time.Microsecond) {
		return Decision{}, 0, ErrNoPoint
	}
	at := int64(now) * int64(time.Microsecond)
	part := tat.Part * uint64(time.Microsecond)
	m := moment{ns: int64(tat.Micros)*int64(time.Microsecond) + int64(part/r.units), num: part % r.units, den: r.units}
	d, next := r.decide(m, at, cost)
	return d, time.Duration(next.ns - at), nil
}

// Mirror notes that at the moment at the key's theoretical arrival time lies so far ahead,
// as it is known elsewhere. It drops what was counted here. A key that there is no room for
// is left out.
func (s *Store) Mirror(key Key, at time.Time, ahead time.Duration, maxKeys int) {
	seen := int64(at.Sub(s.began))
	tat := moment{ns: seen + int64(ahead), den: 1}
	own := &s.shards()[key[0]%shardCount]
	own.mu.Lock()
	defer own.mu.Unlock()
	e := own.entries[key]
	if e == nil {
		if ahead <= 0 || !s.reserve(own, maxKeys) {
			return
		}
		e = &entry{key: key, tat: tat}
		own.add(e)
	}
	e.tat, e.seen = tat, max(1, seen)
}

// Over decides about cost units without taking any, by what [Store.Mirror] has noted within
// the last while. It reports whether that refuses them.
func (s *Store) Over(key Key, rate Rate, cost uint64, within time.Duration) (Decision, bool) {
	own := &s.shards()[key[0]%shardCount]
	now := s.now()
	own.mu.Lock()
	e := own.entries[key]
	if e == nil || e.seen == 0 || now-e.seen > int64(within) {
		own.mu.Unlock()
		return Decision{}, false
	}
	tat := e.tat
	own.mu.Unlock()
	d, _ := rate.decide(tat, now, cost)
	return d, !d.Allowed
}
