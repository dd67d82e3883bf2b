package telemetry

import "sync/atomic"

// RequestResult is what became of a request.
type RequestResult uint8

const (
	// RequestPassed: every policy of the chain that had to see the exchange has let
	// it pass.
	RequestPassed RequestResult = iota
	// RequestAnswered: the client was answered in the upstream's place.
	RequestAnswered
	// RequestCanceled: the exchange ended before the chain was done with it. The
	// client went away, or Envoy gave the request up or answered it itself.
	RequestCanceled
	// RequestResultCount is the number of results.
	RequestResultCount = iota
)

var requestResultNames = [RequestResultCount]string{"passed", "answered", "canceled"}

// String is the result's name in metrics, such as "passed".
func (r RequestResult) String() string {
	if int(r) < len(requestResultNames) {
		return requestResultNames[r]
	}
	return "unknown"
}

// Route counts the requests on one route. The zero value is empty. Safe for concurrent
// use.
type Route struct {
	results [RequestResultCount]atomic.Uint64
}

// Observe counts one request.
func (r *Route) Observe(result RequestResult) { r.results[result].Add(1) }

// Count is how many requests have had the result.
func (r *Route) Count(result RequestResult) uint64 { return r.results[result].Load() }
