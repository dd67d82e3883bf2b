package config

import (
	"strconv"
	"strings"

	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/strictyaml"
)

// Positions leads from a place in a [worker.Spec] back to the files that it was
// decoded from. It is immutable. The zero value knows no file.
type Positions struct {
	roots          []strictyaml.Node
	chains, routes []strictyaml.Node
	// incomplete says that a file could not be read at all, so that what
	// refers to its chains cannot be judged.
	incomplete bool
}

// Diagnostics gives the worker's problems with the file, line and column where
// each is, and the path as it is in that file: chains of several files are
// numbered through in a spec.
func (p Positions) Diagnostics(problems worker.Problems) strictyaml.Diagnostics {
	var all strictyaml.Diagnostics
	for _, problem := range problems {
		all.Add(p.diagnostic(problem))
	}
	return all
}

func (p Positions) diagnostic(problem worker.Problem) strictyaml.Diagnostic {
	if n, ok := p.node(problem.Path); ok {
		return n.Problem(problem.Message, problem.Remedy)
	}
	return strictyaml.Diagnostic{Path: problem.Path, Problem: problem.Message, Remedy: problem.Remedy}
}

func (p Positions) node(path string) (strictyaml.Node, bool) {
	for list, items := range map[string][]strictyaml.Node{"chains": p.chains, "routes": p.routes} {
		rest, ok := strings.CutPrefix(path, list+"[")
		if !ok {
			continue
		}
		digits, rest, _ := strings.Cut(rest, "]")
		i, err := strconv.Atoi(digits)
		if err != nil || i < 0 || i >= len(items) {
			return strictyaml.Node{}, false
		}
		return items[i].AtPath(rest), true
	}
	// What is no chain and no route is in whichever file has it.
	for _, root := range p.roots {
		if n := root.AtPath(path); n.Kind() != strictyaml.Missing {
			return n, true
		}
	}
	return strictyaml.Node{}, false
}
