package ci_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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

func TestTestResults(t *testing.T) {
	const (
		passed  = `<testcase name="TestA"></testcase>`
		skipped = `<testcase name="TestB"><skipped message="no"></skipped></testcase>`
		failed  = `<testcase name="TestC"><failure message="Failed"></failure></testcase>`
	)
	suite := func(cases ...string) string {
		return `<testsuites><testsuite>` + strings.Join(cases, "") + `</testsuite></testsuites>`
	}
	result := func(label, attempt string) string {
		return `{"id":{"testResult":{"label":"` + label + `","run":1,"shard":1}},"testResult":{"testActionOutput":[{"name":"test.log","uri":"log"},{"name":"test.xml","uri":"` + label + attempt + `"}]}}`
	}
	summary := func(label, status string) string {
		return `{"id":{"testSummary":{"label":"` + label + `"}},"testSummary":{"overallStatus":"` + status + `"}}`
	}
	completed := func(label, success string) string {
		return `{"id":{"targetCompleted":{"label":"` + label + `"}},"completed":{` + success + `}}`
	}
	tests := []struct {
		name   string
		events []string
		xml    map[string]string
		want   ci.Outcome
		err    string
	}{
		{
			name:   "the cases of all targets are counted",
			events: []string{result("//a", ""), summary("//a", "PASSED"), result("//b", ""), summary("//b", "FAILED")},
			xml:    map[string]string{"//a": suite(passed, passed, skipped), "//b": suite(passed, failed)},
			want:   ci.Outcome{Passed: 3, Failed: 1, Skipped: 1, Problems: []string{"//b TestC"}, Skips: []string{"//a TestB"}},
		},
		{
			name:   "a target that lists no cases is one",
			events: []string{result("//a", ""), summary("//a", "PASSED")},
			xml:    map[string]string{"//a": `<testsuites></testsuites>`},
			want:   ci.Outcome{Passed: 1},
		},
		{
			name:   "a target that failed, and none of whose cases did, has failed all the same",
			events: []string{result("//a", ""), summary("//a", "TIMEOUT")},
			xml:    map[string]string{"//a": suite(passed)},
			want:   ci.Outcome{Passed: 1, Failed: 1, Problems: []string{"//a: TIMEOUT"}},
		},
		{
			name:   "of several attempts, the last counts",
			events: []string{result("//a", "1"), result("//a", "2"), summary("//a", "FLAKY")},
			xml:    map[string]string{"//a1": suite(failed), "//a2": suite(passed)},
			want:   ci.Outcome{Passed: 1},
		},
		{
			name:   "what could not be built has failed, tests and others",
			events: []string{completed("//lib", ""), completed("//good", `"success":true`), completed("//t", ""), summary("//t", "FAILED_TO_BUILD")},
			want:   ci.Outcome{Failed: 2, Problems: []string{"//t: FAILED_TO_BUILD", "//lib: not built"}},
		},
		{
			name:   "a target of which there is no word but that it was given up has failed",
			events: []string{`{"id":{"targetCompleted":{"label":"//a"}},"aborted":{"reason":"ANALYSIS_FAILURE"}}`},
			want:   ci.Outcome{Failed: 1, Problems: []string{"//a: not built"}},
		},
		{name: "results that cannot be read are an error", events: []string{result("//a", "")}, err: "reading the results of //a"},
		{name: "so are events that are not JSON", events: []string{"{"}, err: "reading Bazel's events"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ci.TestResults(strings.NewReader(strings.Join(tt.events, "\n")), func(uri string) ([]byte, error) {
				text, ok := tt.xml[uri]
				if !ok {
					return nil, errors.New("not there")
				}
				return []byte(text), nil
			})
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("err = %v, want %q in it", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("TestResults (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzTestResults(f *testing.F) {
	f.Add([]byte(`{"id":{"testSummary":{"label":"//a"}},"testSummary":{"overallStatus":"PASSED"}}`), []byte(`<testsuites></testsuites>`))
	f.Add([]byte(`{"id":{"testResult":{"label":"//a"}},"testResult":{"testActionOutput":[{"name":"test.xml","uri":"x"}]}}`), []byte(`<testsuites><testsuite><testcase name="T"/></testsuite></testsuites>`))
	f.Fuzz(func(t *testing.T, events, xml []byte) {
		o, err := ci.TestResults(bytes.NewReader(events), func(string) ([]byte, error) { return xml, nil })
		if err == nil && o.Failed > 0 && len(o.Problems) == 0 {
			t.Errorf("%d failed, and none is named", o.Failed)
		}
	})
}
