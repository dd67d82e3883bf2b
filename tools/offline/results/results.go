// Package results reads what a run of Bazel's tests found: how many cases passed,
// failed and were skipped, and why.
package results

import (
	"bufio"
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"regexp"
	"slices"
	"sort"
	"strings"
)

// An Outcome is what a check found. Its zero value means that nothing ran.
type Outcome struct {
	Passed, Failed, Skipped int
	// Problems are the names of what failed.
	Problems []string
	// Skips are the names of what was skipped, each with the reason.
	Skips []string
}

// event is as much of a build event as counting tests needs.
// Source: build_event_stream.proto of Bazel 7.
type event struct {
	ID struct {
		TargetCompleted *struct{ Label string } `json:"targetCompleted"`
		TestResult      *struct {
			Label      string
			Run, Shard int
		} `json:"testResult"`
		TestSummary *struct{ Label string } `json:"testSummary"`
	} `json:"id"`
	Completed  *struct{ Success bool }  `json:"completed"`
	Aborted    *struct{ Reason string } `json:"aborted"`
	TestResult *struct {
		TestActionOutput []struct{ Name, URI string } `json:"testActionOutput"`
	} `json:"testResult"`
	TestSummary *struct {
		OverallStatus string `json:"overallStatus"`
	} `json:"testSummary"`
}

// Read counts the test cases of the targets that a stream of Bazel's build
// events tells of, one JSON object a line. read returns the test.xml at a URI.
//
// A target whose XML lists no case counts as one, and so does one that failed
// although none of its cases did (it crashed, or ran out of time) and a target of
// whatever kind that could not be built.
func Read(events io.Reader, read func(uri string) ([]byte, error)) (Outcome, error) {
	type shard struct {
		label      string
		run, shard int
	}
	xmls := map[shard]string{} // of several attempts, the last
	status := map[string]string{}
	unbuilt := map[string]bool{}
	lines := bufio.NewReader(events)
	for {
		text, err := lines.ReadBytes('\n')
		if len(bytes.TrimSpace(text)) > 0 {
			var e event
			if err := json.Unmarshal(text, &e); err != nil {
				return Outcome{}, fmt.Errorf("reading Bazel's events: %w", err)
			}
			switch {
			case e.ID.TestResult != nil && e.TestResult != nil:
				key := shard{e.ID.TestResult.Label, e.ID.TestResult.Run, e.ID.TestResult.Shard}
				for _, o := range e.TestResult.TestActionOutput {
					if o.Name == "test.xml" {
						xmls[key] = o.URI
					}
				}
			case e.ID.TestSummary != nil && e.TestSummary != nil:
				status[e.ID.TestSummary.Label] = e.TestSummary.OverallStatus
			case e.ID.TargetCompleted != nil && (e.Aborted != nil || e.Completed != nil && !e.Completed.Success):
				unbuilt[e.ID.TargetCompleted.Label] = true
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Outcome{}, fmt.Errorf("reading Bazel's events: %w", err)
		}
	}

	cases := map[string]Outcome{}
	for key, uri := range xmls {
		text, err := read(uri)
		if err != nil {
			return Outcome{}, fmt.Errorf("reading the results of %s: %w", key.label, err)
		}
		found, err := junit(key.label, text)
		if err != nil {
			return Outcome{}, err
		}
		cases[key.label] = cases[key.label].Plus(found)
	}
	var total Outcome
	for _, label := range sorted(status) {
		o := cases[label]
		switch good := status[label] == "PASSED" || status[label] == "FLAKY"; {
		case good && o.Passed+o.Failed == 0:
			o.Passed = 1
		case !good && o.Failed == 0:
			o.Failed, o.Problems = 1, append(o.Problems, label+": "+status[label])
		}
		total = total.Plus(o)
		delete(unbuilt, label)
	}
	for _, label := range sorted(unbuilt) {
		total = total.Plus(Outcome{Failed: 1, Problems: []string{label + ": not built"}})
	}
	return total, nil
}

// junit counts the cases of a test.xml, as rules_go writes it.
func junit(label string, text []byte) (Outcome, error) {
	var suites struct {
		Suites []struct {
			Cases []struct {
				Name    string    `xml:"name,attr"`
				Failure *struct{} `xml:"failure"`
				Error   *struct{} `xml:"error"`
				Skipped *string   `xml:"skipped"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(text, &suites); err != nil {
		return Outcome{}, fmt.Errorf("reading the results of %s: %w", label, err)
	}
	var o Outcome
	for _, s := range suites.Suites {
		for _, c := range s.Cases {
			switch {
			case c.Failure != nil || c.Error != nil:
				o.Failed++
				o.Problems = append(o.Problems, label+" "+c.Name)
			case c.Skipped != nil:
				o.Skipped++
				o.Skips = append(o.Skips, label+" "+c.Name+": "+reason(*c.Skipped))
			default:
				o.Passed++
			}
		}
	}
	return o, nil
}

// place is how package testing begins a line: the file and line that it comes from.
var place = regexp.MustCompile(`^\s*[^\s:]+\.go:[0-9]+: `)

// reason is what a test said when it skipped itself, in one line.
func reason(output string) string {
	var said []string
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- ") {
			said = append(said, place.ReplaceAllString(line, ""))
		}
	}
	if len(said) == 0 {
		return "it does not say why"
	}
	return strings.Join(said, " ")
}

// ReadFileURI reads the file at a file: URI.
func ReadFileURI(uri string) ([]byte, error) {
	u, err := url.Parse(uri)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "file" {
		return nil, fmt.Errorf("%s is not a local file", uri)
	}
	return os.ReadFile(u.Path)
}

// Plus adds two outcomes.
func (a Outcome) Plus(b Outcome) Outcome {
	return Outcome{
		Passed: a.Passed + b.Passed, Failed: a.Failed + b.Failed, Skipped: a.Skipped + b.Skipped,
		Problems: slices.Concat(a.Problems, b.Problems), Skips: slices.Concat(a.Skips, b.Skips),
	}
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
