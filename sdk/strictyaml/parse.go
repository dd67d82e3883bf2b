package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Limits bound what a file may cost to read. A zero field stands for its
// default.
type Limits struct {
	Bytes int // size of the file; default 1 MiB
	Depth int // mappings and lists inside one another; default 64
	Nodes int // keys, values, mappings and lists, aliases counted as what they stand for; default 200 000
	Text  int // bytes of all scalars, aliases counted as what they stand for; default 4 times Bytes
}

func (l Limits) orDefault() Limits {
	if l.Bytes == 0 {
		l.Bytes = 1 << 20
	}
	if l.Depth == 0 {
		l.Depth = 64
	}
	if l.Nodes == 0 {
		l.Nodes = 200_000
	}
	if l.Text == 0 {
		l.Text = 4 * l.Bytes
	}
	return l
}

// Parse is [ParseWithin] with the default limits.
func Parse(file string, src []byte) (Node, error) { return ParseWithin(Limits{}, file, src) }

// ParseWithin reads a file's one YAML document and returns its root. file is
// used in messages only.
//
// The error is a [Diagnostics]. It names what is no YAML (the first place
// only: what follows a syntax error cannot be told), an empty file, a second
// document, keys given twice or that are not strings, merge keys, tags beyond
// those of YAML's core schema, aliases that contain themselves, numbers that
// JSON cannot write or that no float64 can hold, and every limit exceeded.
func ParseWithin(limits Limits, file string, src []byte) (Node, error) {
	limits = limits.orDefault()
	start := Diagnostic{File: file, Line: 1, Column: 1}
	fail := func(d Diagnostic, problem, remedy string) (Node, error) {
		d.Problem, d.Remedy = problem, remedy
		return Node{}, Diagnostics{d}
	}
	if len(src) > limits.Bytes {
		return fail(start, fmt.Sprintf("the file has %d bytes", len(src)), fmt.Sprintf("at most %d are read", limits.Bytes))
	}
	if d, tooDeep := flowTooDeep(src, limits.Depth); tooDeep {
		d.File = file
		return fail(d, "brackets are nested too deeply", fmt.Sprintf("at most %d levels are read", limits.Depth))
	}
	decoder := yaml.NewDecoder(bytes.NewReader(src))
	var document yaml.Node
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF):
		return fail(start, "the file is empty", "it must hold one YAML document")
	case err != nil:
		return Node{}, Diagnostics{syntaxError(file, src, err)}
	}
	var second yaml.Node
	switch err := decoder.Decode(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		return Node{}, Diagnostics{syntaxError(file, src, err)}
	default:
		return fail(Diagnostic{File: file, Line: second.Line, Column: second.Column},
			"a second YAML document begins here", "keep one document in a file")
	}
	if len(document.Content) != 1 {
		return fail(start, "the file is empty", "it must hold one YAML document")
	}
	root := Node{file: file, yaml: document.Content[0]}
	check := checker{limits: limits, weights: map[*yaml.Node]weight{}}
	check.node(root, 1)
	if err := check.found.Err(); err != nil {
		return Node{}, err
	}
	return root, nil
}

// flowTooDeep finds brackets that are nested beyond any use before the YAML
// parser, which recurses, sees them. It counts brackets inside strings and
// comments too, and so allows many more than the depth that is enforced later.
func flowTooDeep(src []byte, depth int) (Diagnostic, bool) {
	open, line, lineStart := 0, 1, 0
	for i, c := range src {
		switch c {
		case '[', '{':
			if open++; open > 1000+depth {
				return Diagnostic{Line: line, Column: i - lineStart + 1}, true
			}
		case ']', '}':
			open = max(0, open-1)
		case '\n':
			line, lineStart = line+1, i+1
		}
	}
	return Diagnostic{}, false
}

// syntaxError reads the line out of the parser's text ("yaml: line 3: ..."),
// the only place where it says it. The column is that of the line's first
// character that is not a space.
func syntaxError(file string, src []byte, err error) Diagnostic {
	d := Diagnostic{File: file, Line: 1, Column: 1, Remedy: "write valid YAML"}
	d.Problem = strings.TrimPrefix(err.Error(), "yaml: ")
	if rest, ok := strings.CutPrefix(d.Problem, "line "); ok {
		if number, problem, ok := strings.Cut(rest, ": "); ok {
			if line, err := strconv.Atoi(number); err == nil {
				d.Line, d.Problem = line, problem
			}
		}
	}
	lines := bytes.Split(src, []byte("\n"))
	d.Line = min(max(d.Line, 1), len(lines))
	// The parser never says that a tab is to blame, or names the line before it.
	for i := d.Line - 1; i < min(d.Line+1, len(lines)); i++ {
		indent := lines[i][:len(lines[i])-len(bytes.TrimLeft(lines[i], " \t"))]
		if tab := bytes.IndexByte(indent, '\t'); tab >= 0 && (i == d.Line-1 || strings.Contains(d.Problem, "tab")) {
			d.Line, d.Column = i+1, tab+1
			d.Problem, d.Remedy = "a tab in the indentation", "indent with spaces"
			return d
		}
	}
	line := lines[d.Line-1]
	d.Column = 1 + len(line) - len(bytes.TrimLeft(line, " "))
	return d
}
