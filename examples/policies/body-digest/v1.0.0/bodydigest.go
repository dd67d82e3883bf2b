// Package bodydigest sends the upstream the SHA-256 hash of the request's body.
package bodydigest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"policyengine.dev/sdk/policy"
)

// Policy is body-digest v1.0.0.
var Policy = policy.Define(New)

// Params are the policy's parameters, as policy.yaml describes them.
type Params struct {
	Header policy.HeaderName `json:"header"`
}

// BodyDigest hashes bodies.
type BodyDigest struct{ header string }

// New refuses a header that a policy may not change.
func New(p Params, _ policy.Host) (*BodyDigest, error) {
	if err := policy.CheckHeaderEdit(string(p.Header)); err != nil {
		return nil, fmt.Errorf("header: %q %w", p.Header, err)
	}
	return &BodyDigest{header: string(p.Header)}, nil
}

// OnRequestBody sets the header. It is called once, even without a body.
func (d *BodyDigest) OnRequestBody(_ context.Context, req *policy.RequestContext) (policy.RequestAction, error) {
	sum := sha256.Sum256(req.Body())
	digest := policy.Header{Name: d.header, Value: hex.EncodeToString(sum[:])}
	return &policy.RequestMutation{Headers: policy.HeaderMutation{Set: []policy.Header{digest}}}, nil
}
