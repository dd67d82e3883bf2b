package expr

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// CompileError has everything that is wrong with an expression.
type CompileError struct {
	// Source is the expression.
	Source string
	// Problems are in the order of their places. There is at least one.
	Problems []Problem
}

// Problem is one thing that is wrong with an expression.
type Problem struct {
	// Line and Column are its place, from 1. Columns count code points.
	Line, Column int
	// Message says what is wrong, and where it can what would be right.
	Message string
}

// Error implements error: each problem with its place and the line of the
// expression that it is in.
func (e *CompileError) Error() string {
	var b strings.Builder
	for i, p := range e.Problems {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%d:%d: %s%s", p.Line, p.Column, p.Message, excerpt(e.Source, p.Line, p.Column))
	}
	return b.String()
}

// maxProblems is how many problems one error names.
const maxProblems = 20

// excerptWidth is how much of a line an excerpt shows, in code points.
const excerptWidth = 100

// excerpt is a line of the source with a caret under a column of it.
func excerpt(source string, line, column int) string {
	lines := strings.Split(source, "\n")
	if line < 1 || line > len(lines) {
		return ""
	}
	runes := []rune(strings.ToValidUTF8(strings.TrimRight(lines[line-1], "\r"), "\uFFFD"))
	at := min(max(column-1, 0), len(runes))
	start := max(0, at-excerptWidth/2)
	end := min(len(runes), start+excerptWidth)
	shown := strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, string(runes[start:end]))
	return "\n | " + shown + "\n | " + strings.Repeat(" ", at-start) + "^"
}

// problems collects what is wrong with an expression.
type problems struct {
	source string
	list   []Problem
}

func (p *problems) add(line, column int, format string, args ...any) {
	p.list = append(p.list, Problem{Line: line, Column: column, Message: fmt.Sprintf(format, args...)})
}

// err is the error, or nil where nothing is wrong.
func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	slices.SortStableFunc(p.list, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Message, b.Message))
	})
	if more := len(p.list) - maxProblems; more > 0 {
		last := p.list[maxProblems-1]
		p.list = append(p.list[:maxProblems:maxProblems],
			Problem{Line: last.Line, Column: last.Column, Message: fmt.Sprintf("and %d more problems after this", more)})
	}
	return &CompileError{Source: p.source, Problems: p.list}
}

// checkSource refuses what the parser should not even see.
func checkSource(src string) *problems {
	p := &problems{source: src}
	switch {
	case len(src) > MaxSource:
		p.source = src[:80]
		p.add(1, 1, "the expression has %d bytes, at most %d are allowed", len(src), MaxSource)
	case !utf8.ValidString(src):
		p.add(1, 1, "the expression is not valid UTF-8")
	case strings.TrimSpace(src) == "":
		p.add(1, 1, "the expression is empty")
	}
	return p
}
