// Package setheader sets, appends and removes headers of requests and responses, with
// fixed values and with values from templates.
package setheader

import (
	"context"
	"errors"

	"policyengine.dev/policies/set-header/internal/edits"
	"policyengine.dev/sdk/expr"
	"policyengine.dev/sdk/expr/input"
	"policyengine.dev/sdk/policy"
)

// Policy is set-header v1.1.0.
var Policy = policy.Define(New)

// Params are the policy's parameters: see policy.yaml.
type Params struct {
	Request  edits.Params `json:"request"`
	Response edits.Params `json:"response"`
}

// SetHeader changes headers.
type SetHeader struct {
	clock             policy.Clock
	request, response *edits.Edits
	// fixedRequest and fixedResponse are the changes where they are always the
	// same, and nil where they are not.
	fixedRequest  *policy.RequestMutation
	fixedResponse *policy.ResponseMutation
}

// New reports every problem at once, each with its path.
func New(p Params, host policy.Host) (*SetHeader, error) {
	request, reqErr := edits.Compile("request", p.Request, expr.Deny(expr.ScopeResponse, "the response has not come yet"))
	response, respErr := edits.Compile("response", p.Response)
	if err := errors.Join(reqErr, respErr); err != nil {
		return nil, err
	}
	if request.IsZero() && response.IsZero() {
		return nil, errors.New("nothing to do: give set, append or remove under request or response")
	}
	s := &SetHeader{clock: host.Clock, request: request, response: response}
	if m, fixed := request.Fixed(); fixed {
		s.fixedRequest = &policy.RequestMutation{Headers: m}
	}
	if m, fixed := response.Fixed(); fixed {
		s.fixedResponse = &policy.ResponseMutation{Headers: m}
	}
	return s, nil
}

// ActivePhases implements policy.PhaseChooser: the proxy is asked for a direction
// only where there is something to change in it.
func (s *SetHeader) ActivePhases() policy.PhaseSet {
	var phases policy.PhaseSet
	if !s.request.IsZero() {
		phases = phases.With(policy.RequestHeaders)
	}
	if !s.response.IsZero() {
		phases = phases.With(policy.ResponseHeaders)
	}
	return phases
}

// ReadsAttributes implements policy.AttributeReader: templates say which they read.
func (s *SetHeader) ReadsAttributes() (request, response []string) {
	return s.request.Attributes(), s.response.Attributes()
}

// OnRequestHeaders changes the request's headers.
func (s *SetHeader) OnRequestHeaders(_ context.Context, req *policy.RequestContext) (policy.RequestAction, error) {
	if s.fixedRequest != nil {
		return s.fixedRequest, nil
	}
	m, err := s.request.Evaluate(input.Request(req, s.clock.Now()))
	if err != nil {
		return nil, err
	}
	return &policy.RequestMutation{Headers: m}, nil
}

// OnResponseHeaders changes the response's headers.
func (s *SetHeader) OnResponseHeaders(_ context.Context, resp *policy.ResponseContext) (policy.ResponseAction, error) {
	if s.fixedResponse != nil {
		return s.fixedResponse, nil
	}
	m, err := s.response.Evaluate(input.Response(resp, s.clock.Now()))
	if err != nil {
		return nil, err
	}
	return &policy.ResponseMutation{Headers: m}, nil
}
