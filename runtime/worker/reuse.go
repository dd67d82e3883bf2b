package worker

import (
	"slices"

	"policyengine.dev/runtime/telemetry"
)

// What has not changed from one configuration to the next is used again: whole chains,
// else the instances and the metrics of their steps. A compilation holds the configuration
// that was in force when it began, so that nothing of it is closed meanwhile.

// take returns the chain in force of that name and content, or nil. It is the new
// snapshot's too from here on. Worker.mu is locked.
func (c *compilation) take(name string, digest Digest) *Chain {
	if c.before == nil {
		return nil
	}
	chain := c.before.byName[name]
	if chain == nil || chain.digest != digest {
		return nil
	}
	if _, twice := c.at[chain]; twice {
		return nil // a problem, and not two uses of the chain
	}
	chain.snapshots++
	c.worker.work.chainsReused.Add(1)
	c.reused++
	return chain
}

// share returns the instance that is in force at a place in the chain, where it is of this
// version and has these parameters. It is the new chain's too from here on.
func (b *chainBuilder) share(id string, v *Version, params string) *instance {
	in := b.old.instance(id)
	if in == nil || in.version != v || in.params != params {
		return nil
	}
	if !slices.Contains(b.chain.instances, in) {
		b.worker.mu.Lock()
		in.chains++
		b.worker.mu.Unlock()
		b.chain.instances = append(b.chain.instances, in)
	}
	return in
}

// stepMetrics returns the metrics of a step, the same ones over reloads for as long as
// its version and mode stay.
func (b *chainBuilder) stepMetrics(s *step) *telemetry.Step {
	switch b.chain.detail {
	case RouteDetail:
		return b.worker.metricsTogether(countedTogether{s.instance.version, s.mode})
	case ChainDetail:
		for _, o := range b.chain.steps {
			if o.countedWith(s) {
				return o.metrics
			}
		}
	}
	if b.old != nil {
		for _, o := range b.old.steps {
			if o.countedWith(s) && (b.chain.detail == ChainDetail || o.id == s.id && o.onReject == s.onReject) {
				return o.metrics
			}
		}
	}
	return new(telemetry.Step)
}

// countedWith reports whether two steps of one chain are counted alike but for their ids.
func (s *step) countedWith(o *step) bool {
	return s.instance.version.Name == o.instance.version.Name && s.instance.version.Version == o.instance.version.Version && s.mode == o.mode
}

// countedTogether is what steps have in common that are counted together.
type countedTogether struct {
	version *Version
	mode    Mode
}

func (w *Worker) metricsTogether(key countedTogether) *telemetry.Step {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := w.together[key]
	if m == nil {
		if w.together == nil {
			w.together = map[countedTogether]*telemetry.Step{}
		}
		m = new(telemetry.Step)
		w.together[key] = m
	}
	return m
}

// instance returns the instance of the step with the id, or nil.
func (c *Chain) instance(id string) *instance {
	if c == nil {
		return nil
	}
	for _, in := range c.instances {
		if in.id == id {
			return in
		}
	}
	return nil
}

// dropped are the chains in force that the compilation has not taken over.
func (c *compilation) dropped() (gone []*Chain) {
	if c.before == nil {
		return nil
	}
	for _, chain := range c.before.chains {
		if _, reused := c.at[chain]; !reused {
			gone = append(gone, chain)
		}
	}
	return gone
}

// use counts the instances of chains that come into force, or go.
func (w *Worker) use(chains []*Chain, by int) {
	if w.inUse == nil {
		w.inUse = map[*Version]int{}
	}
	for _, chain := range chains {
		for _, in := range chain.instances {
			if w.inUse[in.version] += by; w.inUse[in.version] == 0 {
				delete(w.inUse, in.version)
			}
		}
	}
}

// InUse calls yield with each policy version of which the configuration in force has an instance. It is called by
// whoever calls Update, and not at the same time.
func (w *Worker) InUse(yield func(v *Version) bool) {
	for v := range w.inUse {
		if !yield(v) {
			return
		}
	}
}

// forget tells of the places in chains at which what is in force has no instance of that version.
func (w *Worker) forget(chains []*Chain, inForce *Snapshot) {
	if w.options.Forget == nil {
		return
	}
	for _, chain := range chains {
		var now *Chain
		if inForce != nil {
			now = inForce.byName[chain.name]
		}
		if now == chain {
			continue
		}
		for _, in := range chain.instances {
			if kept := now.instance(in.id); kept == nil || kept.version != in.version {
				w.options.Forget(in.chain, in.id, in.version)
			}
		}
	}
}

// drop ends the use of chains by a snapshot, and returns the instances that no chain has
// any more. They are to be closed.
func (w *Worker) drop(chains []*Chain) (ended []*instance) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, chain := range chains {
		if chain.snapshots--; chain.snapshots > 0 {
			continue
		}
		for _, in := range chain.instances {
			if in.chains--; in.chains == 0 {
				ended = append(ended, in)
			}
		}
	}
	return ended
}
