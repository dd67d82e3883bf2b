package worker

import (
	"fmt"
	"strings"
)

// Position is where something stands in the source of a configuration. The zero value
// stands for nowhere that is known.
type Position struct {
	// Source is a file, or the name of a resource where a control plane sends them.
	Source string
	// Line and Column count from 1. They are 0 where the source is no file.
	Line, Column int
	// Field is the path within Source, such as chains[0].policies[2].when.
	Field string
}

// Positions say where the paths of a [Spec] stand in its source.
type Positions interface {
	// Position returns where a path, such as a [Problem] has, stands. ok is false
	// where that is not known.
	Position(path string) (at Position, ok bool)
}

// Problem is one thing that is wrong in a [Spec], or worth a warning.
type Problem struct {
	// Path says where: such as chains[0].policies[2].params.keys[0].id, field
	// names as in the configuration file.
	Path string
	// Message says what is wrong, and Remedy what would be right.
	Message, Remedy string
	// Other is the path of something else that the problem is about as much, such as the
	// second of two patterns; or empty.
	Other string
	// At is where Path stands in the configuration's source.
	At Position
}

// Error is where it is, message and remedy in a line.
func (p Problem) Error() string {
	var b strings.Builder
	at, path := p.At, p.Path
	if at.Source != "" {
		b.WriteString(at.Source)
		if at.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", at.Line, at.Column)
		}
		b.WriteString(": ")
		path = at.Field
	}
	if path != "" {
		b.WriteString(path + ": ")
	}
	b.WriteString(p.Message)
	if p.Remedy != "" {
		b.WriteString("; " + p.Remedy)
	}
	return b.String()
}

// Problems are all that is wrong in a [Spec], in the order of the Spec.
type Problems []Problem

// maxPrinted is how many problems [Problems.Error] writes out.
const maxPrinted = 100

// Error lists the problems, one a line, at most a hundred, and then how many more
// there are.
func (ps Problems) Error() string {
	var b strings.Builder
	for i, p := range ps {
		if i > 0 {
			b.WriteByte('\n')
		}
		if i == maxPrinted {
			fmt.Fprintf(&b, "and %d more problems", len(ps)-i)
			break
		}
		b.WriteString(p.Error())
	}
	return b.String()
}

// locate fills in where the problems stand.
func (ps Problems) locate(positions Positions) {
	if positions == nil {
		return
	}
	for i := range ps {
		if at, ok := positions.Position(ps[i].Path); ok {
			ps[i].At = at
		}
	}
}
