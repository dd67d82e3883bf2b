package worker

import "time"

// clock is the worker's time. Everything that the worker measures or bounds follows it,
// so that an exchange can be replayed with the times that were recorded.
type clock struct {
	elapsed func() time.Duration
	// epoch is when elapsed was 0, by the policies' clock.
	epoch time.Time
}

func newClock(o Options) *clock {
	elapsed := o.Elapsed
	if elapsed == nil {
		began := time.Now()
		elapsed = func() time.Duration { return time.Since(began) }
	}
	return &clock{elapsed, o.Host.Clock.Now().Add(-elapsed())}
}

// now is the time in nanoseconds.
func (c *clock) now() int64 { return int64(c.elapsed()) }

// instant is the time.Time of a time in nanoseconds.
func (c *clock) instant(n int64) time.Time { return c.epoch.Add(time.Duration(n)) }
