// Package ci runs every check of the repository and counts what they found.
//
// What is counted is what really ran: the test cases that Bazel's results list,
// and each further check as one. A check that could not run has failed.
package ci

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"policyengine.dev/tools/offline/results"
)

// An Outcome is what a check found. Run counts one in which nothing ran as a failure,
// and lists what was skipped: a test that skips itself proves nothing.
type Outcome = results.Outcome

// passed is the outcome of a check that is one thing.
var passed = Outcome{Passed: 1}

func failed(format string, args ...any) Outcome {
	return Outcome{Failed: 1, Problems: []string{fmt.Sprintf(format, args...)}}
}

// A Check is one thing that is run and looked at.
type Check struct {
	// Name is the command that a person would type.
	Name string
	// Run runs it; what it says goes to the output as it comes.
	Run func(ctx context.Context) Outcome
}

// sorted returns the keys of a map in order.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// Run runs all checks in turn, whatever the earlier ones found, and writes a
// summary whose last line is "N passed, N failed". It reports whether all passed, and there was
// something to pass.
func Run(ctx context.Context, out io.Writer, now func() time.Time, checks []Check) bool {
	type line struct {
		name string
		took time.Duration
		Outcome
	}
	var lines []line
	var total Outcome
	for _, c := range checks {
		fmt.Fprintf(out, "\n=== %s\n", c.Name)
		start := now()
		o := c.Run(ctx)
		if o.Passed+o.Failed == 0 {
			o.Failed, o.Problems = 1, append(o.Problems, "nothing ran")
		}
		lines = append(lines, line{c.Name, now().Sub(start), o})
		total.Passed += o.Passed
		total.Failed += o.Failed
		total.Skipped += o.Skipped
	}
	fmt.Fprintln(out, "\n=== summary")
	for _, l := range lines {
		verdict := "ok"
		if l.Failed > 0 {
			verdict = "FAILED"
		}
		fmt.Fprintf(out, "%-6s %7s  %s (%s)\n", verdict, l.took.Round(time.Second), l.name, counts(l.Outcome))
		for _, p := range l.Problems {
			fmt.Fprintf(out, "                  %s\n", p)
		}
		for _, s := range l.Skips {
			fmt.Fprintf(out, "                  skipped: %s\n", s)
		}
	}
	fmt.Fprintf(out, "\n%s\n", counts(total))
	return total.Failed == 0 && total.Passed > 0
}

// Matching returns the checks whose name has text in it; all, if text is empty.
func Matching(checks []Check, text string) []Check {
	return slices.DeleteFunc(slices.Clone(checks), func(c Check) bool { return !strings.Contains(c.Name, text) })
}

func counts(o Outcome) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d passed, %d failed", o.Passed, o.Failed)
	if o.Skipped > 0 {
		fmt.Fprintf(&b, ", %d skipped", o.Skipped)
	}
	return b.String()
}
