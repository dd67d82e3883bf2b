package worker

import (
	"context"
	"sync/atomic"
	"time"
)

// stepContext is the context.Context of one call of a policy: the stream's, with the
// step's deadline. It ends when the call returns. It is used for one call only, so that
// a policy that keeps it never sees the deadline or the end of another call. Most
// policies do not look at it: the timer behind the deadline is made once Done is called.
type stepContext struct {
	parent   context.Context
	clock    *clock
	deadline int64 // by the clock
	// state is nil while the call runs and nobody has asked for Done. After that it is
	// the context that the answers come from, which never changes again.
	state atomic.Pointer[startedContext]
}

// startedContext is a context with a timer.
type startedContext struct {
	context.Context
	cancel context.CancelFunc
}

// overContext is what a call leaves behind that nobody asked for Done.
var overContext = func() *startedContext {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return &startedContext{ctx, cancel}
}()

// contextBatch is how many contexts are allocated at a time.
const contextBatch = 16

// contexts hands out contexts. It is used by one goroutine at a time.
type contexts struct {
	clock  *clock
	unused []stepContext
}

// next returns a context for one call.
func (c *contexts) next(parent context.Context, deadline int64) *stepContext {
	if len(c.unused) == 0 {
		c.unused = make([]stepContext, contextBatch)
	}
	ctx := &c.unused[0]
	c.unused = c.unused[1:]
	ctx.parent, ctx.clock, ctx.deadline = parent, c.clock, deadline
	return ctx
}

// end is called when the call has returned.
func (c *stepContext) end() {
	if !c.state.CompareAndSwap(nil, overContext) {
		c.state.Load().cancel()
	}
}

// Deadline implements context.Context.
func (c *stepContext) Deadline() (time.Time, bool) {
	d := c.clock.instant(c.deadline)
	if outer, ok := c.parent.Deadline(); ok && outer.Before(d) {
		d = outer
	}
	return d, true
}

// Done implements context.Context.
func (c *stepContext) Done() <-chan struct{} { return c.started().Done() }

// Err implements context.Context.
func (c *stepContext) Err() error {
	if s := c.state.Load(); s != nil {
		return s.Err()
	}
	if c.clock.now() < c.deadline && c.parent.Err() == nil {
		return nil
	}
	// From here on the answer must stay the same.
	return c.started().Err()
}

// Value implements context.Context.
func (c *stepContext) Value(key any) any { return c.parent.Value(key) }

// started returns the context with a timer, which it makes once.
func (c *stepContext) started() *startedContext {
	if s := c.state.Load(); s != nil {
		return s
	}
	ctx, cancel := context.WithTimeout(c.parent, time.Duration(c.deadline-c.clock.now()))
	s := &startedContext{ctx, cancel}
	if c.state.CompareAndSwap(nil, s) {
		return s
	}
	cancel()
	return c.state.Load()
}
