// Package progress says in plain words how far a run of Bazel is, and what is left.
package progress

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A Progress is what Bazel's build events have told so far. The zero value is that
// of a run that has just begun.
type Progress struct {
	// Command is Bazel's: "run" starts a program at the end, "test" runs tests.
	Command string

	done, known          int // steps, as Bazel counts them
	compiled, linked     int
	testsKnown, testsRun int
	lastRepository       string
	finished             bool
}

// event is as much of a build event as is checked, one line of the file that
// --build_event_json_file names. Source: build_event_stream.proto of Bazel 7.
type event struct {
	ID struct {
		TestSummary *struct{} `json:"testSummary"`
	} `json:"id"`
	Progress *struct {
		Stderr string `json:"stderr"`
	} `json:"progress"`
	BuildFinished *struct{} `json:"finished"`
	Configured    *struct {
		TestSize string `json:"testSize"`
	} `json:"configured"`
	Action *struct {
		Type string `json:"type"`
	} `json:"action"`
}

var (
	steps      = regexp.MustCompile(`\[([0-9,]+) / ([0-9,]+)\]`)
	repository = regexp.MustCompile(`Fetching repository @@([^;\s]+)`)
)

// Line takes one line of the file of events. A line that is no event, such as one
// that is not written to its end yet, changes nothing.
func (p *Progress) Line(line []byte) {
	var e event
	if json.Unmarshal(line, &e) != nil {
		return
	}
	switch {
	case e.Progress != nil:
		p.said(e.Progress.Stderr)
	case e.Configured != nil && e.Configured.TestSize != "":
		p.testsKnown++
	case e.BuildFinished != nil:
		p.finished = true
	case e.ID.TestSummary != nil:
		p.testsRun++
	case e.Action != nil:
		switch e.Action.Type {
		case "GoCompilePkg":
			p.compiled++
		case "GoLink":
			p.linked++
		}
	}
}

// Building reports whether there is something left to say of the building: not once a
// program that was built is running.
func (p *Progress) Building() bool { return !p.finished }

// said looks at what Bazel wrote to its standard error.
func (p *Progress) said(text string) {
	if all := steps.FindAllStringSubmatch(text, -1); len(all) > 0 {
		last := all[len(all)-1]
		p.done, p.known = number(last[1]), number(last[2])
	}
	if all := repository.FindAllStringSubmatch(text, -1); len(all) > 0 {
		p.lastRepository = plainName(all[len(all)-1][1])
	}
}

func number(text string) int {
	n, err := strconv.Atoi(strings.ReplaceAll(text, ",", ""))
	if err != nil {
		return 0
	}
	return n
}

// plainName is the end of a repository's canonical name, which people know it by.
func plainName(canonical string) string {
	return canonical[strings.LastIndexByte(canonical, '~')+1:]
}

// Words says in one line what has been done in the time so far, and what is left.
func (p *Progress) Words(soFar time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: ", soFar.Round(time.Second))
	if p.known == 0 {
		b.WriteString("reading what is to be built, and fetching what is missing: rules, Go modules, Envoy")
		if p.lastRepository != "" {
			fmt.Fprintf(&b, " (now %s)", p.lastRepository)
		}
		b.WriteString("; left: all of the building")
	} else {
		fmt.Fprintf(&b, "%s compiled, %s linked; left: %d of the %d steps that are known so far",
			count(p.compiled, "Go package"), count(p.linked, "program"), max(p.known-p.done, 0), p.known)
	}
	switch {
	case p.Command == "run":
		b.WriteString(", then the program starts")
	case p.Command == "test" && p.testsKnown > 0:
		fmt.Fprintf(&b, "; %d of %d tests have run", p.testsRun, p.testsKnown)
	}
	return b.String()
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
