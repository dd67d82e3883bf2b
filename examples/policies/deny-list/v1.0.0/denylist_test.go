package denylist_test

import (
	"testing"

	denylist "policyengine.dev/examples/policies/deny-list/v1.0.0"
	"policyengine.dev/sdk/policytest"
)

func TestCases(t *testing.T) { policytest.Cases(t, denylist.Policy, "testdata/cases.yaml") }

// A list that is replaced counts at once, and one that cannot be read leaves the last.
func TestTheListIsReadAgain(t *testing.T) {
	host := policytest.NewHost()
	host.Files.Set("/list", "203.0.113.0/24\n")
	p := policytest.New(t, denylist.Policy, `file: /list`, policytest.WithHost(host))
	from := func(address string) *policytest.Exchange {
		return p.Send(t, policytest.Request{Attributes: map[string]any{"source.address": address}})
	}
	from("203.0.113.9:4711").WantRejected(t, 403, denylist.ReasonDenied)
	host.Files.Set("/list", "198.51.100.7\n")
	from("203.0.113.9:4711").WantPassed(t)
	from("198.51.100.7:1").WantRejected(t, 403, denylist.ReasonDenied)
	host.Files.Set("/list", "everybody\n")
	from("198.51.100.7:1").WantRejected(t, 403, denylist.ReasonDenied)
}
