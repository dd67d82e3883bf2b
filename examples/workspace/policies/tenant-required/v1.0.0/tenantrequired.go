// Package tenantrequired refuses requests that do not name a tenant.
package tenantrequired

import (
	"context"

	"policyengine.dev/sdk/policy"
)

// Policy is tenant-required v1.0.0.
var Policy = policy.Define(New)

// ReasonUnknown is the reason of a refusal.
const ReasonUnknown = "TENANT_UNKNOWN"

// Params are the policy's parameters. See policy.yaml.
type Params struct {
	Header  string   `json:"header"`
	Tenants []string `json:"tenants"`
}

// TenantRequired is safe for concurrent use.
type TenantRequired struct {
	header  string
	tenants map[string]bool
	refusal *policy.ImmediateResponse
}

// New returns an instance.
func New(p Params, _ policy.Host) (*TenantRequired, error) {
	t := &TenantRequired{
		header:  p.Header,
		tenants: make(map[string]bool, len(p.Tenants)),
		refusal: policy.Reject(403, ReasonUnknown, "The request does not name a known tenant."),
	}
	for _, name := range p.Tenants {
		t.tenants[name] = true
	}
	return t, nil
}

// OnRequestHeaders refuses a request whose header is absent, names no tenant or occurs twice.
func (t *TenantRequired) OnRequestHeaders(_ context.Context, req *policy.RequestContext) (policy.RequestAction, error) {
	if h := req.Headers(); h.Count(t.header) != 1 || !t.tenants[h.Get(t.header)] {
		return t.refusal, nil
	}
	return nil, nil
}
