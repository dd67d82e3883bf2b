package worker

import (
	"cmp"
	"context"
	"fmt"
	"slices"
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

// start starts the new instances, all at once. Those that are shared with an older
// configuration are being started already; those of them that are required now are
// tried once more, at once.
func (c *compilation) start(ctx context.Context, timeout time.Duration) {
	errs := make([]error, len(c.snapshot.instances))
	fresh := make(map[*instance]bool, len(c.fresh))
	for _, in := range c.fresh {
		fresh[in] = true
	}
	var all sync.WaitGroup
	for i, in := range c.snapshot.instances {
		switch {
		case in.ready():
		case fresh[in]:
			all.Go(func() { errs[i] = in.start(ctx, timeout) })
		case c.required[in]:
			all.Go(func() { errs[i] = in.startAgain(ctx, timeout) })
		default:
			errs[i] = cmp.Or(in.startError(), errNotStarted)
		}
	}
	all.Wait()
	for i, err := range errs {
		in := c.snapshot.instances[i]
		switch {
		case err == nil:
		case c.required[in]:
			c.problem(c.places[in], fmt.Sprintf("%s is required and has not started: %v", in.version, err), "")
		default:
			c.unstarted = append(c.unstarted, unstarted{in, Problem{
				Path: c.places[in], Message: fmt.Sprintf("%s has not started yet: %v", in.version, err),
				Remedy: "its requests are treated as its errors until it has; it is tried again",
			}})
		}
	}
}

// unstarted is a warning that holds for as long as an instance has not started.
type unstarted struct {
	instance *instance
	warning  Problem
}

// warningsNow adds to the lasting warnings those about instances that have not started.
func warningsNow(lasting Problems, waiting []unstarted) Problems {
	all := slices.Clip(lasting)
	for _, u := range waiting {
		if !u.instance.ready() {
			all = append(all, u.warning)
		}
	}
	return all
}
