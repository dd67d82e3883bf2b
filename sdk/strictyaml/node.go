package strictyaml

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Node is one place in a parsed file, present or missing. It is a small
// value, immutable and safe for concurrent use; it keeps the file's whole
// tree in memory. The zero Node is missing and knows no file.
type Node struct {
	file string
	path path
	yaml *yaml.Node // for a missing place: the nearest value around it
	key  *yaml.Node // the key that leads here, in a mapping

	missing bool
}

// Kind says what a node holds.
type Kind uint8

// The kinds of value that JSON knows too, and Missing for a place that the
// file does not have.
const (
	Missing Kind = iota
	Null
	Bool
	Number
	String
	List
	Mapping
)

// String gives the kind as it is named in messages, such as "a list".
func (k Kind) String() string {
	return [...]string{"nothing", "an empty value (null)", "a boolean", "a number", "a string", "a list", "a mapping"}[k]
}

// Kind says what the node holds; an alias is what it stands for.
func (n Node) Kind() Kind {
	v := n.value()
	switch {
	case v == nil:
		return Missing
	case v.Kind == yaml.MappingNode:
		return Mapping
	case v.Kind == yaml.SequenceNode:
		return List
	}
	return scalarKind(v)
}

// File is the name given to [Parse].
func (n Node) File() string { return n.file }

// Path leads here from the root, such as chains[2].policies[0].version. Keys
// that are no plain word are quoted: headers["x.y"]. It is empty for the root.
func (n Node) Path() string { return n.path.String() }

// Position is the line and column of the value, both counted from 1; for a
// missing place, of the nearest value around it. An alias is where it is
// written. Both are 0 for the zero Node.
func (n Node) Position() (line, column int) {
	if n.yaml == nil {
		return 0, 0
	}
	return n.yaml.Line, n.yaml.Column
}

// Problem is a [Diagnostic] about this place.
func (n Node) Problem(problem, remedy string) Diagnostic {
	line, column := n.Position()
	return Diagnostic{File: n.file, Line: line, Column: column, Path: n.Path(), Problem: problem, Remedy: remedy}
}

// KeyProblem is a [Diagnostic] about the key that leads here, and otherwise
// like Problem.
func (n Node) KeyProblem(problem, remedy string) Diagnostic {
	d := n.Problem(problem, remedy)
	if n.key != nil {
		d.Line, d.Column = n.key.Line, n.key.Column
	}
	return d
}

// At goes down from here: a string is a key, an int an index (counted from
// 0); any other type panics. A place that the file does not have gives a
// missing node with the full path and the position of the nearest value.
func (n Node) At(steps ...any) Node {
	for _, step := range steps {
		switch step := step.(type) {
		case string:
			n = n.child(step)
		case int:
			n = n.index(step)
		default:
			panic("strictyaml: a step is a key (string) or an index (int)")
		}
	}
	return n
}

// Pointer goes down from here by a JSON pointer (RFC 6901), as JSON Schema
// reports one. "" is the node itself. Like At, it never fails.
func (n Node) Pointer(pointer string) Node {
	if pointer == "" {
		return n
	}
	for token := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		token = strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
		if i, err := strconv.Atoi(token); err == nil && n.Kind() == List {
			n = n.index(i)
		} else {
			n = n.child(token)
		}
	}
	return n
}

// AtPath goes down from here by a path as [Node.Path] writes it, such as
// chains[2].policies[0].version; "" is the node itself. Like At, it never
// fails; what is not a path leads to the last place that could be read.
func (n Node) AtPath(path string) Node {
	for path != "" {
		step, rest, ok := cutStep(path)
		if !ok {
			break
		}
		n, path = n.At(step), rest
	}
	return n
}

// Fields calls yield for each key of a mapping, in the file's order, until it
// returns false. Any other kind has none. It is an iter.Seq2.
func (n Node) Fields(yield func(string, Node) bool) {
	if n.Kind() != Mapping {
		return
	}
	content := n.value().Content
	for i := 0; i+1 < len(content); i += 2 {
		if !yield(content[i].Value, n.stepKey(content[i], content[i+1])) {
			return
		}
	}
}

// Items calls yield for each item of a list, in order, until it returns
// false. Any other kind has none. It is an iter.Seq2.
func (n Node) Items(yield func(int, Node) bool) {
	if n.Kind() != List {
		return
	}
	for i, item := range n.value().Content {
		if !yield(i, n.step(i, item)) {
			return
		}
	}
}

// Text is a scalar as it is written, quotes and escapes resolved; "" for any
// other kind.
func (n Node) Text() string {
	switch n.Kind() {
	case Bool, Number, String:
		return n.value().Value
	}
	return ""
}

// value resolves aliases. It is nil for a missing node.
func (n Node) value() *yaml.Node {
	if n.missing || n.yaml == nil {
		return nil
	}
	if n.yaml.Kind == yaml.AliasNode {
		return n.yaml.Alias
	}
	return n.yaml
}

func (n Node) child(key string) Node {
	for name, field := range n.Fields {
		if name == key {
			return field
		}
	}
	return Node{file: n.file, path: n.path.child(key), yaml: n.yaml, missing: true}
}

func (n Node) index(i int) Node {
	if n.Kind() == List && i >= 0 && i < len(n.value().Content) {
		return n.step(i, n.value().Content[i])
	}
	return Node{file: n.file, path: n.path.index(i), yaml: n.yaml, missing: true}
}

func (n Node) step(i int, item *yaml.Node) Node {
	return Node{file: n.file, path: n.path.index(i), yaml: item}
}

func (n Node) stepKey(key, value *yaml.Node) Node {
	return Node{file: n.file, path: n.path.child(key.Value), yaml: value, key: key}
}
