package telemetry

import (
	"strings"
	"sync"
	"sync/atomic"
)

// A policy could make up a new reason for every request. maxDetails bounds how many
// different details are told apart, and maxOfPolicy those of one policy, so that it
// does not crowd out the others'.
const (
	maxDetails  = 2000
	maxOfPolicy = 100
)

// OtherDetails stands for details beyond these bounds: by itself, or as the reason of
// the policy that has too many.
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
	// Contradictions counts requests that have shown that a filter does not do what
	// is said of it.
	Contradictions atomic.Uint64
	// Parts are the times from a message to its answer, in the order of
	// [PartNames].
	Parts [PartCount]Latency
	// Refusals are the requests and responses that the engine refused by itself,
	// with no policy to blame, by their cause.
	Refusals Causes

	// responses has a count (*atomic.Uint64) for each details.
	responses sync.Map
	// mu guards what bounds them: how many details there are, of each policy
	// (what its details begin with) and altogether.
	mu        sync.Mutex
	ofPolicy  map[string]int
	different int
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
		n = s.first(details)
	}
	n.(*atomic.Uint64).Add(1)
}

// first returns the count for details that have none.
func (s *Streams) first(details string) any {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n, known := s.responses.Load(details); known {
		return n // since a moment ago
	}
	of := policyOf(details)
	if s.ofPolicy[of] >= maxOfPolicy {
		details = of + OtherDetails
	}
	if s.different >= maxDetails {
		details = OtherDetails
	}
	n, known := s.responses.LoadOrStore(details, new(atomic.Uint64))
	if !known {
		if s.ofPolicy == nil {
			s.ofPolicy = map[string]int{}
		}
		s.ofPolicy[policyOf(details)]++
		s.different++
	}
	return n
}

// policyOf is what the details of all answers of a policy begin with.
func policyOf(details string) string { return details[:strings.LastIndexByte(details, '.')+1] }

// KeepResponses drops the counts of the policies for which keep is false. It is asked
// with what a policy's details begin with, up to the reason.
func (s *Streams) KeepResponses(keep func(policy string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for details := range s.Responses {
		if of := policyOf(details); !keep(of) {
			s.responses.Delete(details)
			s.different--
			if s.ofPolicy[of]--; s.ofPolicy[of] == 0 {
				delete(s.ofPolicy, of)
			}
		}
	}
}

// Responses calls yield with each details and its count, in no order.
func (s *Streams) Responses(yield func(details string, count uint64) bool) {
	s.responses.Range(func(k, v any) bool { return yield(k.(string), v.(*atomic.Uint64).Load()) })
}
