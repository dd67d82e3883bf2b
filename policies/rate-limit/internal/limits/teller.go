package limits

import (
	"context"
	"time"

	"policyengine.dev/sdk/policy"
)

// Teller tells clients about their limits. A policy embeds it: it is the response phase of
// all versions. It is immutable and safe for concurrent use.
type Teller struct {
	answers *Answers
	// policyField is RateLimit-Policy; "" where it is never sent.
	policyField string
	// always says that every response has the fields.
	always bool
	// fieldKey is the metadata's key under which the response's RateLimit waits.
	fieldKey string
}

// NewTeller returns the teller of a step with these limits. responseHeaders is the
// parameter of that name.
func NewTeller(all []Limit, responseHeaders string) Teller {
	t := Teller{answers: NewAnswers(), always: responseHeaders == "always", fieldKey: "rate-limit"}
	if responseHeaders != "never" {
		t.policyField = PolicyField(all)
	}
	for _, l := range all {
		t.fieldKey += "/" + l.Name
	}
	return t
}

// ActivePhases implements policy.PhaseChooser: the response is shown only where it gets
// the fields.
func (t *Teller) ActivePhases() policy.PhaseSet {
	if t.always && t.policyField != "" {
		return policy.Phases(policy.RequestHeaders, policy.ResponseHeaders)
	}
	return policy.Phases(policy.RequestHeaders)
}

// NoKey is the answer to a request that lacks a part of the key.
func (t *Teller) NoKey() policy.RequestAction { return t.answers.NoKey() }

// TellsAll reports whether a request that passes needs the value of RateLimit.
func (t *Teller) TellsAll() bool { return t.always && t.policyField != "" }

// Passed leaves the value of RateLimit where the response phase finds it.
func (t *Teller) Passed(value []byte) policy.RequestAction {
	if !t.TellsAll() || len(value) == 0 {
		return nil
	}
	return &policy.RequestMutation{Metadata: []policy.Entry{{Key: t.fieldKey, Value: string(value)}}}
}

// Refused is the answer to a request that is to be tried again after wait, or never where
// that is negative.
func (t *Teller) Refused(wait time.Duration, value []byte) policy.RequestAction {
	return t.answers.Limited(wait, Fields(t.policyField, value)...)
}

// Longer is the longer of two waits. A negative one is for ever.
func Longer(a, b time.Duration) time.Duration {
	if a < 0 || b < 0 {
		return -1
	}
	return max(a, b)
}

// OnResponseHeaders tells the client what is left. A request that the step's condition
// ruled out has no fields.
func (t *Teller) OnResponseHeaders(_ context.Context, resp *policy.ResponseContext) (policy.ResponseAction, error) {
	v, _ := resp.Metadata(t.fieldKey)
	value, _ := v.(string)
	fields := Fields(t.policyField, []byte(value))
	if fields == nil {
		return nil, nil
	}
	return &policy.ResponseMutation{Headers: policy.HeaderMutation{Append: fields}}, nil
}
