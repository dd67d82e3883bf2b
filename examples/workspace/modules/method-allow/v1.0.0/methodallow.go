// Package methodallow refuses requests whose method is not in a list.
package methodallow

import (
	"context"
	_ "embed"
	"slices"

	"policyengine.dev/sdk/policy"
)

// Definition is policy.yaml. A policy that comes as a Go module embeds it, so that bundles find it.
//
//go:embed policy.yaml
var Definition string

// Policy is method-allow v1.0.0.
var Policy = policy.Define(New)

// ReasonMethod is the reason of a refusal.
const ReasonMethod = "METHOD_NOT_ALLOWED"

// Params are the policy's parameters. See policy.yaml.
type Params struct {
	Methods []string `json:"methods"`
}

// MethodAllow is safe for concurrent use.
type MethodAllow struct {
	methods []string
	refusal *policy.ImmediateResponse
}

// New returns an instance.
func New(p Params, _ policy.Host) (*MethodAllow, error) {
	return &MethodAllow{p.Methods, policy.Reject(405, ReasonMethod, "This method is not allowed.")}, nil
}

// OnRequestHeaders refuses a request whose method is not in the list.
func (m *MethodAllow) OnRequestHeaders(_ context.Context, req *policy.RequestContext) (policy.RequestAction, error) {
	if !slices.Contains(m.methods, req.Method()) {
		return m.refusal, nil
	}
	return nil, nil
}
