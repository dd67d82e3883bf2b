package schema

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	configv1 "policyengine.dev/proto/policyengine/config/v1"
)

// maxProblems is how many problems of one message [Check] returns.
const maxProblems = 1000

// Check returns what is wrong with a message that does not come from a file: fields that
// the schema does not have, missing ones, and values that no file could have. It returns
// at most 1,000 problems.
func Check(message proto.Message) []Problem {
	var c checker
	m := message.ProtoReflect()
	c.message("", Of(m.Descriptor()), m)
	return c.found
}

type checker struct{ found []Problem }

func (c *checker) add(path string, f fault) {
	if len(c.found) < maxProblems {
		c.found = append(c.found, Problem{path, f.problem, f.remedy})
	}
}

func (c *checker) message(path string, s *Shape, m protoreflect.Message) {
	c.unknown(path, m)
	for _, f := range s.Fields {
		in := f.in(m, false)
		if f.inside != nil {
			c.unknown(path, in)
		}
		name := strings.TrimPrefix(path+"."+f.Name, ".")
		switch {
		case f.Descriptor.IsList():
			list := in.Get(f.Descriptor).List()
			for i := range list.Len() {
				item := fmt.Sprintf("%s[%d]", name, i)
				if f.Message != nil {
					c.message(item, f.Message, list.Get(i).Message())
				} else {
					c.value(item, f, list.Get(i))
				}
			}
		case !in.Has(f.Descriptor):
			if f.Rules.Required {
				c.add(name, fault{"missing", "this field is required"})
			}
		case f.Message != nil:
			c.message(name, f.Message, in.Get(f.Descriptor).Message())
		default:
			c.value(name, f, in.Get(f.Descriptor))
		}
	}
}

// unknown reports fields that the schema does not have. To ignore one could mean to
// ignore a restriction.
func (c *checker) unknown(path string, m protoreflect.Message) {
	if !m.IsValid() {
		return
	}
	for rest := m.GetUnknown(); len(rest) > 0; {
		number, _, size := protowire.ConsumeField(rest)
		if size < 0 {
			return // Unmarshal has refused what is not a field
		}
		c.add(path, fault{
			fmt.Sprintf("field %d of %s is not known", number, m.Descriptor().FullName()),
			"leave out what this version of the engine does not have",
		})
		rest = rest[size:]
	}
}

func (c *checker) value(path string, f *Field, v protoreflect.Value) {
	switch {
	case f.Rules.Format == configv1.Format_FORMAT_SIZE:
		if v.Uint() == 0 || v.Uint() > math.MaxInt64 {
			c.add(path, badSize)
		}
	case f.Rules.Format == configv1.Format_FORMAT_HEADER_NAME:
		if !validHeader(v.String()) {
			c.add(path, badHeader)
		}
	case f.Rules.Format == configv1.Format_FORMAT_JSON_OBJECT:
		if text := v.String(); !strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "{") || !json.Valid([]byte(text)) {
			c.add(path, fault{"not the JSON text of an object", "write the parameters as a JSON object"})
		}
	case f.Words != nil:
		if f.Descriptor.Enum().Values().ByNumber(v.Enum()) == nil {
			var names []string
			for _, value := range f.values {
				names = append(names, string(value.Name()))
			}
			c.add(path, f.badWord(names))
		}
	case f.Descriptor.Kind() == protoreflect.MessageKind:
		c.duration(path, v.Message().Interface())
	}
}

func (c *checker) duration(path string, m proto.Message) {
	d, ok := m.(*durationpb.Duration)
	switch {
	case !ok || d.CheckValid() != nil || d.Seconds > math.MaxInt64/int64(time.Second)-1:
		c.add(path, tooLong)
	case d.AsDuration() <= 0:
		c.add(path, tooShort)
	}
}
