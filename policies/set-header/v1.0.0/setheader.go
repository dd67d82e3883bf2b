// Package setheader sets, appends and removes headers of requests and responses.
package setheader

import (
	"context"
	"errors"

	"policyengine.dev/policies/set-header/internal/edits"
	"policyengine.dev/sdk/policy"
)

// Policy is set-header v1.0.0.
var Policy = policy.Define(New)

// Params are the policy's parameters: see policy.yaml.
type Params struct {
	Request  edits.Params `json:"request"`
	Response edits.Params `json:"response"`
}

// SetHeader answers every message with the same prepared mutation.
type SetHeader struct {
	request  *policy.RequestMutation
	response *policy.ResponseMutation
}

// New refuses, with every problem at once: headers that a policy may not change
// (see policy.CheckHeaderEdit), a header that is set twice or removed twice, and
// parameters that change nothing.
func New(p Params, _ policy.Host) (*SetHeader, error) {
	request, reqErr := edits.Compile("request", p.Request)
	response, respErr := edits.Compile("response", p.Response)
	if err := errors.Join(reqErr, respErr); err != nil {
		return nil, err
	}
	s := &SetHeader{}
	if m, _ := request.Fixed(); !m.IsZero() {
		s.request = &policy.RequestMutation{Headers: m}
	}
	if m, _ := response.Fixed(); !m.IsZero() {
		s.response = &policy.ResponseMutation{Headers: m}
	}
	if s.request == nil && s.response == nil {
		return nil, errors.New("nothing to do: give set, append or remove under request or response")
	}
	return s, nil
}

// ActivePhases implements policy.PhaseChooser: the proxy is asked for a direction
// only where there is something to change in it.
func (s *SetHeader) ActivePhases() policy.PhaseSet {
	var phases policy.PhaseSet
	if s.request != nil {
		phases = phases.With(policy.RequestHeaders)
	}
	if s.response != nil {
		phases = phases.With(policy.ResponseHeaders)
	}
	return phases
}

// OnRequestHeaders changes the request's headers.
func (s *SetHeader) OnRequestHeaders(context.Context, *policy.RequestContext) (policy.RequestAction, error) {
	if s.request == nil {
		return nil, nil
	}
	return s.request, nil
}

// OnResponseHeaders changes the response's headers.
func (s *SetHeader) OnResponseHeaders(context.Context, *policy.ResponseContext) (policy.ResponseAction, error) {
	if s.response == nil {
		return nil, nil
	}
	return s.response, nil
}
