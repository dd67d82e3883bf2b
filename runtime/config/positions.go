package config

import (
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/strictyaml"
)

// Positions are where the paths of a [worker.Spec] stand in the files that it was
// decoded from. It is immutable, and safe for concurrent use. The zero value knows no
// file. A file that has changed since is named without a line.
type Positions struct {
	documents []*document
	// chains and routes are, for each document, how many there are up to its end.
	chains, routes []int
	// incomplete says that a file could not be read at all, so that what
	// refers to its chains cannot be judged.
	incomplete bool
}

// Position implements [worker.Positions]: the file, the line, the column, and the path
// as it is in that file. A spec numbers the chains of several files through.
func (p Positions) Position(path string) (worker.Position, bool) {
	d, local, ok := p.find(path)
	if !ok {
		return worker.Position{}, false
	}
	return d.position(local), true
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
