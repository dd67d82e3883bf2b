package telemetry

import (
	"sync/atomic"
	"time"

	"policyengine.dev/sdk/policy"
)

// StepOutcome is how one call of a policy ended.
type StepOutcome uint8

const (
	// Passed: the policy changed nothing.
	Passed StepOutcome = iota
	// Mutated: the policy changed the message, metadata or principal.
	Mutated
	// Responded: the policy answered in the upstream's place.
	Responded
	// Skipped: the policy's condition was false.
	Skipped
	// Errored: the policy or its condition could not decide.
	Errored
	// TimedOut: the policy did not decide in time.
	TimedOut
	// Panicked: the policy panicked.
	Panicked
	// Stalled: the policy was not called, since too many calls hang.
	Stalled
	// Canceled: the client went away, or the proxy gave the request up, before
	// the policy had decided.
	Canceled
	// SkippedRest: the policy let the request go on without the steps behind it that may be
	// skipped.
	SkippedRest
	// PassedOver: an earlier policy of the chain has skipped the step.
	PassedOver
	// StepOutcomeCount is the number of outcomes.
	StepOutcomeCount = iota
)

var stepOutcomeNames = [StepOutcomeCount]string{
	"pass", "mutate", "respond", "skip", "error", "timeout", "panic", "stalled", "canceled", "skip_rest", "passed_over",
}

// String is the outcome's name in metrics and records, such as "respond".
func (o StepOutcome) String() string {
	if int(o) < len(stepOutcomeNames) {
		return stepOutcomeNames[o]
	}
	return "unknown"
}

// LatencyBuckets are the upper bounds of latency histograms: a policy that only
// looks at headers takes less than ten microseconds, one that asks a server may
// take seconds.
var LatencyBuckets = [...]time.Duration{
	10 * time.Microsecond, 25 * time.Microsecond, 50 * time.Microsecond,
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second,
}

// Latency is a histogram over [LatencyBuckets]. The zero value is empty. Safe for
// concurrent use; one observation is two atomic additions, which is why it is not
// the metrics library's own.
type Latency struct {
	sum     atomic.Int64
	buckets [len(LatencyBuckets) + 1]atomic.Uint64
}

// Observe counts one duration.
func (l *Latency) Observe(d time.Duration) {
	i := 0
	for i < len(LatencyBuckets) && d > LatencyBuckets[i] {
		i++
	}
	l.buckets[i].Add(1)
	l.sum.Add(int64(d))
}

// Read returns how many observations there were, their sum, and for each bucket
// how many were at most its bound (cumulative). The three are read one after the
// other, not at one instant.
func (l *Latency) Read() (count uint64, sum time.Duration, cumulative [len(LatencyBuckets)]uint64) {
	for i := range l.buckets {
		count += l.buckets[i].Load()
		if i < len(cumulative) {
			cumulative[i] = count
		}
	}
	return count, time.Duration(l.sum.Load()), cumulative
}

// Step counts what one step of a chain does. The zero value is empty, and small: what a phase counts is made when the
// step first acts in it. Safe for concurrent use.
type Step struct {
	phases [policy.PhaseCount]atomic.Pointer[stepPhase]
	// Disagreements counts calls in shadow mode that, enforced, would have
	// changed or ended the request.
	Disagreements atomic.Uint64
	// Abandoned is how many calls have not returned at this moment.
	Abandoned atomic.Int64
}

// stepPhase is what a step counts in one phase. What a call of the usual kind adds to (passed or changed, in about ten
// microseconds) is in one cache line, the second: over many chains each line is fetched from memory.
type stepPhase struct {
	_        [8]byte
	outcomes [StepOutcomeCount]atomic.Uint64
	latency  Latency
	_        [32]byte // a multiple of cache lines, which the allocator then aligns
}

// count is where an outcome is counted: those that begin the list of outcomes come last.
func (p *stepPhase) count(o StepOutcome) *atomic.Uint64 {
	return &p.outcomes[(int(o)+StepOutcomeCount-2)%StepOutcomeCount]
}

// Observe counts one call, or one skipped. It allocates when it is called for the first time for a phase.
func (s *Step) Observe(phase policy.Phase, outcome StepOutcome, took time.Duration) {
	p := s.phases[phase].Load()
	if p == nil {
		p = s.first(phase)
	}
	p.count(outcome).Add(1)
	if outcome != Skipped && outcome != Stalled && outcome != PassedOver {
		p.latency.Observe(took)
	}
}

// first makes what a phase counts, unless another call has done so a moment ago.
func (s *Step) first(phase policy.Phase) *stepPhase {
	s.phases[phase].CompareAndSwap(nil, new(stepPhase))
	return s.phases[phase].Load()
}

// Outcomes is how many calls of the phase ended so.
func (s *Step) Outcomes(phase policy.Phase, outcome StepOutcome) uint64 {
	if p := s.phases[phase].Load(); p != nil {
		return p.count(outcome).Load()
	}
	return 0
}

// Latency is the phase's histogram, or nil where the step has not acted in it.
func (s *Step) Latency(phase policy.Phase) *Latency {
	if p := s.phases[phase].Load(); p != nil {
		return &p.latency
	}
	return nil
}

// Used reports whether the step has counted anything in the phase.
func (s *Step) Used(phase policy.Phase) bool { return s.phases[phase].Load() != nil }
