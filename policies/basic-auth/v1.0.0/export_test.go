package basicauth

import (
	"slices"
	"testing"
)

// Occupy takes every slot for hashing until leave is called.
func Occupy(t testing.TB, b *BasicAuth) (leave func()) {
	t.Helper()
	n := cap(b.gate.slots)
	for range n {
		b.gate.slots <- struct{}{}
	}
	return func() {
		for range n {
			<-b.gate.slots
		}
	}
}

// Waiting is how many requests wait for a slot.
func Waiting(b *BasicAuth) int64 { return b.gate.waiting.Load() }

// DecoyCosts are the costs of what unknown users are compared with.
func DecoyCosts(t testing.TB, text string) (costs []string) {
	t.Helper()
	u, err := parseUsers(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range u.decoys {
		costs = append(costs, d.cost())
	}
	slices.Sort(costs)
	return costs
}

// ParseUsers parses a user file.
func ParseUsers(text string) error {
	_, err := parseUsers(text)
	return err
}
