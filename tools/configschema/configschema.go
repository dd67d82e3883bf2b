// Package configschema writes the references of chains and routes from the .proto files
// that define them: a table of the fields, and a JSON Schema for editors.
package configschema

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/bufbuild/protocompile/linker"
	"google.golang.org/protobuf/reflect/protoreflect"

	configv1 "policyengine.dev/proto/policyengine/config/v1"
	"policyengine.dev/runtime/config/schema"
)

// Comments are the leading comments of messages, fields, enums and their values, each as
// one paragraph.
type Comments map[protoreflect.FullName]string

// NewComments reads the comments of compiled .proto files.
func NewComments(files linker.Files) Comments {
	c := Comments{}
	for _, file := range files {
		c.messages(file.Messages())
		c.enums(file.Enums())
	}
	return c
}

func (c Comments) add(d protoreflect.Descriptor) {
	text := d.ParentFile().SourceLocations().ByDescriptor(d).LeadingComments
	c[d.FullName()] = strings.Join(strings.Fields(text), " ")
}

func (c Comments) messages(all protoreflect.MessageDescriptors) {
	for i := range all.Len() {
		m := all.Get(i)
		c.add(m)
		for j := range m.Fields().Len() {
			c.add(m.Fields().Get(j))
		}
		c.messages(m.Messages())
		c.enums(m.Enums())
	}
}

func (c Comments) enums(all protoreflect.EnumDescriptors) {
	for i := range all.Len() {
		e := all.Get(i)
		c.add(e)
		for j := range e.Values().Len() {
			c.add(e.Values().Get(j))
		}
	}
}

var root = schema.Of((*configv1.Configuration)(nil).ProtoReflect().Descriptor())

// pageName is how a comment names another page of docs/reference.
var pageName = regexp.MustCompile(`(\w+) \(docs/reference/([\w.-]+)\)`)

// Table is the table of the fields that a file may have, in Markdown. A message that
// occurs twice has its fields listed where it occurs first.
func Table(c Comments) string {
	var b strings.Builder
	b.WriteString("| field | default | what it is |\n|---|---|---|\n")
	first := map[*schema.Shape]string{}
	var add func(path string, s *schema.Shape)
	add = func(path string, s *schema.Shape) {
		first[s] = path
		for _, f := range s.Fields {
			name := strings.TrimPrefix(path+"."+f.Name, ".")
			if f.Descriptor.IsList() {
				name += "[]"
			}
			text := pageName.ReplaceAllString(c[f.Descriptor.FullName()], "[$1]($2)")
			seen, again := first[f.Message]
			if f.Message != nil && again {
				text += fmt.Sprintf(" Each has the fields of `%s`.", seen)
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", name, standard(f), text)
			if f.Message != nil && !again {
				add(name, f.Message)
			}
		}
	}
	add("", root)
	return b.String()
}

// standard is what holds where a field is not given.
func standard(f *schema.Field) string {
	switch {
	case f.Rules.Required:
		return "required"
	case f.Rules.Default == "":
		return "none"
	}
	return f.Rules.Default
}

// ID is the JSON Schema's own identifier.
const ID = "https://policyengine.dev/schemas/config/v1/chains.json"

// JSON is the JSON Schema (2020-12) of a file of chains and routes.
func JSON(c Comments) ([]byte, error) {
	definitions := object{}
	top := c.mapping(root, definitions)
	top["$schema"], top["$id"] = "https://json-schema.org/draft/2020-12/schema", ID
	top["title"] = "Chains and routes of the policy engine"
	top["$defs"] = definitions
	out, err := json.MarshalIndent(top, "", "  ")
	return append(out, '\n'), err
}

type object map[string]any

func (c Comments) mapping(s *schema.Shape, definitions object) object {
	properties, required := object{}, []string{}
	for _, f := range s.Fields {
		properties[f.Name] = c.field(f, definitions)
		if f.Rules.Required {
			required = append(required, f.Name)
		}
	}
	m := object{"type": "object", "additionalProperties": false, "properties": properties}
	if len(required) > 0 {
		m["required"] = required
	}
	return m
}

func (c Comments) field(f *schema.Field, definitions object) object {
	value := c.value(f, definitions)
	if f.Descriptor.IsList() {
		value = object{"type": "array", "items": value}
	}
	value["description"] = c[f.Descriptor.FullName()]
	if text, is := strings.CutPrefix(f.Rules.Default, "`"); is {
		var word any = strings.TrimSuffix(text, "`")
		switch {
		case strings.Contains(word.(string), "`"):
			return value
		case f.Descriptor.Kind() == protoreflect.BoolKind:
			word = word == "true"
		}
		value["default"] = word
	}
	return value
}

// Patterns of values that are written as strings. They accept what the engine accepts.
const (
	sizePattern     = `^[0-9]+ *(B|KiB|MiB|GiB)$`
	durationPattern = `^[+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))*$`
	headerPattern   = "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"
)

func (c Comments) value(f *schema.Field, definitions object) object {
	switch f.Rules.Format {
	case configv1.Format_FORMAT_SIZE:
		return object{"anyOf": []object{{"type": "integer", "minimum": 1}, {"type": "string", "pattern": sizePattern}}}
	case configv1.Format_FORMAT_HEADER_NAME:
		return object{"type": "string", "pattern": headerPattern}
	case configv1.Format_FORMAT_JSON_OBJECT:
		return object{"type": "object"}
	}
	switch {
	case f.Message != nil:
		name := string(f.Descriptor.Message().Name())
		if definitions[name] == nil {
			d := c.mapping(f.Message, definitions)
			d["description"] = c[f.Descriptor.Message().FullName()]
			definitions[name] = d
		}
		return object{"$ref": "#/$defs/" + name}
	case f.Words != nil:
		return object{"enum": f.Words}
	case f.Descriptor.Kind() == protoreflect.BoolKind:
		return object{"type": "boolean"}
	case f.Descriptor.Kind() == protoreflect.MessageKind: // a duration
		return object{"type": "string", "pattern": durationPattern}
	case f.Rules.Required:
		return object{"type": "string", "minLength": 1}
	}
	return object{"type": "string"}
}
