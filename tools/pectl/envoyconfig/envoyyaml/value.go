// Package envoyyaml reads YAML and JSON as Envoy v1.36 does: the words of YAML 1.1
// are booleans, numbers may be hexadecimal or octal, and of a key that is given twice
// the last one counts. Every value knows its place in the file.
package envoyyaml

import (
	"strings"

	"policyengine.dev/sdk/strictyaml"
)

// Kind says what a value is.
type Kind uint8

// The kinds of JSON values.
const (
	Null Kind = iota
	Bool
	Number
	String
	List
	Mapping
	// Invalid is a word in a file of JSON that JSON does not have, such as True.
	Invalid
)

// String gives the kind as it is named in messages.
func (k Kind) String() string {
	return [...]string{"null", "a boolean", "a number", "a string", "a list", "a mapping", "a word that JSON does not have"}[k]
}

// Value is a value of a file. It is not modified once read.
type Value struct {
	// Kind says which of the other fields count.
	Kind Kind
	// Bool is a boolean.
	Bool bool
	// Text is a string, or a number in JSON's notation.
	Text string
	// Items are those of a list, Fields those of a mapping in the file's order.
	// No key is there twice.
	Items  []*Value
	Fields []Field
	// File, Line and Column are the place; lines and columns count from 1.
	File         string
	Line, Column int
	// Indent is how far the lines of a literal block (|) are indented; they follow
	// the value's own line.
	Indent int
	// Path leads here from the root of its document.
	Path Path
}

// Field is a key and its value.
type Field struct {
	Key   string
	Value *Value
}

// Get returns the value of a mapping's key, or nil.
func (v *Value) Get(key string) *Value {
	if v == nil {
		return nil
	}
	for _, f := range v.Fields {
		if f.Key == key {
			return f.Value
		}
	}
	return nil
}

// Problem is a diagnostic about the value.
func (v *Value) Problem(problem, remedy string) strictyaml.Diagnostic {
	return strictyaml.Diagnostic{File: v.File, Line: v.Line, Column: v.Column, Path: v.Path.String(), Problem: problem, Remedy: remedy}
}

// Path leads from the root of a document to a value. The zero Path is the root's.
type Path struct{ leaf *step }

type step struct {
	parent *step
	key    string
	index  int // -1 for a key
}

// Key is the path of a mapping's field.
func (p Path) Key(key string) Path { return Path{&step{p.leaf, key, -1}} }

// Index is the path of a list's item, counted from 0.
func (p Path) Index(i int) Path { return Path{&step{p.leaf, "", i}} }

// String gives the path as in static_resources.listeners[0].name.
func (p Path) String() string { return p.leaf.String() }

func (s *step) String() string {
	switch {
	case s == nil:
		return ""
	case s.index >= 0:
		return strictyaml.PathIndex(s.parent.String(), s.index)
	}
	return strictyaml.PathKey(s.parent.String(), s.key)
}

// isJSON reports whether Envoy reads a file of this name as JSON. It goes by the end
// of the name; any other file is taken for what it is.
func isJSON(name string, valid bool) bool {
	switch {
	case strings.HasSuffix(name, ".json"):
		return true
	case strings.HasSuffix(name, ".yaml"), strings.HasSuffix(name, ".yml"):
		return false
	}
	return valid
}
