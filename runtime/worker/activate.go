package worker

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// adopt lets new instances take over from those that they follow.
func (c *compilation) adopt() {
	for _, in := range c.fresh {
		c.worker.mu.Lock()
		old := c.worker.instances[in.identity]
		c.worker.mu.Unlock()
		if old == nil || old.version.Name != in.version.Name {
			continue
		}
		if err := in.adopt(old); err != nil {
			c.problem(c.places[in], fmt.Sprintf("adopting the state of the instance before: %v", err), "")
		}
	}
}

// start starts the new instances, all at once.
func (c *compilation) start(ctx context.Context, timeout time.Duration) {
	errs := make([]error, len(c.fresh))
	var all sync.WaitGroup
	for i, in := range c.fresh {
		all.Go(func() { errs[i] = in.start(ctx, timeout) })
	}
	all.Wait()
	for i, err := range errs {
		in := c.fresh[i]
		switch {
		case err == nil:
		case c.required[in]:
			c.problem(c.places[in], fmt.Sprintf("%s is required and has not started: %v", in.version, err), "")
		default:
			c.warn(c.places[in], fmt.Sprintf("%s has not started yet: %v", in.version, err),
				"its requests are treated as its errors until it has; it is tried again")
		}
	}
}
