package exchange_test

import (
	"regexp"
	"strings"
	"testing"

	"policyengine.dev/sdk/exchange"
)

func withRequestID(id string) *exchange.Exchange {
	x := &exchange.Exchange{Identity: exchange.Identity{Key: &[16]byte{1}, Run: 2, Use: 3}}
	x.Request.Headers.Reset([]exchange.Field{{Name: "x-request-id", Value: id}})
	x.KnowRequestID()
	return x
}

// TestRequestID proves that the proxy's id counts if it can be written anywhere, and that
// one is made otherwise.
func TestRequestID(t *testing.T) {
	uuid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	for name, tt := range map[string]struct {
		id   string
		kept bool
	}{
		"Envoy's": {"0af76519-16cd-43dd-8448-eb211c80319c", true}, "one character": {"1", true}, "the longest": {strings.Repeat("i", 128), true},
		"too long": {strings.Repeat("i", 129), false}, "empty": {"", false}, "a space": {"a b", false}, "a line": {"a\nb", false}, "not ASCII": {"ü", false}, "DEL": {"a\x7f", false},
	} {
		t.Run(name, func(t *testing.T) {
			x := withRequestID(tt.id)
			got := x.RequestID()
			if tt.kept && got != tt.id || !tt.kept && !uuid.MatchString(got) {
				t.Errorf("the id is %q", got)
			}
			// Whatever policies do to headers, and in a copy too.
			x.Request.Headers.Set("x-request-id", "another")
			if x.RequestID() != got || x.Clone().RequestID() != got {
				t.Errorf("the id has become %q", x.RequestID())
			}
			x.Reset()
			if x.RequestID() != "" {
				t.Errorf("the next exchange has the id %q", x.RequestID())
			}
		})
	}
}

// TestRequestIDsThatAreMadeDiffer proves that no two exchanges get the same one.
func TestRequestIDsThatAreMadeDiffer(t *testing.T) {
	seen := map[string]bool{}
	for _, key := range []*[16]byte{{1}, {2}} {
		for run := range uint64(30) {
			for use := range uint64(30) {
				x := exchange.Exchange{Identity: exchange.Identity{Key: key, Run: run, Use: use}}
				seen[x.RequestID()] = true
			}
		}
	}
	if len(seen) != 2*30*30 {
		t.Errorf("%d ids", len(seen))
	}
}
