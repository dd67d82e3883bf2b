package worker_test

import (
	"slices"
	"testing"

	"policyengine.dev/runtime/worker"
)

// TestRoutesCanDeny proves that an entry that denies hides less specific patterns and is
// no chain's, and that a pattern that denies need not be ordered with others.
func TestRoutesCanDeny(t *testing.T) {
	w := newHarness(t, false)
	spec := worker.Spec{
		Version: "1", OnUnknownRoute: worker.ContinueUnknownRoute, Chains: []worker.ChainSpec{{Name: "c"}},
		Routes: []worker.RouteSpec{
			{Name: "**", Chain: "c"}, {Name: "a/*", Chain: "c"}, {Name: "*/b", Deny: true}, {Name: "x/y", Deny: true},
		},
	}
	if _, err := w.Update(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	s := w.Acquire()
	defer s.Release()
	for _, c := range []struct {
		route          string
		chain, denying bool
	}{
		{"x/y", false, true}, {"c/b", false, true}, {"a/b", true, false}, {"other", true, false},
	} {
		if _, ok := s.Chain(c.route); ok != c.chain || (s.OnUnknownRoute(c.route) == worker.DenyUnknownRoute) != c.denying {
			t.Errorf("%s: a chain %v, denied %v", c.route, ok, !c.denying)
		}
	}
	if got := slices.Sorted(s.DeniedRoutes); !slices.Equal(got, []string{"*/b", "x/y"}) || s.RouteCount() != 2 {
		t.Errorf("denied are %v, and %d routes have a chain", got, s.RouteCount())
	}
	for range 2 { // the second is an update over routes that deny
		spec.Routes[3] = worker.RouteSpec{Name: "x/y", Chain: "c"}
		if _, err := w.Update(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
	}
}
