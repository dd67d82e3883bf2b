package cases

import (
	_ "embed"
	"fmt"
	"path"
	"strings"

	"policyengine.dev/sdk/strictyaml"
)

//go:embed lines.yaml
var linesFile []byte

// Group is a part of what there is to know.
type Group struct {
	Title string `yaml:"title,required"`
	Lines []Line `yaml:"lines,required"`
}

// Line is one thing that a processor has to know.
type Line struct {
	// ID is how cases name it.
	ID   string `yaml:"id,required"`
	Says string `yaml:"says,required"`
	// Unseen is why no case shows it; empty where one has to.
	Unseen string `yaml:"unseen"`
	// Test is the test function of this package that shows it, where no
	// exchange of a suite can.
	Test string `yaml:"test"`
}

// Lines reads lines.yaml.
func Lines() ([]Group, error) {
	root, err := strictyaml.Parse("lines.yaml", linesFile)
	if err != nil {
		return nil, err
	}
	var f struct {
		Groups []Group `yaml:"groups,required"`
	}
	return f.Groups, root.Decode(&f)
}

// Documentation is docs/ext_proc.md: each line with the cases that show it.
func Documentation(groups []Group, suites []Suite) string {
	shown := map[string][]string{}
	for _, s := range suites {
		for line, names := range s.shows() {
			shown[line] = append(shown[line], fmt.Sprintf("[%s](../envoy_test/cases/testdata/%s): %s",
				s.testName(), path.Base(s.File), strings.Join(names, "; ")))
		}
	}
	var b strings.Builder
	b.WriteString(preamble)
	for _, g := range groups {
		fmt.Fprintf(&b, "\n## %s\n\n| | what Envoy does | shown by |\n|---|---|---|\n", g.Title)
		for _, l := range g.Lines {
			by := strings.Join(shown[l.ID], "<br>")
			switch {
			case l.Test != "":
				by = fmt.Sprintf("in Go, `%s` in [cases](../envoy_test/cases)", l.Test)
			case by == "":
				by = "*" + l.Unseen + "*"
			}
			fmt.Fprintf(&b, "| %s | %s | %s |\n", l.ID, cell(l.Says), cell(by))
		}
	}
	return b.String()
}

// shows gives the names of the exchanges that show each line.
func (s Suite) shows() map[string][]string {
	names := map[string][]string{}
	for _, x := range s.Exchanges {
		for _, line := range append(s.Lines[:len(s.Lines):len(s.Lines)], x.Lines...) {
			names[line] = append(names[line], x.Name)
		}
	}
	return names
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

const preamble = `# ext_proc in Envoy v1.36.2

<!-- Generated from envoy_test/cases; renew it with
     go test ./envoy_test/cases -run TestDocumentation -update -->

What Envoy's external processing filter does, as far as the engine relies on it or guards against it. Each line lists the
cases that show it. A case is an exchange through the pinned Envoy that checks the upstream, the client and Envoy's
counters. Unless a case expects otherwise, it also checks that Envoy counts no spurious message, no rejected mutation, no
failed stream, and no request that passed without the engine.
`
