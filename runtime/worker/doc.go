// Package worker runs chains of policies over exchanges. It does not depend on the protocol
// of the proxy; see package kernel for that.
//
// A [Registry] holds the compiled-in policy versions. A [Worker] compiles a [Spec] (chains
// and routes, already decoded) into a [Snapshot], and reports every problem at once.
// Everything that can be computed is computed then. A snapshot is immutable. The newest
// valid one replaces the one in force atomically; exchanges that began on an older one
// finish on it.
//
// For each exchange the kernel acquires the snapshot, finds the route's [Chain], and drives
// an [Executor] through the phases.
package worker
