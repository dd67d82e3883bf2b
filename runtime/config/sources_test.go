package config_test

import (
	"reflect"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	configv1 "policyengine.dev/proto/policyengine/config/v1"
	"policyengine.dev/runtime/config"
	"policyengine.dev/runtime/config/schema"
	"policyengine.dev/runtime/worker"
)

// TestEveryFieldMatters proves that no field of the schema is read and then forgotten: a
// configuration in which one field of a message has another value is another one for the
// worker.
func TestEveryFieldMatters(t *testing.T) {
	plain := func() *configv1.Configuration {
		return &configv1.Configuration{
			Chains:   []*configv1.Chain{{Name: "c", Policies: []*configv1.Step{{Name: "p", Version: "v1"}}}},
			Routes:   []*configv1.Route{{Name: "r", Chain: "c"}},
			Defaults: &configv1.Defaults{},
		}
	}
	n := 0
	for _, part := range []func(c *configv1.Configuration) proto.Message{
		func(c *configv1.Configuration) proto.Message { return c },
		func(c *configv1.Configuration) proto.Message { return c.Chains[0] },
		func(c *configv1.Configuration) proto.Message { return c.Chains[0].Policies[0] },
		func(c *configv1.Configuration) proto.Message { return c.Routes[0] },
		func(c *configv1.Configuration) proto.Message { return c.Defaults },
	} {
		fields := part(plain()).ProtoReflect().Descriptor().Fields()
		for i := range fields.Len() {
			f := fields.Get(i)
			changed := plain()
			if !change(part(changed).ProtoReflect(), f) {
				continue
			}
			n++
			a, b := specOf(t, plain()), specOf(t, changed)
			a.Version, b.Version = "", ""
			if reflect.DeepEqual(a, b) {
				t.Errorf("%s changes nothing", f.FullName())
			}
		}
	}
	if n < 20 {
		t.Errorf("only %d fields were changed", n)
	}
}

// change gives a field another value, and reports whether it did.
func change(m protoreflect.Message, f protoreflect.FieldDescriptor) bool {
	rules, _ := proto.GetExtension(f.Options(), configv1.E_Rules).(*configv1.FieldRules)
	switch {
	case rules.GetInline():
		return false // its fields have their own turns
	case f.IsList() && f.Kind() == protoreflect.MessageKind:
		list := m.Mutable(f).List()
		e := list.NewElement()
		e.Message().Set(e.Message().Descriptor().Fields().ByName("name"), protoreflect.ValueOfString("another"))
		list.Append(e)
	case f.IsList():
		m.Mutable(f).List().Append(protoreflect.ValueOfString("x-other"))
	case rules.GetFormat() == configv1.Format_FORMAT_JSON_OBJECT:
		m.Set(f, protoreflect.ValueOfString(`{"a":1}`))
	case f.Kind() == protoreflect.EnumKind:
		// The value that is not the default is the last of each enum.
		m.Set(f, protoreflect.ValueOfEnum(f.Enum().Values().Get(f.Enum().Values().Len()-1).Number()))
	case f.Kind() == protoreflect.BoolKind:
		m.Set(f, protoreflect.ValueOfBool(!f.HasPresence()))
	case f.Kind() == protoreflect.MessageKind:
		m.Set(f, protoreflect.ValueOfMessage(durationpb.New(1000).ProtoReflect()))
	case f.Kind() == protoreflect.Uint64Kind:
		m.Set(f, protoreflect.ValueOfUint64(77))
	default:
		m.Set(f, protoreflect.ValueOfString("another"))
	}
	return true
}

func specOf(t *testing.T, c *configv1.Configuration) worker.Spec {
	t.Helper()
	src := schema.Encode(c)
	s, _, _ := config.ParseChains([]config.File{{Name: "a.yaml", Src: src}})
	return s
}
