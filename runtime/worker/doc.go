// Package worker runs chains of policies over exchanges. It knows nothing of the
// protocol by which a proxy asks: see package kernel for that.
//
// A [Registry] holds the policy versions that are compiled in. A [Worker] turns a
// [Spec] (chains and routes, already decoded) into a [Snapshot]: everything that can
// be computed is computed then, and every problem is reported at once. A snapshot is
// immutable; the newest valid one is swapped in atomically, and exchanges that began
// on an older one end on it.
//
// For each exchange the kernel acquires the snapshot, finds the route's [Chain], and
// drives an [Executor] through the phases.
package worker
