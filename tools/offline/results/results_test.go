package results_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"policyengine.dev/tools/offline/results"
)

func TestRead(t *testing.T) {
	const (
		passed  = `<testcase name="TestA"></testcase>`
		skipped = `<testcase name="TestB"><skipped message="Skipped">=== RUN   TestB&#xA;    b_test.go:12: no user namespaces;&#xA;        allow them&#xA;--- SKIP: TestB (0.00s)&#xA;</skipped></testcase>`
		silent  = `<testcase name="TestD"><skipped message="Skipped"></skipped></testcase>`
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
		want   results.Outcome
		err    string
	}{
		{
			name:   "the cases of all targets are counted",
			events: []string{result("//a", ""), summary("//a", "PASSED"), result("//b", ""), summary("//b", "FAILED")},
			xml:    map[string]string{"//a": suite(passed, passed, skipped), "//b": suite(passed, failed)},
			want:   results.Outcome{Passed: 3, Failed: 1, Skipped: 1, Problems: []string{"//b TestC"}, Skips: []string{"//a TestB: no user namespaces; allow them"}},
		},
		{
			name:   "a test that skips itself without a reason is named nevertheless",
			events: []string{result("//a", ""), summary("//a", "PASSED")},
			xml:    map[string]string{"//a": suite(passed, silent)},
			want:   results.Outcome{Passed: 1, Skipped: 1, Skips: []string{"//a TestD: it does not say why"}},
		},
		{
			name:   "a target that lists no cases is one",
			events: []string{result("//a", ""), summary("//a", "PASSED")},
			xml:    map[string]string{"//a": `<testsuites></testsuites>`},
			want:   results.Outcome{Passed: 1},
		},
		{
			name:   "a target that failed, and none of whose cases did, has failed nevertheless",
			events: []string{result("//a", ""), summary("//a", "TIMEOUT")},
			xml:    map[string]string{"//a": suite(passed)},
			want:   results.Outcome{Passed: 1, Failed: 1, Problems: []string{"//a: TIMEOUT"}},
		},
		{
			name:   "of several attempts, the last counts",
			events: []string{result("//a", "1"), result("//a", "2"), summary("//a", "FLAKY")},
			xml:    map[string]string{"//a1": suite(failed), "//a2": suite(passed)},
			want:   results.Outcome{Passed: 1},
		},
		{
			name:   "what could not be built has failed, tests and others",
			events: []string{completed("//lib", ""), completed("//good", `"success":true`), completed("//t", ""), summary("//t", "FAILED_TO_BUILD")},
			want:   results.Outcome{Failed: 2, Problems: []string{"//t: FAILED_TO_BUILD", "//lib: not built"}},
		},
		{
			name:   "a target of which there is no word but that it was given up has failed",
			events: []string{`{"id":{"targetCompleted":{"label":"//a"}},"aborted":{"reason":"ANALYSIS_FAILURE"}}`},
			want:   results.Outcome{Failed: 1, Problems: []string{"//a: not built"}},
		},
		{name: "results that cannot be read are an error", events: []string{result("//a", "")}, err: "reading the results of //a"},
		{name: "so are events that are not JSON", events: []string{"{"}, err: "reading Bazel's events"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := results.Read(strings.NewReader(strings.Join(tt.events, "\n")), func(uri string) ([]byte, error) {
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
				t.Errorf("Read (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"id":{"testSummary":{"label":"//a"}},"testSummary":{"overallStatus":"PASSED"}}`), []byte(`<testsuites></testsuites>`))
	f.Add([]byte(`{"id":{"testResult":{"label":"//a"}},"testResult":{"testActionOutput":[{"name":"test.xml","uri":"x"}]}}`), []byte(`<testsuites><testsuite><testcase name="T"/></testsuite></testsuites>`))
	f.Fuzz(func(t *testing.T, events, xml []byte) {
		o, err := results.Read(bytes.NewReader(events), func(string) ([]byte, error) { return xml, nil })
		if err == nil && o.Failed > 0 && len(o.Problems) == 0 {
			t.Errorf("%d failed, and none is named", o.Failed)
		}
	})
}
