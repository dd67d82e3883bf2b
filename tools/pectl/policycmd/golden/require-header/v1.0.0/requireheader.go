// Package requireheader passes requests that have a certain header, and refuses all others.
//
// `pectl policy new` wrote it as a starting point: change it into your policy.
package requireheader

import (
	"context"
	"fmt"

	"policyengine.dev/sdk/policy"
)

// Policy is require-header v1.0.0. A bundle's registry names it.
var Policy = policy.Define(New)

// ReasonMissing is the reason of the answer to a request without the header.
const ReasonMissing = "HEADER_MISSING"

// Params are the policy's parameters: policy.yaml describes them.
type Params struct {
	Header policy.HeaderName `json:"header"`
	Status int               `json:"status"`
	Mark   policy.HeaderName `json:"mark"`
}

// RequireHeader is the policy with its parameters. One instance serves many requests at
// the same time.
type RequireHeader struct {
	header  string
	missing *policy.ImmediateResponse
	passed  *policy.RequestMutation
}

// New checks the parameters and prepares both answers, so that a request allocates
// nothing. It does no I/O.
func New(p Params, _ policy.Host) (*RequireHeader, error) {
	v := &RequireHeader{
		header:  string(p.Header),
		missing: policy.Reject(p.Status, ReasonMissing, fmt.Sprintf("The header %s is required.", p.Header)),
	}
	if p.Mark != "" {
		if err := policy.CheckHeaderEdit(string(p.Mark)); err != nil {
			return nil, fmt.Errorf("mark: %q %w", p.Mark, err)
		}
		mark := policy.Header{Name: string(p.Mark), Value: "true"}
		v.passed = &policy.RequestMutation{Headers: policy.HeaderMutation{Set: []policy.Header{mark}}}
	}
	return v, nil
}

// OnRequestHeaders refuses requests without the header, and marks the others.
func (v *RequireHeader) OnRequestHeaders(_ context.Context, req *policy.RequestContext) (policy.RequestAction, error) {
	if req.Header(v.header) == "" {
		return v.missing, nil
	}
	if v.passed == nil {
		return nil, nil
	}
	return v.passed, nil
}
