package gcra

import (
	"fmt"
	"math/bits"
	"time"
)

// Limits on a [Rate], which keep all arithmetic within 64 bits.
const (
	// MaxUnits is the largest number of units and the largest burst.
	MaxUnits = 1 << 31
	// MaxWindow is the longest window, and the longest time that a burst may
	// take to come back.
	MaxWindow = 366 * 24 * time.Hour
)

// Rate allows Units units of cost in each Window, and Burst of them at once. It is
// immutable.
type Rate struct {
	units, burst uint64
	window       uint64 // nanoseconds
	// tolerance is how far the theoretical arrival time may lie ahead: the time
	// that the burst takes to come back.
	tolerance moment
}

// NewRate returns the rate. It refuses numbers out of range: units and burst from 1 to
// [MaxUnits], window from 1 ns to [MaxWindow], and a burst that would take longer than
// MaxWindow to come back.
func NewRate(units uint64, window time.Duration, burst uint64) (Rate, error) {
	switch {
	case units == 0 || units > MaxUnits:
		return Rate{}, fmt.Errorf("the rate is %d; it must be from 1 to %d", units, uint64(MaxUnits))
	case burst == 0 || burst > MaxUnits:
		return Rate{}, fmt.Errorf("the burst is %d; it must be from 1 to %d", burst, uint64(MaxUnits))
	case window <= 0 || window > MaxWindow:
		return Rate{}, fmt.Errorf("the window is %s; it must be from 1ns to %s", window, MaxWindow)
	}
	r := Rate{units: units, burst: burst, window: uint64(window)}
	if hi, lo := bits.Mul64(burst, r.window); hi >= units || div(hi, lo, units) > uint64(MaxWindow) {
		return Rate{}, fmt.Errorf("a burst of %d would need more than %s to refill at this rate", burst, MaxWindow)
	}
	r.tolerance = r.after(moment{}, burst)
	return r, nil
}

// Burst is the number of units that may be taken at once.
func (r Rate) Burst() uint64 { return r.burst }

// moment is a point in time since a store was made: ns nanoseconds and num/den of one,
// so that a rate which does not divide a nanosecond stays exact.
type moment struct {
	ns       int64
	num, den uint64
}

// after returns m and the time that the rate needs for cost units, exactly. cost is at
// most the burst.
func (r Rate) after(m moment, cost uint64) moment {
	m = m.over(r.units)
	hi, lo := bits.Mul64(cost, r.window)
	whole, rest := bits.Div64(hi, lo, r.units)
	m.ns += int64(whole)
	if m.num += rest; m.num >= m.den {
		m.num -= m.den
		m.ns++
	}
	return m
}

// over returns m with the denominator den. If that differs from m's own, as it does
// after a rate has changed, the fraction is rounded up.
func (m moment) over(den uint64) moment {
	switch {
	case m.den == den:
		return m
	case m.num > 0:
		m.ns++
	}
	return moment{ns: m.ns, den: den}
}

// minus returns m less o. Both have the same denominator.
func (m moment) minus(o moment) moment {
	m.ns -= o.ns
	if m.num < o.num {
		m.num += m.den
		m.ns--
	}
	m.num -= o.num
	return m
}

// ceil is m in nanoseconds, rounded up.
func (m moment) ceil() int64 {
	if m.num > 0 {
		return m.ns + 1
	}
	return m.ns
}

// Decision is what a [Rate] says about one request.
type Decision struct {
	// Allowed reports whether the request is within the rate.
	Allowed bool
	// Remaining is how many units could be taken at once now: after the request
	// if it is allowed, without it if not.
	Remaining uint64
	// RetryAfter is how long to wait until the same request would be allowed; 0
	// if it is allowed, and negative if it never would be, since its cost is
	// above the burst.
	RetryAfter time.Duration
	// Reset is how long it takes until the whole burst is there again.
	Reset time.Duration
}

// decide says whether cost units may be taken at now by a key whose theoretical
// arrival time is tat, and what that would be afterwards. tat is not in the past.
func (r Rate) decide(tat moment, now int64, cost uint64) (Decision, moment) {
	at := moment{ns: now, den: r.units}
	tat = tat.over(r.units)
	if tat.ns < now {
		tat = at
	}
	if cost > r.burst {
		return r.state(tat, at, Decision{RetryAfter: -1}), tat
	}
	next := r.after(tat, cost)
	if wait := next.minus(at).minus(r.tolerance).ceil(); wait > 0 {
		return r.state(tat, at, Decision{RetryAfter: time.Duration(wait)}), tat
	}
	return r.state(next, at, Decision{Allowed: true}), next
}

// state fills in what is left at a theoretical arrival time.
func (r Rate) state(tat, now moment, d Decision) Decision {
	ahead := tat.minus(now)
	d.Reset = time.Duration(ahead.ceil())
	if left := r.tolerance.minus(ahead); left.ns >= 0 {
		hi, lo := bits.Mul64(uint64(left.ns), r.units)
		lo, carry := bits.Add64(lo, left.num, 0)
		d.Remaining = div(hi+carry, lo, r.window)
	}
	return d
}

func div(hi, lo, by uint64) uint64 {
	q, _ := bits.Div64(hi, lo, by)
	return q
}
