package telemetry

import (
	"log/slog"
	"time"

	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

// Decision is what became of one exchange and why: at 3 a.m. it answers which
// policy turned a request away. It holds no header values, no parameters, no query
// and no body.
type Decision struct {
	Began time.Time
	// Config is the version of the configuration that the exchange ran on.
	Config string
	Route  string
	Chain  string
	Method string
	// Authority and Path identify the request; Path is without its query.
	Authority, Path string
	// RequestID is Envoy's x-request-id, or one that the engine has made.
	RequestID string
	// TraceParent and TraceState are the caller's trace context (W3C), or empty.
	TraceParent, TraceState string
	// Subject is the authenticated principal's, or empty.
	Subject string
	// Denied says that the engine answered; Status, Reason and Details are
	// those of the answer then.
	Denied          bool
	Status          int
	Reason, Details string
	// Cause says why the engine answered by itself: what was lacking, which route
	// was looked up, why a policy could not decide. CauseKind is the [Cause] that
	// it counts as; empty where a policy is to blame. Clients are told neither.
	Cause, CauseKind string
	// By is the policy that answered, or could not decide; empty where none is to
	// blame.
	By DecidedBy
	// Took is the time spent in the policies.
	Took  time.Duration
	Steps []StepDecision
}

// DecidedBy names a step in one phase.
type DecidedBy struct {
	// Policy is name and version, such as "jwt-validation@v2.0.0".
	ID, Policy, Phase string
}

// StepDecision is what one policy did in one phase.
type StepDecision struct {
	ID, Policy, Version string
	Phase               policy.Phase
	Shadow              bool
	// Condition is the step's condition as configured, or empty.
	Condition string
	Outcome   StepOutcome
	// At is when the step began, counted from the decision's Began.
	At, Took time.Duration
	// Changes summarises a mutation by names alone, such as "set x-tier,
	// remove authorization".
	Changes string
	// Reason is set where the step answered or failed.
	Reason string
	// Cause is what the policy says about its answer, or empty.
	Cause string
	// SkippedBy is the id of the step that has skipped this one, or empty. Reason is that step's
	// then.
	SkippedBy string
	// Annotations and Spans are what the policy has noted about the call: see
	// [exchange.Noted]. NotesDropped is how many of them were left out.
	Annotations  []slog.Attr
	Spans        []exchange.Span
	NotesDropped int
}

// Recorder receives decisions. It is called at the end of the exchange, on the
// stream's goroutine, so it must not block. The decision is the recorder's to keep.
type Recorder interface {
	Record(d *Decision)
}
