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

// Limits bound what a file may cost to read.
type Limits struct {
	Bytes int // size of the file
	Depth int // mappings and lists inside one another
	Nodes int // values, aliases counted as what they stand for
}

// Parse reads the documents of a file, of which there is at least one. name is used
// in messages, and its end tells JSON from YAML.
//
// The error is strictyaml.Diagnostics: what is neither YAML nor JSON, what Envoy's
// reader refuses, and limits that are exceeded.
func Parse(limits Limits, name string, src []byte) ([]*Value, error) {
	start := strictyaml.Diagnostic{File: name, Line: 1, Column: 1}
	fail := func(d strictyaml.Diagnostic, problem, remedy string) ([]*Value, error) {
		d.Problem, d.Remedy = problem, remedy
		return nil, strictyaml.Diagnostics{d}
	}
	if len(src) > limits.Bytes {
		return fail(start, fmt.Sprintf("the file has %d bytes", len(src)), fmt.Sprintf("at most %d are read", limits.Bytes))
	}
	if line, column, deep := tooDeep(src, limits.Depth); deep {
		start.Line, start.Column = line, column
		return fail(start, "brackets are nested too deeply", fmt.Sprintf("at most %d levels are read", limits.Depth))
	}
	r := reader{file: name, limits: limits, json: isJSON(name, json.Valid(src))}
	decoder := yaml.NewDecoder(bytes.NewReader(src))
	var documents []*Value
	for {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, strictyaml.Diagnostics{syntaxError(name, src, err)}
		}
		if len(document.Content) == 1 {
			v := r.value(document.Content[0], Path{}, 1)
			if v.Kind != Null {
				documents = append(documents, v)
			}
		}
		if err := r.found.Err(); err != nil {
			return nil, err
		}
	}
	if len(documents) == 0 {
		return fail(start, "the file is empty", "give a file with a configuration in it")
	}
	return documents, nil
}

type reader struct {
	file   string
	limits Limits
	json   bool
	nodes  int
	found  strictyaml.Diagnostics
}

func (r *reader) value(n *yaml.Node, path Path, depth int) *Value {
	v := &Value{File: r.file, Line: n.Line, Column: n.Column, Path: path}
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

func (r *reader) mapping(v *Value, n *yaml.Node, depth int) {
	places := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		if key.Kind != yaml.ScalarNode {
			at := Value{File: r.file, Line: key.Line, Column: key.Column, Path: v.Path}
			r.found.Add(at.Problem("a key is no string", "write it out as one"))
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
func syntaxError(file string, src []byte, err error) strictyaml.Diagnostic {
	d := strictyaml.Diagnostic{File: file, Line: 1, Column: 1, Remedy: "write valid YAML or JSON"}
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
	line := lines[d.Line-1]
	d.Column = 1 + len(line) - len(bytes.TrimLeft(line, " "))
	return d
}
