package policytest_test

import (
	"context"
	"testing"

	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policytest"
)

// counter is what instances of sharer share.
type counter struct{ requests, closed int }

func (c *counter) Close() error { c.closed++; return nil }

type sharer struct{ counter *counter }

func newSharer(p struct{ Value string }, host policy.Host) (*sharer, error) {
	c, err := policy.Share(host, p.Value, func(policy.Host) (*counter, error) { return &counter{}, nil })
	return &sharer{c}, err
}

func (s *sharer) OnRequestHeaders(context.Context, *policy.RequestContext) (policy.RequestAction, error) {
	s.counter.requests++
	return nil, nil
}

// TestPoliciesOfOneHostShare proves that policies made with one host share as in the
// engine, that those of two hosts do not, and that Shared is empty once they are closed.
func TestPoliciesOfOneHostShare(t *testing.T) {
	host := policytest.NewHost()
	definition := policytest.WithDefinition("testdata/sharer/v1.0.0/policy.yaml")
	build := policy.Define(newSharer)
	a := policytest.New(t, build, "value: k", definition, policytest.WithHost(host))
	b := policytest.New(t, build, "value: k", definition, policytest.WithHost(host))
	c := policytest.New(t, build, "value: k", definition)
	shared := a.Instance.(*sharer).counter
	if b.Instance.(*sharer).counter != shared || c.Instance.(*sharer).counter == shared {
		t.Error("policies of one host do not share, or those of two hosts do")
	}
	if err := a.Close(); err != nil || shared.closed != 0 || host.Shared.Len() != 1 {
		t.Errorf("one is closed: %v, closed %d times, %d resources", err, shared.closed, host.Shared.Len())
	}
	if err := b.Close(); err != nil || shared.closed != 1 || host.Shared.Len() != 0 {
		t.Errorf("both are closed: %v, closed %d times, %d resources", err, shared.closed, host.Shared.Len())
	}
}
