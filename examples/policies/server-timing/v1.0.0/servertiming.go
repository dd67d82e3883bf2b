// Package servertiming adds the upstream's time to the response.
package servertiming

import (
	"context"
	"strconv"
	"time"

	"policyengine.dev/sdk/policy"
)

// Policy is server-timing v1.0.0.
var Policy = policy.Define(New)

// Params are the policy's parameters, as policy.yaml describes them.
type Params struct {
	Metric string `json:"metric"`
}

// ServerTiming measures from the request's headers to the response's.
type ServerTiming struct {
	clock  policy.Clock
	prefix string
}

// timing is the state of the policy for one exchange.
type timing struct{ began time.Time }

// New prepares the beginning of the header.
func New(p Params, host policy.Host) (*ServerTiming, error) {
	return &ServerTiming{clock: host.Clock, prefix: p.Metric + ";dur="}, nil
}

// OnRequestHeaders stores the time. All requests share an instance, so what belongs to
// one request is kept in its state.
func (s *ServerTiming) OnRequestHeaders(_ context.Context, req *policy.RequestContext) (policy.RequestAction, error) {
	policy.State[timing](req).began = s.clock.Now()
	return nil, nil
}

// OnResponseHeaders adds the header.
func (s *ServerTiming) OnResponseHeaders(_ context.Context, resp *policy.ResponseContext) (policy.ResponseAction, error) {
	t, ok := policy.LookupState[timing](resp)
	if !ok {
		return nil, nil // the request was not seen
	}
	ms := s.clock.Now().Sub(t.began).Milliseconds()
	took := policy.Header{Name: "server-timing", Value: s.prefix + strconv.FormatInt(ms, 10)}
	return &policy.ResponseMutation{Headers: policy.HeaderMutation{Append: []policy.Header{took}}}, nil
}
