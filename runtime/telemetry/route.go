package telemetry

import "sync/atomic"

// Route counts the requests on one route. The zero value is empty. Safe for concurrent
// use.
type Route struct {
	// Answered are requests that were answered in the upstream's place, Passed
	// the others.
	Answered, Passed atomic.Uint64
}

// Observe counts one request.
func (r *Route) Observe(answered bool) {
	if answered {
		r.Answered.Add(1)
	} else {
		r.Passed.Add(1)
	}
}
