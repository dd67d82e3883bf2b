package strictyaml

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// maxPrinted is how many diagnostics [Diagnostics.Error] writes out: beyond
// it a reader is helped more by the count than by the text.
const maxPrinted = 100

// Diagnostic is one thing that is wrong, and where.
type Diagnostic struct {
	// File is the name given to [Parse]. Empty for input that is not a file.
	File string
	// Line and Column count from 1, the column in characters. 0 when unknown.
	Line, Column int
	// Path leads from the file's root to the value, such as
	// chains[2].policies[0].version. Empty for the root.
	Path string
	// Problem says what is wrong.
	Problem string
	// Remedy says what would be right. It may be empty.
	Remedy string
}

// Error gives "file:line:column: path: problem; remedy", without the parts
// that are unknown.
func (d Diagnostic) Error() string {
	var b strings.Builder
	if d.File != "" {
		b.WriteString(d.File)
		if d.Line > 0 {
			fmt.Fprintf(&b, ":%d", d.Line)
			if d.Column > 0 {
				fmt.Fprintf(&b, ":%d", d.Column)
			}
		}
		b.WriteString(": ")
	} else if d.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", d.Line)
	}
	if d.Path != "" {
		b.WriteString(d.Path)
		b.WriteString(": ")
	}
	b.WriteString(d.Problem)
	if d.Remedy != "" {
		b.WriteString("; ")
		b.WriteString(d.Remedy)
	}
	return b.String()
}

// Diagnostics is everything that was found wrong. The zero value is an empty
// list, ready to use. A non-empty one is an error: one line per diagnostic.
// It is not safe for concurrent use.
type Diagnostics []Diagnostic

// Add appends diagnostics.
func (ds *Diagnostics) Add(found ...Diagnostic) { *ds = append(*ds, found...) }

// AddError appends what err says: each of its diagnostics where it carries a
// [Diagnostics] or a [Diagnostic], and otherwise its text, as a problem of
// node. A nil err adds nothing.
func (ds *Diagnostics) AddError(node Node, err error) {
	var many Diagnostics
	var one Diagnostic
	switch {
	case err == nil:
	case errors.As(err, &many):
		ds.Add(many...)
	case errors.As(err, &one):
		ds.Add(one)
	default:
		ds.Add(node.Problem(err.Error(), ""))
	}
}

// Err returns nil for an empty list, and otherwise a copy of the list as an
// error, sorted by file and position and with repetitions left out.
func (ds Diagnostics) Err() error {
	if len(ds) == 0 {
		return nil
	}
	sorted := slices.Clone(ds)
	slices.SortStableFunc(sorted, func(a, b Diagnostic) int {
		return cmp.Or(
			cmp.Compare(a.File, b.File),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Path, b.Path),
			cmp.Compare(a.Problem, b.Problem),
			cmp.Compare(a.Remedy, b.Remedy),
		)
	})
	return slices.Compact(sorted)
}

// Error gives one line per diagnostic, at most a hundred, and then how many
// more there are.
func (ds Diagnostics) Error() string {
	var b strings.Builder
	for i, d := range ds {
		if i > 0 {
			b.WriteByte('\n')
		}
		if i == maxPrinted {
			fmt.Fprintf(&b, "and %d more problems", len(ds)-i)
			break
		}
		b.WriteString(d.Error())
	}
	return b.String()
}
