package schema

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	configv1 "policyengine.dev/proto/policyengine/config/v1"
	"policyengine.dev/sdk/strictyaml"
)

// Decode reads a mapping of a file into a message, which should be empty.
//
// The error is strictyaml.Diagnostics with every problem: unknown fields, missing ones,
// and values that are not what the schema says. What had none is decoded nevertheless.
func Decode(n strictyaml.Node, into proto.Message) error {
	var d decoder
	m := into.ProtoReflect()
	d.message(n, Of(m.Descriptor()), m)
	return d.found.Err()
}

type decoder struct{ found strictyaml.Diagnostics }

func (d *decoder) message(n strictyaml.Node, s *Shape, m protoreflect.Message) {
	if !d.is(n, strictyaml.Mapping) {
		return
	}
	var given [maxFields]bool
	for key, child := range n.Fields {
		f := s.byName[key]
		if f == nil {
			d.found.Add(child.KeyProblem("unknown field", strictyaml.Nearest(key, s.names)))
			continue
		}
		given[f.index] = true
		d.field(child, f, f.in(m, true))
	}
	for i, f := range s.Fields {
		if f.Rules.Required && !given[i] {
			d.found.Add(n.At(f.Name).Problem("missing", "this field is required"))
		}
	}
}

func (d *decoder) field(n strictyaml.Node, f *Field, m protoreflect.Message) {
	switch {
	case f.Descriptor.IsList():
		if !d.is(n, strictyaml.List) {
			return
		}
		list := m.Mutable(f.Descriptor).List()
		for _, item := range n.Items {
			if f.Message != nil {
				d.message(item, f.Message, list.AppendMutable().Message())
			} else {
				// An item that is wrong keeps its place.
				v, _ := d.value(item, f)
				list.Append(v)
			}
		}
	case f.Message != nil:
		d.message(n, f.Message, m.Mutable(f.Descriptor).Message())
	default:
		if v, ok := d.value(n, f); ok {
			m.Set(f.Descriptor, v)
		}
	}
}

// value reads a scalar. What it returns where ok is false is valid for the field's type.
func (d *decoder) value(n strictyaml.Node, f *Field) (v protoreflect.Value, ok bool) {
	switch {
	case f.Rules.Format == configv1.Format_FORMAT_SIZE:
		size, err := ParseSize(n)
		d.found.AddError(n, err)
		return protoreflect.ValueOfUint64(uint64(size)), err == nil
	case f.Rules.Format == configv1.Format_FORMAT_HEADER_NAME:
		return protoreflect.ValueOfString(n.Text()), d.ok(n, n.Kind() == strictyaml.String && validHeader(n.Text()), badHeader)
	case f.Rules.Format == configv1.Format_FORMAT_JSON_OBJECT:
		return protoreflect.ValueOfString(string(n.JSON())), d.ok(n, n.Kind() == strictyaml.Mapping, badObject)
	case f.Words != nil:
		for i, word := range f.Words {
			if n.Kind() == strictyaml.String && n.Text() == word {
				return protoreflect.ValueOfEnum(f.values[i].Number()), true
			}
		}
		return protoreflect.ValueOfEnum(0), d.ok(n, false, f.badWord(f.Words))
	}
	switch f.Descriptor.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(n.Text()), d.is(n, strictyaml.String) && d.ok(n, !f.Rules.Required || n.Text() != "", empty)
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(strings.EqualFold(n.Text(), "true")), d.is(n, strictyaml.Bool)
	case protoreflect.MessageKind: // google.protobuf.Duration
		length := d.duration(n)
		return protoreflect.ValueOfMessage(durationpb.New(length).ProtoReflect()), length > 0
	}
	panic(fmt.Sprintf("schema: no file can have a field like %s", f.Descriptor.FullName()))
}

func (d *decoder) duration(n strictyaml.Node) time.Duration {
	var length time.Duration
	if err := n.Decode(&length); err != nil {
		d.found.AddError(n, err)
		return 0
	}
	d.ok(n, length > 0, tooShort)
	return length
}

// is reports whether a node has a kind, and otherwise the problem.
func (d *decoder) is(n strictyaml.Node, kind strictyaml.Kind) bool {
	if n.Kind() == kind {
		return true
	}
	var wrong error // as strictyaml words it
	switch kind {
	case strictyaml.Mapping:
		wrong = n.Decode(&struct{}{})
	case strictyaml.List:
		wrong = n.Decode(new([]any))
	case strictyaml.String:
		wrong = n.Decode(new(string))
	case strictyaml.Bool:
		wrong = n.Decode(new(bool))
	}
	d.found.AddError(n, wrong)
	return false
}

// ok adds a fault unless ok is true, and returns ok.
func (d *decoder) ok(n strictyaml.Node, ok bool, f fault) bool {
	if !ok {
		d.found.Add(n.Problem(f.problem, f.remedy))
	}
	return ok
}
