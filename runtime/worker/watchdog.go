package worker

import (
	"sync"
	"sync/atomic"
	"time"
)

// The watchdog takes over streams whose step is overdue. Every step runs on its
// stream's own goroutine, so nothing but a few atomic stores is paid for a step
// that comes back in time; one goroutine looks at all running steps every few
// milliseconds and abandons those that did not.

const (
	// watchInterval is how often running steps are checked, and so how much
	// later than its deadline a step may be abandoned.
	watchInterval = 2 * time.Millisecond
	// watchLinger is how long the watchdog keeps looking when nothing runs.
	// Parking and waking cost a context switch, which a busy engine would pay
	// for nearly every request if it parked at once.
	watchLinger = 500
	watchShards = 8
)

// The states of a watched step. The upper bits of the word count the steps, so that
// a comparison fails for any but the step that was meant.
const (
	stepIdle uint64 = iota
	stepRunning
	stepAbandoned
	stepStateBits = 2
)

// watched is a run's entry with the watchdog.
type watched struct {
	// state is a count of steps and one of the states above.
	state atomic.Uint64
	// deadline is in nanoseconds on the monotonic clock; it is valid while
	// state says running.
	deadline atomic.Int64

	shard      *watchShard
	prev, next *watched
	run        *run
}

// arm says that a step begins. Only the run's own goroutine calls it.
func (w *watched) arm(deadline int64) (armed uint64) {
	armed = (w.state.Load()>>stepStateBits+1)<<stepStateBits | stepRunning
	w.deadline.Store(deadline)
	w.state.Store(armed)
	return armed
}

// disarm says that the step has ended, and reports whether it is still the run's
// own: false where the watchdog has abandoned it.
func (w *watched) disarm(armed uint64) bool {
	return w.state.CompareAndSwap(armed, armed&^stepRunning) // stepIdle is zero
}

// drop is disarm for a step of which nobody has the number any more.
func (w *watched) drop() bool {
	s := w.state.Load()
	return s&(1<<stepStateBits-1) == stepRunning && w.disarm(s)
}

// abandon takes an overdue step away from its goroutine.
func (w *watched) abandon(now int64) bool {
	s := w.state.Load()
	if s&(1<<stepStateBits-1) != stepRunning || now < w.deadline.Load() {
		return false
	}
	// A deadline read for a later step than s fails here: s has gone then.
	return w.state.CompareAndSwap(s, s&^stepRunning|stepAbandoned)
}

type watchShard struct {
	mu   sync.Mutex
	head *watched
	_    [40]byte // a cache line to itself
}

type watchdog struct {
	clock  *clock
	shards [watchShards]watchShard
	spread atomic.Uint32

	parked atomic.Bool
	wake   chan struct{}
	stop   chan struct{}
	done   chan struct{}
}

func newWatchdog(c *clock) *watchdog {
	d := &watchdog{
		clock: c,
		wake:  make(chan struct{}, 1),
		stop:  make(chan struct{}),
		done:  make(chan struct{}),
	}
	go d.watch()
	return d
}

// assign gives a run its shard, for as long as it lives.
func (d *watchdog) assign(w *watched) {
	w.shard = &d.shards[d.spread.Add(1)%watchShards]
}

// enter has w watched until leave.
func (d *watchdog) enter(w *watched) {
	s := w.shard
	s.mu.Lock()
	w.prev, w.next = nil, s.head
	if s.head != nil {
		s.head.prev = w
	}
	s.head = w
	s.mu.Unlock()
	if d.parked.Load() {
		select {
		case d.wake <- struct{}{}:
		default:
		}
	}
}

func (d *watchdog) leave(w *watched) {
	s := w.shard
	s.mu.Lock()
	s.unlink(w)
	s.mu.Unlock()
}

// unlink is called with the shard locked.
func (s *watchShard) unlink(w *watched) {
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		s.head = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	}
	w.prev, w.next = nil, nil
}

func (d *watchdog) close() {
	close(d.stop)
	<-d.done
}

func (d *watchdog) watch() {
	defer close(d.done)
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	idle := 0
	for {
		select {
		case <-d.stop:
			return
		case <-tick.C:
		}
		if d.scan(d.clock.now()) {
			idle = 0
			continue
		}
		if idle++; idle < watchLinger {
			continue
		}
		// A run that enters from here on sees parked and wakes us; one that
		// entered before is seen by the scan.
		d.parked.Store(true)
		if !d.scan(d.clock.now()) {
			tick.Stop()
			select {
			case <-d.stop:
				return
			case <-d.wake:
			}
			tick.Reset(watchInterval)
		}
		d.parked.Store(false)
		idle = 0
	}
}

// scan abandons what is overdue, and reports whether anything was running.
func (d *watchdog) scan(now int64) (busy bool) {
	for i := range d.shards {
		s := &d.shards[i]
		s.mu.Lock()
		for w := s.head; w != nil; {
			busy = true
			next := w.next
			if w.abandon(now) {
				s.unlink(w)
				go w.run.takeOver()
			}
			w = next
		}
		s.mu.Unlock()
	}
	return busy
}
