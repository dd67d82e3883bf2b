package apply_test

import (
	"slices"
	"testing"

	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy/apply"
)

func TestOwnedHeaders(t *testing.T) {
	var h exchange.Headers
	h.Reset([]exchange.Field{
		{Name: "x-user", Value: "1"}, {Name: "accept", Value: "2"}, {Name: "x_user", Value: "3"}, {Name: "x-user", Value: "4"},
		{Name: "x-users", Value: "5"}, {Name: "x-role_s", Value: "6"}, {Name: "x+user", Value: "7"}, {Name: "xauser", Value: "8"},
	})
	owned := apply.NewOwnedHeaders([]string{"x-user", "x-role-s", "x-user"})
	if got := owned.Names(); !slices.Equal(got, []string{"x-role-s", "x-user"}) {
		t.Errorf("the names are %q", got)
	}
	owned.Remove(&h)
	var left []string
	for name := range h.All() {
		left = append(left, name)
	}
	if want := []string{"accept", "x-users", "x+user", "xauser"}; !slices.Equal(left, want) {
		t.Errorf("%q are left, want %q", left, want)
	}
	var touched []string
	for name := range h.Touched() {
		touched = append(touched, name)
	}
	// Each by the name that the client has sent, or the proxy would not find it.
	if want := []string{"x-user", "x_user", "x-role_s"}; !slices.Equal(touched, want) {
		t.Errorf("the proxy is told of %q, want %q", touched, want)
	}
}

func TestOwnedHeadersThatAreNotThereCostNothing(t *testing.T) {
	var h exchange.Headers
	h.Reset([]exchange.Field{{Name: "accept", Value: "*/*"}, {Name: "x-tier", Value: "free"}})
	owned := apply.NewOwnedHeaders([]string{"x-user", "x-name"})
	if n := testing.AllocsPerRun(100, func() { owned.Remove(&h) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if h.Changed() {
		t.Error("the list counts as changed")
	}
}
