package telemetry

import "sync/atomic"

// Traces counts exchanges by what became of their spans. The zero value is empty. Safe
// for concurrent use.
type Traces struct {
	// Sent: the collector has taken them. Failed: it could not be reached or
	// refused them. Dropped: they were not sent, since it did not keep up. Those
	// that are not sampled are in none.
	Sent, Failed, Dropped atomic.Uint64
}
