package negotiate_test

import (
	"testing"

	"policyengine.dev/runtime/extproc/negotiate"
)

// TestExpressions proves that an expression has to match a whole name, and that what
// is disallowed is not allowed by the other.
func TestExpressions(t *testing.T) {
	e, err := negotiate.NewExpressions("x-.*|:method", "x-closed|y")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][2]bool{
		"x-open": {true, true}, ":method": {true, true}, "a-x-open": {}, ":methods": {},
		"x-closed": {false, true}, "y": {false, true}, "x-closed-not": {true, true}, "yes": {},
	} {
		if allowed, decided := e.Decide(name); [2]bool{allowed, decided} != want {
			t.Errorf("%s: allowed %v, decided %v, want %v", name, allowed, decided, want)
		}
	}
	if _, decided := new(negotiate.Expressions).Decide("x-a"); decided {
		t.Error("no expressions decide")
	}
}

func TestRefusedExpressions(t *testing.T) {
	for _, c := range [][2]string{{"(", ""}, {"", "a**"}} {
		if _, err := negotiate.NewExpressions(c[0], c[1]); err == nil {
			t.Errorf("%q are accepted", c)
		}
	}
}
