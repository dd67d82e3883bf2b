package ci_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"policyengine.dev/tools/ci"
)

func TestRun(t *testing.T) {
	check := func(name string, o ci.Outcome) ci.Check {
		return ci.Check{Name: name, Run: func(context.Context) ci.Outcome { return o }}
	}
	tests := []struct {
		name   string
		checks []ci.Check
		last   string
		ok     bool
	}{
		{"everything is added up", []ci.Check{check("a", ci.Outcome{Passed: 3}), check("b", ci.Outcome{Passed: 1})}, "4 passed, 0 failed", true},
		{"skipped cases are told of", []ci.Check{check("a", ci.Outcome{Passed: 3, Skipped: 2})}, "3 passed, 0 failed, 2 skipped", true},
		{"a failure does not keep the rest from running", []ci.Check{check("a", ci.Outcome{Failed: 1}), check("b", ci.Outcome{Passed: 1})}, "1 passed, 1 failed", false},
		{"a check in which nothing ran has failed", []ci.Check{check("a", ci.Outcome{})}, "0 passed, 1 failed", false},
		{"no checks at all are not a pass", nil, "0 passed, 0 failed", false},
		{"so has one in which everything was skipped", []ci.Check{check("a", ci.Outcome{Skipped: 9})}, "0 passed, 1 failed, 9 skipped", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			now := time.Now()
			ok := ci.Run(t.Context(), &out, func() time.Time { return now }, tt.checks)
			lines := strings.Split(strings.TrimRight(out.String(), "\n"), "\n")
			if last := lines[len(lines)-1]; ok != tt.ok || last != tt.last {
				t.Errorf("Run = %t, last line %q; want %t, %q", ok, last, tt.ok, tt.last)
			}
		})
	}
}

func TestMatching(t *testing.T) {
	checks := ci.Repository{}.Checks(true)
	if got := ci.Matching(checks, "gofmt"); len(got) != 1 || got[0].Name != "gofmt -l" {
		t.Errorf("Matching = %v", got)
	}
	if got := ci.Matching(checks, ""); len(got) != len(checks) || len(got) != len(ci.Repository{}.Checks(false))+1 {
		t.Errorf("%d checks of %d", len(got), len(checks))
	}
}
