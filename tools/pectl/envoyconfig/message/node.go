// Package message reads Envoy's messages from YAML or JSON as Envoy v1.36 does, each
// google.protobuf.Any in them as the message that it holds. Every field knows its
// place in the file. What cannot be read is reported and left out, and hides nothing
// else.
package message

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"policyengine.dev/sdk/strictyaml"
	"policyengine.dev/tools/pectl/envoyconfig/envoyyaml"
)

// Node is a place in a configuration: a message, a field's value, or one that is
// missing. Nodes are not modified once read.
type Node struct {
	// value is what is written, or the nearest value around a missing place.
	value   *envoyyaml.Value
	missing envoyyaml.Path // of a missing place
	absent  bool
	parent  *Node
	broken  bool // Envoy does not take what is written

	message protoreflect.Message // nil for what is not a message
	scalar  protoreflect.Value   // of a field that is neither message, list nor map
	// fields are those of a message, by their names in Envoy's files (snake
	// case), or of a map, in the file's order.
	fields []field
	byName map[string]*Node
	items  []*Node
	// inner is what an Any holds: message is the Any then.
	inner *Node
	// typeName is the name of the message that an Any holds, known or not.
	typeName string
}

type field struct {
	name string
	node *Node
}

// Unreadable reports whether Envoy does not take what is written there. The message
// around it then lacks the field.
func (n *Node) Unreadable() bool { return n.broken }

// Is reports whether there is something else than null.
func (n *Node) Is() bool { return n != nil && !n.absent }

// As returns the node's message, which is empty if the node holds no such message.
// For an Any it is the message in it.
func As[M proto.Message](n *Node) M {
	var none M
	if n == nil {
		return none
	}
	if n.inner != nil {
		n = n.inner
	}
	if n.message == nil {
		return none
	}
	m, _ := n.message.Interface().(M)
	return m
}

// At goes down by Envoy's field names (snake case) and keys of maps (string), or by
// indices (int). Any messages on the way are entered. A place that is not there gives
// a node that Is not, with the place of the nearest value.
func (n *Node) At(steps ...any) *Node {
	for _, step := range steps {
		n = n.at(step)
	}
	return n
}

func (n *Node) at(step any) *Node {
	if n.inner != nil {
		n = n.inner
	}
	switch step := step.(type) {
	case string:
		if child := n.byName[step]; child != nil {
			return child
		}
		return &Node{value: n.value, missing: n.path().Key(step), absent: true, parent: n}
	case int:
		if step >= 0 && step < len(n.items) {
			return n.items[step]
		}
		return &Node{value: n.value, missing: n.path().Index(step), absent: true, parent: n}
	}
	panic("message: a step is a field (string) or an index (int)")
}

func (n *Node) path() envoyyaml.Path {
	if n.absent {
		return n.missing
	}
	return n.value.Path
}

// Items calls yield for each item of a list. It is an iter.Seq2.
func (n *Node) Items(yield func(int, *Node) bool) {
	for i, item := range n.items {
		if !yield(i, item) {
			return
		}
	}
}

// Fields calls yield for each field of a message, those of the message in an Any, or
// each key of a map. It is an iter.Seq2.
func (n *Node) Fields(yield func(string, *Node) bool) {
	if n.inner != nil {
		n = n.inner
	}
	for _, f := range n.fields {
		if !yield(f.name, f.node) {
			return
		}
	}
}

// Text is a string; "" for anything else.
func (n *Node) Text() string {
	if s, ok := n.scalar.Interface().(string); ok {
		return s
	}
	return ""
}

// Bool is a boolean; false for anything else.
func (n *Node) Bool() bool {
	b, _ := n.scalar.Interface().(bool)
	return b
}

// Type is the full name of the node's message: for an Any, of the message in it; "" for
// what is not a message.
func (n *Node) Type() string {
	if n.message == nil || n.message.Descriptor().FullName() == anyName {
		return n.typeName
	}
	return string(n.message.Descriptor().FullName())
}

// Inner is what an Any holds; the node itself where it is none.
func (n *Node) Inner() *Node {
	if n.inner != nil {
		return n.inner
	}
	return n
}

// Parent is the message, list or map around the node; nil for the root.
func (n *Node) Parent() *Node { return n.parent }

// File, Position and Path are the place; see strictyaml.Node.
func (n *Node) File() string { return n.value.File }

// Position is the line and column, both counted from 1.
func (n *Node) Position() (line, column int) { return n.value.Line, n.value.Column }

// Path leads to the node from the root of its document.
func (n *Node) Path() string { return n.path().String() }

// Problem is a diagnostic about the node.
func (n *Node) Problem(problem, remedy string) strictyaml.Diagnostic {
	d := n.value.Problem(problem, remedy)
	d.Path = n.Path()
	return d
}

// Anywhere reports whether is is true of a field, or an item, which has no name,
// somewhere below n.
func (n *Node) Anywhere(is func(name string, v *Node) bool) bool {
	if n.inner != nil {
		n = n.inner
	}
	for _, f := range n.fields {
		if is(f.name, f.node) || f.node.Anywhere(is) {
			return true
		}
	}
	for _, item := range n.items {
		if is("", item) || item.Anywhere(is) {
			return true
		}
	}
	return false
}
