package policytest

import (
	"iter"
	"slices"
	"sync"
	"testing"

	"policyengine.dev/sdk/exchange"
)

// lookups are the attributes that a policy has asked for. Safe for concurrent use.
type lookups struct {
	mu                sync.Mutex
	request, response map[string]bool
}

// watched are attributes whose lookups are noted.
type watched struct {
	exchange.Attributes // nil for none
	lookups             *lookups
	x                   *Exchange
}

// Lookup implements exchange.Attributes.
func (w watched) Lookup(name string) (any, bool) {
	w.lookups.mu.Lock()
	to := &w.lookups.request
	if w.x.answered {
		to = &w.lookups.response
	}
	if *to == nil {
		*to = map[string]bool{}
	}
	(*to)[name] = true
	w.lookups.mu.Unlock()
	if w.Attributes == nil {
		return nil, false
	}
	return w.Attributes.Lookup(name)
}

// All implements exchange.Attributes. It is for runtimes: a policy cannot call it.
func (w watched) All() iter.Seq2[string, any] {
	if w.Attributes == nil {
		return func(func(string, any) bool) {}
	}
	return w.Attributes.All()
}

// checkAttributes compares the attributes that the policy asks for with those that it
// declares: Envoy sends no others.
func checkAttributes(t testing.TB, c *conformance) {
	c.eachExample(t, func(s *subject) {
		seen := &lookups{}
		s.policy.config.lookups = seen
		g := s.hostile(1)
		for range hostileRounds {
			req, resp, _ := g.exchange()
			within(t, "a method", func() { _ = s.drive(s.policy, req, resp) }) // what goes wrong is for the other checks
		}
		declared := s.policy.reads
		for _, name := range sortedKeys(seen.request) {
			if !slices.Contains(declared.Request, name) {
				t.Errorf("%s: the policy reads the attribute %s in a request phase, and attributes.request of policy.yaml does not name it: Envoy would not send it", s, name)
			}
		}
		for _, name := range sortedKeys(seen.response) {
			if !slices.Contains(declared.Request, name) && !slices.Contains(declared.Response, name) {
				t.Errorf("%s: the policy reads the attribute %s in a response phase, and neither attributes.request nor attributes.response of policy.yaml names it: Envoy would not send it", s, name)
			}
		}
	})
}
