// Package setheader sets, appends and removes headers of requests and responses.
package setheader

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"policyengine.dev/sdk/policy"
)

// Policy is set-header v1.0.0.
var Policy = policy.Define(New)

// Params are the policy's parameters: see policy.yaml.
type Params struct {
	Request  Edits `json:"request"`
	Response Edits `json:"response"`
}

// Edits is what is done to one header list, in the order of the fields.
type Edits struct {
	Remove []policy.HeaderName `json:"remove"`
	Set    []Header            `json:"set"`
	Append []Header            `json:"append"`
}

// Header is one header to write.
type Header struct {
	Name  policy.HeaderName  `json:"name"`
	Value policy.HeaderValue `json:"value"`
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
	request, reqErr := prepare("request", p.Request)
	response, respErr := prepare("response", p.Response)
	if err := errors.Join(reqErr, respErr); err != nil {
		return nil, err
	}
	s := &SetHeader{}
	if !request.IsZero() {
		s.request = &policy.RequestMutation{Headers: request}
	}
	if !response.IsZero() {
		s.response = &policy.ResponseMutation{Headers: response}
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

func prepare(where string, e Edits) (m policy.HeaderMutation, err error) {
	var problems []error
	check := func(list string, i int, name policy.HeaderName) {
		if err := policy.CheckHeaderEdit(string(name)); err != nil {
			problems = append(problems, fmt.Errorf("%s.%s[%d]: %q %w", where, list, i, name, err))
		}
	}
	for i, name := range e.Remove {
		check("remove", i, name)
		if slices.Contains(e.Remove[:i], name) {
			problems = append(problems, fmt.Errorf("%s.remove[%d]: %q is removed already", where, i, name))
		}
		m.Remove = append(m.Remove, string(name))
	}
	for i, h := range e.Set {
		check("set", i, h.Name)
		if slices.ContainsFunc(e.Set[:i], func(o Header) bool { return o.Name == h.Name }) {
			problems = append(problems, fmt.Errorf("%s.set[%d]: %q is set already; a second value goes under append", where, i, h.Name))
		}
		m.Set = append(m.Set, policy.Header{Name: string(h.Name), Value: string(h.Value)})
	}
	for i, h := range e.Append {
		check("append", i, h.Name)
		m.Append = append(m.Append, policy.Header{Name: string(h.Name), Value: string(h.Value)})
	}
	return m, errors.Join(problems...)
}
