package envoyyaml

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"policyengine.dev/sdk/strictyaml"
)

// Limits bound what files may cost to read.
type Limits struct {
	Bytes int // size of a file
	Depth int // mappings and lists inside one another
	Nodes int // values of all files of a Reader, aliases counted as what they stand for
}

// Reader reads files. It is not safe for concurrent use.
type Reader struct {
	limits Limits
	nodes  int
}

// NewReader returns a reader of files that are together within the limits.
func NewReader(limits Limits) *Reader { return &Reader{limits: limits} }

// File reads the documents of a file, of which there is at least one. name is used in
// messages, and its end tells JSON from YAML.
//
// The error is strictyaml.Diagnostics: what is neither YAML nor JSON, what Envoy's
// reader refuses, and limits that are exceeded.
func (r *Reader) File(name string, src []byte) ([]*Value, error) {
	return r.read(&document{Reader: r, file: name, json: isJSON(name, json.Valid(src)), src: src})
}

// Text reads the documents in a string, such as a file in a ConfigMap. name's end tells
// JSON from YAML. Places are those in the file around it, as far as they can be told.
func (r *Reader) Text(name string, v *Value) ([]*Value, error) {
	src := []byte(v.Text)
	return r.read(&document{Reader: r, file: v.File, json: isJSON(name, json.Valid(src)), src: src, around: v, base: v.Path})
}

func (r *Reader) read(d *document) ([]*Value, error) {
	limits, src := r.limits, d.src
	fail := func(line, column int, problem, remedy string) ([]*Value, error) {
		at := Value{File: d.file, Line: line, Column: column, Path: d.base}
		d.place(&at)
		return nil, strictyaml.Diagnostics{at.Problem(problem, remedy)}
	}
	if len(src) > limits.Bytes {
		return fail(1, 1, fmt.Sprintf("the file has %d bytes", len(src)), fmt.Sprintf("at most %d are read", limits.Bytes))
	}
	if line, column, deep := tooDeep(src, limits.Depth); deep {
		return fail(line, column, "brackets are nested too deeply", fmt.Sprintf("at most %d levels are read", limits.Depth))
	}
	decoder := yaml.NewDecoder(bytes.NewReader(src))
	var documents []*Value
	for {
		var root yaml.Node
		err := decoder.Decode(&root)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			line, column, problem := syntaxError(src, err)
			return fail(line, column, problem, "write valid YAML or JSON")
		}
		if len(root.Content) == 1 {
			v := d.value(root.Content[0], d.base, 1)
			if v.Kind != Null {
				documents = append(documents, v)
			}
		}
		if err := d.found.Err(); err != nil {
			return nil, err
		}
	}
	if len(documents) == 0 {
		return fail(1, 1, "the file is empty", "give a file with a configuration in it")
	}
	return documents, nil
}

// document is a file, or a text in one, that is being read.
type document struct {
	*Reader
	file  string
	json  bool
	src   []byte
	lines [][]byte
	// around is the value that a text stands in, base its path.
	around *Value
	base   Path
	found  strictyaml.Diagnostics
}

// place moves a value's place from the text to the file around it.
func (r *document) place(v *Value) {
	switch {
	case r.around == nil:
	case r.around.Indent > 0:
		v.Line += r.around.Line
		v.Column += r.around.Indent
	default:
		v.Line, v.Column = r.around.Line, r.around.Column
	}
}

func (r *document) value(n *yaml.Node, path Path, depth int) *Value {
	v := &Value{File: r.file, Line: n.Line, Column: n.Column, Path: path}
	r.place(v)
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	r.nodes++
	switch {
	case r.found != nil:
		return v // it is refused as a whole
	case r.nodes > r.limits.Nodes:
		r.found.Add(v.Problem("the file holds too much, counting aliases as what they stand for", fmt.Sprintf("at most %d values are read", r.limits.Nodes)))
		return v
	case depth > r.limits.Depth:
		r.found.Add(v.Problem("nested too deeply", fmt.Sprintf("at most %d levels are read", r.limits.Depth)))
		return v
	}
	switch n.Kind {
	case yaml.MappingNode:
		v.Kind = Mapping
		r.mapping(v, n, depth)
	case yaml.SequenceNode:
		v.Kind = List
		for i, item := range n.Content {
			v.Items = append(v.Items, r.value(item, path.Index(i), depth+1))
		}
	default:
		r.scalar(v, n)
	}
	return v
}

func (r *document) mapping(v *Value, n *yaml.Node, depth int) {
	places := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		if key.Kind != yaml.ScalarNode {
			at := Value{File: r.file, Line: key.Line, Column: key.Column, Path: v.Path}
			r.place(&at)
			r.found.Add(at.Problem("a key is not a string", "write it out as one"))
			return
		}
		f := Field{key.Value, r.value(n.Content[i+1], v.Path.Key(key.Value), depth+1)}
		if place, twice := places[f.Key]; twice {
			v.Fields[place] = f // as Envoy does
			continue
		}
		places[f.Key] = len(v.Fields)
		v.Fields = append(v.Fields, f)
	}
}

// tooDeep finds brackets that are nested beyond any use before the YAML parser, which
// recurses, sees them. It counts brackets inside strings and comments too, and so
// allows many more than the depth that is enforced later.
func tooDeep(src []byte, depth int) (line, column int, deep bool) {
	open, line, start := 0, 1, 0
	for i, c := range src {
		switch c {
		case '[', '{':
			if open++; open > 1000+depth {
				return line, i - start + 1, true
			}
		case ']', '}':
			open = max(0, open-1)
		case '\n':
			line, start = line+1, i+1
		}
	}
	return 0, 0, false
}

// syntaxError reads the line out of the parser's text ("yaml: line 3: ..."), the only
// place where it says it. The column is that of the line's first character that is
// not a space.
func syntaxError(src []byte, err error) (line, column int, problem string) {
	line, problem = 1, strings.TrimPrefix(err.Error(), "yaml: ")
	if rest, ok := strings.CutPrefix(problem, "line "); ok {
		if number, text, ok := strings.Cut(rest, ": "); ok {
			if i, err := strconv.Atoi(number); err == nil {
				line, problem = i, text
			}
		}
	}
	lines := bytes.Split(src, []byte("\n"))
	line = min(max(line, 1), len(lines))
	return line, 1 + indent(lines[line-1]), problem
}

func indent(line []byte) int { return len(line) - len(bytes.TrimLeft(line, " ")) }

// indentOf is how far the lines of a literal block are indented that begins behind a
// line.
func (r *document) indentOf(line int) int {
	if r.lines == nil {
		r.lines = bytes.Split(r.src, []byte("\n"))
	}
	for ; line < len(r.lines); line++ {
		if len(bytes.TrimSpace(r.lines[line])) > 0 {
			return indent(r.lines[line])
		}
	}
	return 0
}
