package message

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"policyengine.dev/tools/pectl/envoyconfig/envoyyaml"
)

func newAny() protoreflect.Message { return (&anypb.Any{}).ProtoReflect() }

// special reports whether a message has its own form in JSON.
func special(name string) bool {
	short, ok := strings.CutPrefix(name, "google.protobuf.")
	return ok && (strings.HasSuffix(short, "Value") || short == "Duration" || short == "Timestamp" || short == "FieldMask" || short == "Struct" || short == "Any")
}

// wellKnown reads the messages of protobuf's own that have their own form in
// JSON. It reports false for what is written as any message is, which Envoy takes of
// wrappers, durations, times and masks too.
func (d *decoder) wellKnown(n *Node) bool {
	v := n.value
	switch m := n.message.Interface().(type) {
	case *durationpb.Duration, *timestamppb.Timestamp, *fieldmaskpb.FieldMask:
		if v.Kind == envoyyaml.Mapping {
			return false
		}
		if err := text(v, m); err != nil {
			d.problem(Unreadable, n, "%v", err)
		}
	case *structpb.Struct:
		if v.Kind != envoyyaml.Mapping {
			d.problem(Unreadable, n, "%s where a mapping is expected", v.Kind)
			return true
		}
		proto.Merge(m, structOf(v).GetStructValue())
		d.untyped(n)
	case *structpb.Value:
		proto.Merge(m, structOf(v))
		d.untyped(n)
	case *structpb.ListValue:
		if v.Kind != envoyyaml.List {
			d.problem(Unreadable, n, "%s where a list is expected", v.Kind)
			return true
		}
		proto.Merge(m, structOf(v).GetListValue())
		d.untyped(n)
	default:
		fd := wrapped(n.message.Descriptor())
		if fd == nil || v.Kind == envoyyaml.Mapping {
			return false
		}
		value, err := scalar(fd, v)
		if err != nil {
			d.problem(Unreadable, n, "%v", err)
			return true
		}
		n.scalar = value
		n.message.Set(fd, value)
	}
	return true
}

// wrapped is the one field of a wrapper, such as google.protobuf.BoolValue; nil for
// any other message.
func wrapped(md protoreflect.MessageDescriptor) protoreflect.FieldDescriptor {
	if md.ParentFile().Path() != "google/protobuf/wrappers.proto" {
		return nil
	}
	return md.Fields().ByName("value")
}

// text reads a message that is written as a string.
func text(v *envoyyaml.Value, m proto.Message) error {
	if v.Kind == envoyyaml.String {
		if duration, ok := m.(*durationpb.Duration); ok {
			return readDuration(v.Text, duration)
		}
		if json, err := protojson.Marshal(structpb.NewStringValue(v.Text)); err == nil && protojson.Unmarshal(json, m) == nil {
			return nil
		}
	}
	return fmt.Errorf("%s that is no %s", v.Kind, m.ProtoReflect().Descriptor().Name())
}

// readDuration reads seconds, of which there are as many digits as one likes, with up
// to nine digits behind the point.
func readDuration(s string, d *durationpb.Duration) error {
	digits, ok := strings.CutSuffix(s, "s")
	digits, negative := strings.CutPrefix(digits, "-")
	seconds, nanos, point := strings.Cut(digits, ".")
	v := &envoyyaml.Value{Kind: envoyyaml.String, Text: seconds}
	whole, err := natural(v, 64)
	const most = 315_576_000_000 // protobuf's
	if !ok || err != nil || strings.HasPrefix(seconds, "+") || whole > most || point && (nanos == "" || len(nanos) > 9) {
		return fmt.Errorf("not a duration (write seconds, such as 0.2s)")
	}
	v.Text = (nanos + "000000000")[:9]
	part, err := natural(v, 32)
	if err != nil || strings.ContainsAny(nanos, "+-") {
		return fmt.Errorf("not a duration (write seconds, such as 0.2s)")
	}
	d.Seconds, d.Nanos = int64(whole), int32(part)
	if negative {
		d.Seconds, d.Nanos = -d.Seconds, -d.Nanos
	}
	return nil
}

func structOf(v *envoyyaml.Value) *structpb.Value {
	switch v.Kind {
	case envoyyaml.Bool:
		return structpb.NewBoolValue(v.Bool)
	case envoyyaml.String:
		return structpb.NewStringValue(v.Text)
	case envoyyaml.Number:
		f, err := fraction(v, 64)
		if err != nil {
			return structpb.NewStringValue(v.Text)
		}
		return structpb.NewNumberValue(f)
	case envoyyaml.List:
		list := &structpb.ListValue{}
		for _, item := range v.Items {
			list.Values = append(list.Values, structOf(item))
		}
		return structpb.NewListValue(list)
	case envoyyaml.Mapping:
		s := &structpb.Struct{Fields: map[string]*structpb.Value{}}
		for _, f := range v.Fields {
			s.Fields[f.Key] = structOf(f.Value)
		}
		return structpb.NewStructValue(s)
	}
	return structpb.NewNullValue()
}
