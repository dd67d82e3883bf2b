package schema

import (
	"bytes"
	"encoding/json"
	"strconv"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	configv1 "policyengine.dev/proto/policyengine/config/v1"
)

// Encode writes a valid message as a file has it, in JSON without white space. [Decode]
// reads it back. Fields that are not set are left out, except for required lists.
func Encode(message proto.Message) []byte {
	var b bytes.Buffer
	m := message.ProtoReflect()
	encodeMessage(&b, Of(m.Descriptor()), m)
	return b.Bytes()
}

func encodeMessage(b *bytes.Buffer, s *Shape, m protoreflect.Message) {
	b.WriteByte('{')
	first := true
	for _, f := range s.Fields {
		in := f.in(m, false)
		if !in.Has(f.Descriptor) && !(f.Rules.Required && f.Descriptor.IsList()) {
			continue
		}
		if !first {
			b.WriteByte(',')
		}
		first = false
		encodeString(b, f.Name)
		b.WriteByte(':')
		if !f.Descriptor.IsList() {
			encodeValue(b, f, in.Get(f.Descriptor))
			continue
		}
		b.WriteByte('[')
		list := in.Get(f.Descriptor).List()
		for i := range list.Len() {
			if i > 0 {
				b.WriteByte(',')
			}
			encodeValue(b, f, list.Get(i))
		}
		b.WriteByte(']')
	}
	b.WriteByte('}')
}

func encodeValue(b *bytes.Buffer, f *Field, v protoreflect.Value) {
	switch {
	case f.Message != nil:
		encodeMessage(b, f.Message, v.Message())
	case f.Rules.Format == configv1.Format_FORMAT_SIZE:
		b.WriteString(strconv.FormatUint(v.Uint(), 10))
	case f.Rules.Format == configv1.Format_FORMAT_JSON_OBJECT:
		// An error would mean that the message is not valid.
		_ = json.Compact(b, []byte(v.String()))
	case f.Words != nil:
		for i, value := range f.values {
			if value.Number() == v.Enum() {
				encodeString(b, f.Words[i])
			}
		}
	case f.Descriptor.Kind() == protoreflect.BoolKind:
		b.WriteString(strconv.FormatBool(v.Bool()))
	case f.Descriptor.Kind() == protoreflect.MessageKind:
		d := v.Message().Interface().(*durationpb.Duration)
		encodeString(b, d.AsDuration().String())
	default:
		encodeString(b, v.String())
	}
}

func encodeString(b *bytes.Buffer, s string) {
	encoder := json.NewEncoder(b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(s)   // a string into a buffer: neither can fail
	b.Truncate(b.Len() - 1) // the newline that Encode ends with
}
