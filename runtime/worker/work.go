package worker

import "sync/atomic"

// Work counts what configurations have cost. It is in proportion to what changes from
// one to the next.
type Work struct {
	// ChainsCompiled and ChainsReused are chains that were compiled, and that were
	// taken over as they are from the configuration before.
	ChainsCompiled, ChainsReused uint64
	// ChainsDropped are chains of which a new configuration that took effect has not
	// taken over what they were.
	ChainsDropped uint64
	// InstancesMade are calls of a policy's New, and InstancesStarted calls of Start
	// for a configuration that takes effect.
	InstancesMade, InstancesStarted uint64
}

type work struct {
	chainsCompiled, chainsReused, chainsDropped, instancesMade, instancesStarted atomic.Uint64
}

// Work returns the counts since the worker was made.
func (w *Worker) Work() Work {
	return Work{
		ChainsCompiled: w.work.chainsCompiled.Load(), ChainsReused: w.work.chainsReused.Load(), ChainsDropped: w.work.chainsDropped.Load(),
		InstancesMade: w.work.instancesMade.Load(), InstancesStarted: w.work.instancesStarted.Load(),
	}
}
