package worker

import "sync"

// closings counts what is being closed in the background. Unlike with a sync.WaitGroup,
// something may begin while somebody waits. The zero value is ready to use.
type closings struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // nil where nobody waits
}

// Go calls f on its own goroutine.
func (c *closings) Go(f func()) {
	c.mu.Lock()
	c.n++
	c.mu.Unlock()
	go func() {
		defer c.done()
		f()
	}()
}

func (c *closings) done() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n--; c.n == 0 && c.idle != nil {
		close(c.idle)
		c.idle = nil
	}
}

// wait returns a channel that is closed once nothing is being closed.
func (c *closings) wait() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == 0 {
		none := make(chan struct{})
		close(none)
		return none
	}
	if c.idle == nil {
		c.idle = make(chan struct{})
	}
	return c.idle
}
