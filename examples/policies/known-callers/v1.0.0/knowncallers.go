// Package knowncallers skips later checks for certain callers.
package knowncallers

import (
	"context"

	"policyengine.dev/sdk/policy"
)

// Policy is known-callers v1.0.0.
var Policy = policy.Define(New)

// ReasonKnown is why the rest of the chain is skipped.
const ReasonKnown = "KNOWN_CALLER"

// Params are the policy's parameters, as policy.yaml describes them.
type Params struct {
	Subjects []string `json:"subjects"`
}

// KnownCallers checks the caller that an earlier policy authenticated.
type KnownCallers struct{ subjects map[string]bool }

// New prepares the set of subjects.
func New(p Params, _ policy.Host) (*KnownCallers, error) {
	k := &KnownCallers{subjects: make(map[string]bool, len(p.Subjects))}
	for _, s := range p.Subjects {
		k.subjects[s] = true
	}
	return k, nil
}

// SkipsSteps implements policy.Skipper: without it SkipRest would be an error.
func (k *KnownCallers) SkipsSteps() bool { return true }

var known = &policy.SkipRest{Reason: ReasonKnown}

// OnRequestHeaders skips the rest for those callers. For all others the later steps run.
func (k *KnownCallers) OnRequestHeaders(_ context.Context, req *policy.RequestContext) (policy.RequestAction, error) {
	if p := req.Principal(); p != nil && k.subjects[p.Subject] {
		return known, nil
	}
	return nil, nil
}
