// Package schema reads, checks and writes the messages of policyengine.config.v1.
//
// The messages are the one schema of chains and routes. [Decode] reads them from a
// file, [Check] holds those of a control plane to the same rules, and [Encode] writes
// them as a file has them. All three follow the descriptors and the (rules) of their
// fields: a field that is added to the .proto file needs no code here.
package schema

import (
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	configv1 "policyengine.dev/proto/policyengine/config/v1"
)

// Shape is how a message is written in a file. It is immutable.
type Shape struct {
	// Fields are in the order of the message. Those of an inlined message stand in
	// its place.
	Fields []*Field
	names  []string
	byName map[string]*Field
}

// Field is one field of a [Shape]. It is immutable.
type Field struct {
	// Name is the field's name in a file.
	Name string
	// Descriptor is the field's own.
	Descriptor protoreflect.FieldDescriptor
	// Rules are what the value has to be beyond its type. Never nil.
	Rules *configv1.FieldRules
	// Message is the shape of the value, or of each item of a list, if that is a
	// mapping in a file; otherwise nil.
	Message *Shape
	// Words are what a file may have for an enum, and values what they stand for.
	Words  []string
	values []protoreflect.EnumValueDescriptor
	// index is the field's place in its shape.
	index int
	// inside is the field of an inlined message that the field is in, or nil.
	inside protoreflect.FieldDescriptor
}

// maxFields is how many fields a message may have.
const maxFields = 32

const durationName = "google.protobuf.Duration"

var shapes sync.Map // of protoreflect.FullName to *Shape

// Of returns the shape of a message.
func Of(m protoreflect.MessageDescriptor) *Shape {
	if s, ok := shapes.Load(m.FullName()); ok {
		return s.(*Shape)
	}
	s := &Shape{byName: map[string]*Field{}}
	fields := m.Fields()
	for i := range fields.Len() {
		f := newField(fields.Get(i))
		if !f.Rules.Inline {
			s.add(f)
			continue
		}
		for _, inner := range f.Message.Fields {
			moved := *inner
			moved.inside = f.Descriptor
			s.add(&moved)
		}
	}
	known, _ := shapes.LoadOrStore(m.FullName(), s)
	return known.(*Shape)
}

func (s *Shape) add(f *Field) {
	f.index = len(s.Fields)
	s.Fields = append(s.Fields, f)
	s.names = append(s.names, f.Name)
	s.byName[f.Name] = f
}

func newField(d protoreflect.FieldDescriptor) *Field {
	rules, _ := proto.GetExtension(d.Options(), configv1.E_Rules).(*configv1.FieldRules)
	if rules == nil {
		rules = &configv1.FieldRules{}
	}
	f := &Field{Name: d.JSONName(), Descriptor: d, Rules: rules}
	switch d.Kind() {
	case protoreflect.MessageKind:
		if d.Message().FullName() != durationName {
			f.Message = Of(d.Message())
		}
	case protoreflect.EnumKind:
		f.Words, f.values = words(d.Enum())
	}
	return f
}

// words are the values of an enum without the first, which stands for the default, by
// what is behind their common prefix.
func words(e protoreflect.EnumDescriptor) (all []string, values []protoreflect.EnumValueDescriptor) {
	prefix := strings.TrimSuffix(string(e.Values().Get(0).Name()), "UNSPECIFIED")
	for i := 1; i < e.Values().Len(); i++ {
		v := e.Values().Get(i)
		all = append(all, strings.ToLower(strings.TrimPrefix(string(v.Name()), prefix)))
		values = append(values, v)
	}
	return all, values
}

// in returns the message that holds the field: m, or the inlined one in it.
func (f *Field) in(m protoreflect.Message, create bool) protoreflect.Message {
	switch {
	case f.inside == nil:
		return m
	case create:
		return m.Mutable(f.inside).Message()
	}
	return m.Get(f.inside).Message()
}
