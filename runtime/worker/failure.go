package worker

import (
	"errors"

	"policyengine.dev/runtime/telemetry"
)

// FailureKind says in what way a step has failed. The zero value is [Unanswered].
type FailureKind uint8

const (
	// Unanswered: where the policy runs has given no answer, or one that makes no sense.
	Unanswered FailureKind = iota
	// ConditionError: the step's condition could not be evaluated.
	ConditionError
	// ConditionTooLarge: the request is larger than a condition may read.
	ConditionTooLarge
	// NotStarted: the policy's Start has not succeeded yet.
	NotStarted
	// Stalled: too many calls of the policy have not returned.
	Stalled
	// NoTime: nothing was left of the time for the phase. The policy was not called.
	NoTime
	// ReturnedError: the policy has returned an error.
	ReturnedError
	// Late: the policy has returned the error of its context, after its deadline.
	Late
	// Abandoned: the call has not returned in time.
	Abandoned
	// Panicked: the policy has panicked.
	Panicked
	// BadAction: the policy has returned what is no action, or cannot leave its process.
	BadAction
	failureKinds
)

// Failure is why a step could not decide.
type Failure struct {
	Kind FailureKind
	// Err says what was wrong. It is nil for NoTime: whoever has the whole chain knows
	// better what took the time.
	Err error
}

// failures says what each kind of failure counts as.
var failures = [failureKinds]struct {
	reason  Reason
	outcome telemetry.StepOutcome
	// moot is set where the failure means nothing if the stream has ended meanwhile.
	moot bool
}{
	Unanswered:        {PolicyError, telemetry.Errored, true},
	ConditionError:    {PolicyError, telemetry.Errored, false},
	ConditionTooLarge: {HeadersTooLarge, telemetry.Errored, false},
	NotStarted:        {PolicyError, telemetry.Errored, false},
	Stalled:           {PolicyStalled, telemetry.Stalled, false},
	NoTime:            {PolicyTimeout, telemetry.TimedOut, false},
	ReturnedError:     {PolicyError, telemetry.Errored, true},
	Late:              {PolicyTimeout, telemetry.TimedOut, true},
	Abandoned:         {PolicyTimeout, telemetry.TimedOut, false},
	Panicked:          {PolicyPanic, telemetry.Panicked, false},
	BadAction:         {PolicyError, telemetry.Errored, false},
}

var errUnanswered = errors.New("the policy returned no answer")

// NewFailure is a failure of which the text is known, and the stack of a panic.
func NewFailure(kind FailureKind, text string, stack []byte) Failure {
	if kind == Panicked {
		return Failure{kind, &panicError{text, stack}}
	}
	return Failure{kind, errors.New(text)}
}

// Stack is where a policy has panicked, or nil.
func (f Failure) Stack() []byte {
	if p, ok := f.Err.(*panicError); ok {
		return p.stack
	}
	return nil
}
