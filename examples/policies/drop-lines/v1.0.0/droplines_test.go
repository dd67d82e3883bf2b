package droplines_test

import (
	"strings"
	"testing"

	droplines "policyengine.dev/examples/policies/drop-lines/v1.0.0"
	"policyengine.dev/sdk/policytest"
)

func TestCases(t *testing.T) {
	policytest.Cases(t, droplines.Policy, "testdata/cases.yaml")
}

// TestPieces proves that it does not matter where a body is cut.
func TestPieces(t *testing.T) {
	const body, want = "one\nDEBUG: two\nthree\n\nfour DEBUG:", "one\nthree\n\n"
	p := policytest.New(t, droplines.Policy, `containing: "DEBUG:"`)
	for size := 1; size <= len(body); size++ {
		var pieces []string
		for rest := body; rest != ""; {
			n := min(size, len(rest))
			pieces, rest = append(pieces, rest[:n]), rest[n:]
		}
		if got := p.Respond(t, policytest.Response{Chunks: pieces}).ResponseBody(); got != want {
			t.Errorf("in pieces of %d bytes: %q, want %q", size, got, want)
		}
	}
}

// TestALineCannotGrowForEver proves that a response cannot fill the memory.
func TestALineCannotGrowForEver(t *testing.T) {
	p := policytest.New(t, droplines.Policy, `{containing: x, longestLine: 10}`)
	err := p.Send(t, policytest.Request{}).RespondError(t, policytest.Response{Chunks: []string{"12345", "678901", ""}})
	if !strings.Contains(err.Error(), "longer than 10 bytes") {
		t.Error(err)
	}
}
