package message

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"

	"policyengine.dev/tools/pectl/envoyconfig/envoyyaml"
)

// Kind says what is wrong with a part of a configuration.
type Kind uint8

// The kinds of problems.
const (
	// Unreadable: Envoy refuses it.
	Unreadable Kind = iota
	// UnknownField: Envoy v1.36 has no such field.
	UnknownField
	// UnknownType: the message in an Any is not one of Envoy's.
	UnknownType
	// GivenTwice: a field is given under both of its names. Which of the two Envoy
	// takes is left to chance.
	GivenTwice
)

// Problem is something that was left out when a configuration was read.
type Problem struct {
	Kind Kind
	At   *Node
	Text string
}

// decoder reads one document.
type decoder struct{ problems []Problem }

// Decode reads a value as the message of a name, such as envoy.config.cluster.v3.Cluster.
// An unknown name is an error of the program's.
func Decode(v *envoyyaml.Value, name string) (*Node, []Problem) {
	t, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(name))
	if err != nil {
		panic("message: " + err.Error())
	}
	var d decoder
	n := d.message(v, nil, t.New())
	return n, d.problems
}

// Place is a value as a place that holds no message.
func Place(v *envoyyaml.Value) *Node { return &Node{value: v} }

// DecodeAny reads a value as a google.protobuf.Any: a mapping with @type.
func DecodeAny(v *envoyyaml.Value) (*Node, []Problem) {
	var d decoder
	n := d.message(v, nil, (&anypb.Any{}).ProtoReflect())
	return n, d.problems
}

func (d *decoder) problem(kind Kind, at *Node, format string, args ...any) {
	at.broken = kind == Unreadable
	d.problems = append(d.problems, Problem{kind, at, fmt.Sprintf(format, args...)})
}

func (d *decoder) message(v *envoyyaml.Value, parent *Node, m protoreflect.Message) *Node {
	n := &Node{value: v, parent: parent, message: m}
	switch name := m.Descriptor().FullName(); {
	case v.Kind == envoyyaml.Null && name != "google.protobuf.Value":
	case name == anyName:
		d.any(n)
	case strings.HasPrefix(string(name), "google.protobuf.") && d.wellKnown(n):
	case v.Kind != envoyyaml.Mapping:
		d.problem(Unreadable, n, "%s where %s is expected", v.Kind, name)
	default:
		d.fields(n, v)
		if fd := wrapped(m.Descriptor()); fd != nil {
			n.scalar = m.Get(fd)
		}
	}
	return n
}

// fields reads a message's fields.
func (d *decoder) fields(n *Node, v *envoyyaml.Value) {
	known := n.message.Descriptor().Fields()
	for _, f := range v.Fields {
		fd := known.ByTextName(f.Key)
		if fd == nil {
			fd = known.ByJSONName(f.Key)
		}
		if fd == nil {
			if f.Key != typeKey || n.parent == nil || n.parent.inner != n {
				d.problem(UnknownField, &Node{value: f.Value, parent: n}, "%s has no field %q", n.message.Descriptor().FullName(), f.Key)
			}
			continue
		}
		name := string(fd.Name())
		if earlier := n.byName[name]; earlier != nil {
			d.problem(GivenTwice, &Node{value: f.Value, parent: n}, "%q is given as %q as well", name, fd.JSONName())
			if f.Key != name {
				continue // as good as the other one
			}
		}
		if f.Value.Kind == envoyyaml.Null && !takesNull(fd) {
			continue
		}
		if other := beside(n.message, fd); other != nil {
			d.problem(Unreadable, &Node{value: f.Value, parent: n}, "%q is given beside %q, and only one of the two can be", name, other.Name())
			continue
		}
		n.add(name, d.field(n, fd, f.Value))
	}
}

// beside is the field of the same oneof that a message has already, or nil.
func beside(m protoreflect.Message, fd protoreflect.FieldDescriptor) protoreflect.FieldDescriptor {
	if fd.ContainingOneof() == nil {
		return nil
	}
	if other := m.WhichOneof(fd.ContainingOneof()); other != nil && other != fd {
		return other
	}
	return nil
}

func takesNull(fd protoreflect.FieldDescriptor) bool {
	return fd.Message() != nil && !fd.IsList() && !fd.IsMap() && fd.Message().FullName() == "google.protobuf.Value"
}

func (n *Node) add(name string, child *Node) {
	if n.byName == nil {
		n.byName = map[string]*Node{}
	}
	if n.byName[name] != nil {
		for i := range n.fields {
			if n.fields[i].name == name {
				n.fields[i].node = child
			}
		}
	} else {
		n.fields = append(n.fields, field{name, child})
	}
	n.byName[name] = child
}

func (d *decoder) field(n *Node, fd protoreflect.FieldDescriptor, v *envoyyaml.Value) *Node {
	m := n.message
	switch {
	case fd.IsMap():
		return d.mapField(n, fd, v)
	case fd.IsList():
		child := &Node{value: v, parent: n}
		m.Clear(fd)
		d.list(child, fd, v, m.Mutable(fd).List())
		return child
	case fd.Message() != nil:
		value := m.NewField(fd)
		child := d.message(v, n, value.Message())
		if !child.broken {
			m.Set(fd, value)
		}
		return child
	}
	child := &Node{value: v, parent: n}
	if value, err := scalar(fd, v); err != nil {
		d.problem(Unreadable, child, "%s: %v", fd.Name(), err)
	} else {
		child.scalar = value
		m.Set(fd, value)
	}
	return child
}

// list reads a list. A single value stands for a list of one, and lists in lists for
// their items, as Envoy takes them.
func (d *decoder) list(n *Node, fd protoreflect.FieldDescriptor, v *envoyyaml.Value, into protoreflect.List) {
	if v.Kind == envoyyaml.List {
		for _, item := range v.Items {
			d.list(n, fd, item, into)
		}
		return
	}
	if fd.Message() != nil {
		value := into.NewElement()
		n.items = append(n.items, d.message(v, n, value.Message()))
		into.Append(value)
		return
	}
	child := &Node{value: v, parent: n}
	value := into.NewElement()
	if v.Kind != envoyyaml.Null {
		var err error
		if value, err = scalar(fd, v); err != nil {
			d.problem(Unreadable, child, "an item of %s: %v", fd.Name(), err)
			return
		}
	}
	child.scalar = value
	n.items = append(n.items, child)
	into.Append(value)
}

func (d *decoder) mapField(n *Node, fd protoreflect.FieldDescriptor, v *envoyyaml.Value) *Node {
	child := &Node{value: v, parent: n}
	if v.Kind != envoyyaml.Mapping {
		d.problem(Unreadable, child, "%s: %s where a mapping is expected", fd.Name(), v.Kind)
		return child
	}
	into := n.message.Mutable(fd).Map()
	for _, f := range v.Fields {
		key, err := mapKey(fd.MapKey(), f.Key)
		entry := &Node{value: f.Value, parent: child}
		if err != nil {
			d.problem(Unreadable, entry, "a key of %s: %v", fd.Name(), err)
			continue
		}
		var value protoreflect.Value
		if fd.MapValue().Message() != nil {
			value = into.NewValue()
			entry = d.message(f.Value, child, value.Message())
		} else if value, err = scalar(fd.MapValue(), f.Value); err != nil {
			d.problem(Unreadable, entry, "%s: %v", fd.Name(), err)
			continue
		} else {
			entry.scalar = value
		}
		child.add(f.Key, entry)
		into.Set(key, value)
	}
	return child
}
