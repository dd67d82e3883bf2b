package kernel

import "policyengine.dev/runtime/worker"

// Source has the configuration in force. Safe for concurrent use.
type Source interface {
	// Acquire returns the newest valid configuration, or nil before the first.
	// It stays usable until it is released.
	Acquire() Snapshot
}

// Snapshot is one configuration. It is immutable and safe for concurrent use.
type Snapshot interface {
	// Version names the configuration.
	Version() string
	// Release ends the use that Acquire began. It is called once.
	Release()
	// Chain returns the chain of the route, and whether the route has one.
	Chain(route string) (Chain, bool)
	// Begin returns an executor for one exchange on a chain of the snapshot.
	Begin(c Chain) worker.Executor
	// BeginShadow returns one whose answers count for nothing.
	BeginShadow(c Chain) worker.Executor
	// OnUnknownRoute says what becomes of a request on this route, which has no chain.
	OnUnknownRoute(route string) worker.UnknownRoute
}

// Chain is the policies of a route. It is immutable and safe for concurrent use, and
// several snapshots may have it.
type Chain interface {
	// Needs is what the chain has to see.
	Needs() worker.Needs
}
