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
	if c.before == nil {
		return
	}
	for _, in := range c.fresh {
		old := c.before.byName[in.chain].instance(in.id)
		if old == nil || old.version.Name != in.version.Name {
			continue
		}
		if err := in.adopt(old); err != nil {
			c.problem(c.place(in), fmt.Sprintf("adopting the state of the instance before: %v", err), "")
		}
	}
}

// place is where the step of a new instance stands.
func (c *compilation) place(in *instance) string {
	chain := c.snapshot.byName[in.chain]
	for _, s := range chain.steps {
		if s.instance == in {
			return chainPath(c.at[chain]) + s.path
		}
	}
	return chainPath(c.at[chain])
}

// start starts the new instances, all at once. Those that are shared with an older
// configuration are being started already; those of them that are required now are
// tried once more, at once.
func (c *compilation) start(ctx context.Context, timeout time.Duration) {
	fresh := make(map[*instance]bool, len(c.fresh))
	for _, in := range c.fresh {
		fresh[in] = true
	}
	var waiting []*starting
	var all sync.WaitGroup
	for i, chain := range c.snapshot.chains {
		if chain.started.Load() {
			continue
		}
		unready := false
		for _, s := range chain.steps {
			in := s.instance
			if in.ready() {
				continue
			}
			unready = true
			w := &starting{step: s, path: chainPath(i) + s.path}
			waiting = append(waiting, w)
			switch {
			case fresh[in]:
				c.worker.work.instancesStarted.Add(1)
				all.Go(func() { w.err = in.start(ctx, timeout) })
			case s.required:
				all.Go(func() { w.err = in.startAgain(ctx, timeout) })
			default:
				w.err = cmp.Or(in.startError(), errNotStarted)
			}
		}
		if !unready {
			chain.started.Store(true)
		}
	}
	all.Wait()
	for _, w := range waiting {
		in := w.step.instance
		switch {
		case w.err == nil:
		case w.step.required:
			c.problem(w.path, fmt.Sprintf("%s is required and has not started: %v", in.version, w.err), "")
		default:
			c.unstarted = append(c.unstarted, unstarted{in, Problem{
				Path: w.path, Message: fmt.Sprintf("%s has not started yet: %v", in.version, w.err),
				Remedy: "its requests are treated as its errors until it has; it is tried again",
			}})
		}
	}
}

// starting is a step whose instance has not started.
type starting struct {
	step *step
	path string
	err  error
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
