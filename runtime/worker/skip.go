package worker

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policy/apply"
)

// A policy may let a request go on without the steps behind it (policy.SkipRest). That is a
// hole by design, so that it takes three consents: the policy's code answers it and declares
// that it may, and the configuration marks each step that may be left out. A step is left out as
// a whole or not at all, so that no policy runs by halves.

var errSkipUnsaid = errors.New("the policy skips the rest of the chain without implementing policy.Skipper")

// maySkip reports whether the step may be marked as skippable, or adds the problem.
func (b *chainBuilder) maySkip(path string, s *step) bool {
	switch {
	case s.onReject:
		b.problem(path, "a step of onReject is never skipped", "leave it out")
	case len(s.instance.owned) > 0:
		b.problem(path, fmt.Sprintf("%s owns request headers that upstreams trust (%s), so that it has to run", s.instance.version, strings.Join(s.instance.owned, ", ")),
			"leave it out")
	case !s.instance.phases.HasRequest():
		b.problem(path, fmt.Sprintf("%s acts on responses alone, and only the rest of a request is skipped", s.instance.version), "leave it out")
	default:
		return true
	}
	return false
}

// skipRest lets the request go on without the steps behind s that may be skipped.
func (r *run) skipRest(s *step, m *policy.SkipRest, a *Answer) error {
	if err := apply.CheckSkip(r.phase, m); err != nil {
		return err
	}
	if !s.instance.skips {
		return errSkipUnsaid
	}
	changes := ""
	if m.Mutation != nil {
		if !r.shadows(s) {
			if err := s.checked.Request(&r.x, r.phase, m.Mutation); err != nil {
				return err
			}
		}
		if r.decision != nil {
			changes = summariseRequest(m.Mutation)
		}
	}
	r.observe(s, telemetry.SkippedRest, a.Took)
	r.note(s, telemetry.SkippedRest, a, changes, m.Reason)
	if r.shadows(s) {
		r.disagree(s)
		return nil
	}
	for _, o := range r.chain.steps[s.index+1:] {
		if o.exempt && r.decided[o.index] == ConditionUnknown {
			r.decided[o.index] = PassedOver
			r.observe(o, telemetry.PassedOver, 0)
			r.notePassedOver(o, s, m.Reason)
		}
	}
	return nil
}

// notePassedOver adds a step that was skipped to the decision record.
func (r *run) notePassedOver(o, by *step, reason string) {
	if r.decision == nil {
		return
	}
	before := len(r.decision.Steps)
	r.note(o, telemetry.PassedOver, &Answer{At: time.Duration(r.now - r.began)}, "", reason)
	if len(r.decision.Steps) > before {
		r.decision.Steps[before].SkippedBy = by.id
	}
}
