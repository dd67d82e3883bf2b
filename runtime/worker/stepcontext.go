package worker

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// stepContext is the context.Context of one call of a policy: the stream's, with
// the step's deadline. Most policies never look at it, so that the timer behind a
// real deadline is made only when somebody asks for Done or Err.
type stepContext struct {
	parent   context.Context
	deadline int64 // nanotime
	// shared says that the policy has got hold of something that outlives the
	// call, so that this context must not be used for another.
	shared atomic.Bool

	mu     sync.Mutex
	inner  context.Context
	cancel context.CancelFunc
	ended  bool
}

func (c *stepContext) reset(parent context.Context, deadline int64) {
	c.parent, c.deadline = parent, deadline
}

// end cancels what hangs on the context. It reports whether the context may serve
// another call.
func (c *stepContext) end() bool {
	if !c.shared.Load() {
		return true
	}
	c.mu.Lock()
	c.ended = true
	cancel := c.cancel
	c.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	return false
}

// Deadline implements context.Context.
func (c *stepContext) Deadline() (time.Time, bool) {
	d := instant(c.deadline)
	if outer, ok := c.parent.Deadline(); ok && outer.Before(d) {
		d = outer
	}
	return d, true
}

// Done implements context.Context.
func (c *stepContext) Done() <-chan struct{} { return c.real().Done() }

// Err implements context.Context.
func (c *stepContext) Err() error {
	if !c.shared.Load() {
		if nanotime() >= c.deadline {
			return context.DeadlineExceeded
		}
		return c.parent.Err()
	}
	return c.real().Err()
}

// Value implements context.Context.
func (c *stepContext) Value(key any) any {
	// A context derived from this one asks it for values for as long as that
	// one lives.
	c.shared.Store(true)
	return c.parent.Value(key)
}

func (c *stepContext) real() context.Context {
	c.shared.Store(true)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner == nil {
		c.inner, c.cancel = context.WithDeadline(c.parent, instant(c.deadline))
		if c.ended {
			c.cancel()
		}
	}
	return c.inner
}
