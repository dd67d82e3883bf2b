package config

import (
	"strconv"
	"strings"

	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/strictyaml"
)

// Positions are where the paths of a [worker.Spec] stand in the files that it was
// decoded from. It is immutable. The zero value knows no file.
type Positions struct {
	roots          []strictyaml.Node
	chains, routes []strictyaml.Node
	// incomplete says that a file could not be read at all, so that what
	// refers to its chains cannot be judged.
	incomplete bool
}

// Position implements [worker.Positions]: the file, the line, the column, and the path
// as it is in that file. A spec numbers the chains of several files through.
func (p Positions) Position(path string) (worker.Position, bool) {
	n, ok := p.node(path)
	if !ok {
		return worker.Position{}, false
	}
	d := n.Problem("", "")
	return worker.Position{Source: d.File, Line: d.Line, Column: d.Column, Field: d.Path}, true
}

// lost implements losing.
func (p Positions) lost() bool { return p.incomplete }

// losing is what positions implement that may lack whole files.
type losing interface {
	// lost reports that a file could not be read at all, so that a reference to
	// one of its chains leads nowhere.
	lost() bool
}

// diagnostic is a problem with where it stands. at may be nil.
func diagnostic(at worker.Positions, problem worker.Problem) strictyaml.Diagnostic {
	where := worker.Position{Field: problem.Path}
	if at != nil {
		if found, ok := at.Position(problem.Path); ok {
			where = found
		}
	}
	return strictyaml.Diagnostic{
		File: where.Source, Line: where.Line, Column: where.Column, Path: where.Field,
		Problem: problem.Message, Remedy: problem.Remedy,
	}
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
