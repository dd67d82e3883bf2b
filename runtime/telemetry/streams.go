package telemetry

import (
	"sync"
	"sync/atomic"
)

// maxDetails bounds how many different details are told apart: a policy could make up
// a new reason for every request.
const maxDetails = 1000

// OtherDetails stands for details beyond that bound.
const OtherDetails = "other"

// Streams counts what the kernel does. The zero value is empty. Safe for concurrent
// use.
type Streams struct {
	// Started counts streams, and Failed those that ended with an error of the
	// engine or of the protocol, which Envoy answers with its own error.
	Started, Failed atomic.Uint64
	// Open is how many there are at this moment.
	Open atomic.Int64
	// TakenOver counts streams that went on elsewhere since a policy did not come
	// back.
	TakenOver atomic.Uint64
	// Panics counts faults of the engine's own.
	Panics atomic.Uint64
	// Parts are the times from a message to its answer, in the order of
	// [PartNames].
	Parts [PartCount]Latency

	// responses has a count (*atomic.Uint64) for each details.
	responses sync.Map
	different atomic.Int64
}

// PartCount is the number of parts of an exchange that the proxy tells of.
const PartCount = 6

// PartNames are the names of the parts of an exchange.
var PartNames = [PartCount]string{
	"request_headers", "response_headers", "request_body",
	"response_body", "request_trailers", "response_trailers",
}

// Responded counts an immediate response by its details, such as
// policy_engine.jwt-validation@v2.0.0.JWT_EXPIRED.
func (s *Streams) Responded(details string) {
	n, known := s.responses.Load(details)
	if !known {
		if s.different.Load() >= maxDetails {
			details = OtherDetails
		}
		if n, known = s.responses.LoadOrStore(details, new(atomic.Uint64)); !known {
			s.different.Add(1)
		}
	}
	n.(*atomic.Uint64).Add(1)
}

// Responses calls yield with each details and its count, in no order.
func (s *Streams) Responses(yield func(details string, count uint64) bool) {
	s.responses.Range(func(k, v any) bool { return yield(k.(string), v.(*atomic.Uint64).Load()) })
}
