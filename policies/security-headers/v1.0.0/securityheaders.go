// Package securityheaders sets the response headers that browsers read for
// protection, and removes headers that describe the server.
package securityheaders

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"policyengine.dev/sdk/policy"
)

// Policy is security-headers v1.0.0.
var Policy = policy.Define(New)

// Params are the policy's parameters: see policy.yaml. An empty value sends no header.
type Params struct {
	StrictTransportSecurity   string              `json:"strictTransportSecurity"`
	ContentSecurityPolicy     string              `json:"contentSecurityPolicy"`
	ContentTypeOptions        string              `json:"contentTypeOptions"`
	FrameOptions              string              `json:"frameOptions"`
	ReferrerPolicy            string              `json:"referrerPolicy"`
	CrossOriginResourcePolicy string              `json:"crossOriginResourcePolicy"`
	CrossOriginOpenerPolicy   string              `json:"crossOriginOpenerPolicy"`
	CrossOriginEmbedderPolicy string              `json:"crossOriginEmbedderPolicy"`
	PermissionsPolicy         string              `json:"permissionsPolicy"`
	CacheControl              string              `json:"cacheControl"`
	KeepUpstream              []policy.HeaderName `json:"keepUpstream"`
	Remove                    []policy.HeaderName `json:"remove"`
}

// SecurityHeaders answers every response with the same prepared mutation.
type SecurityHeaders struct {
	mutation *policy.ResponseMutation
}

// New reports every value that a browser would ignore, with the parameter's path.
func New(p Params, _ policy.Host) (*SecurityHeaders, error) {
	var problems []error
	var m policy.HeaderMutation
	for _, h := range []struct {
		parameter, name, value string
		check                  func(string) error
	}{
		{"strictTransportSecurity", "strict-transport-security", p.StrictTransportSecurity, checkTransportSecurity},
		{"contentSecurityPolicy", "content-security-policy", p.ContentSecurityPolicy, checkContentSecurity},
		{"contentTypeOptions", "x-content-type-options", p.ContentTypeOptions, nil},
		{"frameOptions", "x-frame-options", p.FrameOptions, nil},
		{"referrerPolicy", "referrer-policy", p.ReferrerPolicy, nil},
		{"crossOriginResourcePolicy", "cross-origin-resource-policy", p.CrossOriginResourcePolicy, nil},
		{"crossOriginOpenerPolicy", "cross-origin-opener-policy", p.CrossOriginOpenerPolicy, nil},
		{"crossOriginEmbedderPolicy", "cross-origin-embedder-policy", p.CrossOriginEmbedderPolicy, nil},
		{"permissionsPolicy", "permissions-policy", p.PermissionsPolicy, checkPermissions},
		{"cacheControl", "cache-control", p.CacheControl, checkCacheControl},
	} {
		if h.value == "" {
			continue
		}
		err := checkValue(h.value)
		if err == nil && h.check != nil {
			err = h.check(h.value)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", h.parameter, err))
			continue
		}
		field := policy.Header{Name: h.name, Value: h.value}
		if slices.Contains(p.KeepUpstream, policy.HeaderName(h.name)) {
			m.AddIfAbsent = append(m.AddIfAbsent, field)
		} else {
			m.Set = append(m.Set, field)
		}
	}
	for i, name := range p.Remove {
		path := fmt.Sprintf("remove[%d]", i)
		sets := func(h policy.Header) bool { return h.Name == string(name) }
		switch err := policy.CheckHeaderEdit(string(name)); {
		case err != nil:
			problems = append(problems, fmt.Errorf("%s: %q %w", path, name, err))
		case slices.Contains(p.Remove[:i], name):
			problems = append(problems, fmt.Errorf("%s: %q is listed already", path, name))
		case slices.ContainsFunc(m.Set, sets) || slices.ContainsFunc(m.AddIfAbsent, sets):
			problems = append(problems, fmt.Errorf("%s: %q is a header that this policy sends: set its parameter to \"\" to remove it", path, name))
		}
		m.Remove = append(m.Remove, string(name))
	}
	if len(problems) == 0 && m.IsZero() {
		problems = append(problems, errors.New("nothing to do: every header is off and remove is empty"))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return &SecurityHeaders{mutation: &policy.ResponseMutation{Headers: m}}, nil
}

// OnResponseHeaders changes the response's headers.
func (s *SecurityHeaders) OnResponseHeaders(context.Context, *policy.ResponseContext) (policy.ResponseAction, error) {
	return s.mutation, nil
}
