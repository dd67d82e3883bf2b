package schema_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	configv1 "policyengine.dev/proto/policyengine/config/v1"
	"policyengine.dev/runtime/config/schema"
	"policyengine.dev/sdk/strictyaml"
)

// TestFilesAndMessagesSayTheSame proves over the descriptors that a file can say what a
// message can, and the other way round: whatever a message has in whichever of its fields
// is there again after it was written as a file and read.
func TestFilesAndMessagesSayTheSame(t *testing.T) {
	set := map[protoreflect.FullName]bool{}
	for seed := range uint64(300) {
		r := filler{rand.New(rand.NewPCG(seed, 1)), set}
		want := &configv1.Configuration{}
		r.fill(want.ProtoReflect())
		if problems := schema.Check(want); len(problems) > 0 {
			t.Fatalf("seed %d: a message that was to be valid: %v", seed, problems)
		}
		file := schema.Encode(want)
		root, err := strictyaml.Parse("chains.yaml", file)
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, file)
		}
		got := &configv1.Configuration{}
		if err := schema.Decode(root, got); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, file)
		}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Fatalf("seed %d (-message +file):\n%s\n%s", seed, diff, file)
		}
	}
	// Without this a field that the filler never sets would prove nothing.
	var want []protoreflect.FullName
	for _, m := range []proto.Message{&configv1.Configuration{}, &configv1.Chain{}, &configv1.Step{}, &configv1.Route{}, &configv1.Defaults{}} {
		fields := m.ProtoReflect().Descriptor().Fields()
		for i := range fields.Len() {
			want = append(want, fields.Get(i).FullName())
		}
	}
	for _, name := range want {
		if !set[name] {
			t.Errorf("%s was never set", name)
		}
	}
	if len(want) != len(set) {
		t.Errorf("%d fields were set, and %d are known: %v", len(set), len(want), set)
	}
}

// filler fills messages with valid values.
type filler struct {
	*rand.Rand
	set map[protoreflect.FullName]bool
}

func (r filler) fill(m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		rules, _ := proto.GetExtension(f.Options(), configv1.E_Rules).(*configv1.FieldRules)
		if !rules.GetRequired() && r.IntN(2) == 0 {
			continue
		}
		if !f.IsList() {
			if v, ok := r.value(f, rules, func() protoreflect.Message { return m.NewField(f).Message() }); ok {
				m.Set(f, v)
				r.set[f.FullName()] = true
			}
			continue
		}
		list := m.Mutable(f).List()
		for range r.IntN(3) {
			if v, ok := r.value(f, rules, func() protoreflect.Message { return list.NewElement().Message() }); ok {
				list.Append(v)
				r.set[f.FullName()] = true
			}
		}
	}
}

func (r filler) value(f protoreflect.FieldDescriptor, rules *configv1.FieldRules, message func() protoreflect.Message) (protoreflect.Value, bool) {
	pick := func(of ...string) protoreflect.Value { return protoreflect.ValueOfString(of[r.IntN(len(of))]) }
	switch {
	case rules.GetFormat() == configv1.Format_FORMAT_SIZE:
		return protoreflect.ValueOfUint64(1 + r.Uint64N(1<<63-1)), true
	case rules.GetFormat() == configv1.Format_FORMAT_HEADER_NAME:
		return pick("x-tenant", "X-Other", "a!b"), true
	case rules.GetFormat() == configv1.Format_FORMAT_JSON_OBJECT:
		return pick(`{}`, `{"n":9007199254740993,"f":1.50,"t":"ü \" \\ \n<>&","l":[null,true,{"x.y":-0}]}`), true
	case f.Kind() == protoreflect.MessageKind && f.Message().FullName() == "google.protobuf.Duration":
		return protoreflect.ValueOfMessage(durationpb.New(time.Duration(1 + r.Int64N(1<<62))).ProtoReflect()), true
	case f.Kind() == protoreflect.MessageKind:
		m := message()
		r.fill(m)
		// A message without any field is as if it were not there.
		return protoreflect.ValueOfMessage(m), f.IsList() || proto.Size(m.Interface()) > 0
	case f.Kind() == protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(f.Enum().Values().Get(1 + r.IntN(f.Enum().Values().Len()-1)).Number()), true
	case f.Kind() == protoreflect.BoolKind:
		return protoreflect.ValueOfBool(f.HasPresence() && r.IntN(2) == 0 || !f.HasPresence()), true
	case f.Kind() == protoreflect.StringKind:
		return pick("a", "true", "7", "ü: [", "two\nlines", "'"), true
	}
	panic(fmt.Sprintf("a field of a kind that no file has: %s", f.FullName()))
}

// TestCheck proves that a message of a control plane is held to what files are held to.
func TestCheck(t *testing.T) {
	step := func(change func(s *configv1.Step)) *configv1.Chain {
		s := &configv1.Step{Name: "p", Version: "v1"}
		change(s)
		return &configv1.Chain{Name: "c", Policies: []*configv1.Step{s}}
	}
	unknown := step(func(*configv1.Step) {})
	unknown.Policies[0].ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 77, protowire.VarintType), 1))
	inlined := &configv1.Configuration{Defaults: &configv1.Defaults{}}
	inlined.Defaults.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 78, protowire.VarintType), 1))
	for _, c := range []struct {
		name string
		m    proto.Message
		want []string
	}{
		{"nothing is wrong", step(func(s *configv1.Step) { s.Params = ` {"n": 1} ` }), nil},
		{"a chain without policies lets everything pass", &configv1.Chain{Name: "c"}, nil},
		{"all problems at once", &configv1.Configuration{
			Chains: []*configv1.Chain{{}, {Name: "c", Policies: []*configv1.Step{{Version: "v1"}}}}, Routes: []*configv1.Route{{Name: "r"}},
		}, []string{
			"chains[0].name: missing; this field is required",
			"chains[1].policies[0].name: missing; this field is required",
			"routes[0].chain: missing; this field is required",
		}},
		{"a field of a later version, which may be a restriction", unknown, []string{
			"policies[0]: field 77 of policyengine.config.v1.Step is not known; leave out what this version of the engine does not have",
		}},
		{"one in a message that files have inlined", inlined, []string{
			"field 78 of policyengine.config.v1.Defaults is not known; leave out what this version of the engine does not have",
		}},
		{"a value of a later version", step(func(s *configv1.Step) { s.Mode, s.OnError = 9, -1 }), []string{
			"policies[0].mode: not a mode; write MODE_ENFORCE or MODE_SHADOW",
			"policies[0].onError: not what an error can mean; write ON_ERROR_DENY or ON_ERROR_CONTINUE",
		}},
		{"a size beyond any memory", &configv1.Chain{Name: "c", BodyLimit: 1 << 63}, []string{"bodyLimit: not a size; ..."}},
		{"headers that are none", &configv1.Chain{Name: "c", RerouteHeaders: []string{"x-a", ":path", ""}}, []string{
			"rerouteHeaders[1]: not a header name; ...", "rerouteHeaders[2]: not a header name; ...",
		}},
		{"parameters that are no JSON", step(func(s *configv1.Step) { s.Params = "{" }), []string{"policies[0].params: not the JSON text of an object; ..."}},
		{"parameters that are another value", step(func(s *configv1.Step) { s.Params = "[1]" }), []string{"policies[0].params: not the JSON text of an object; ..."}},
		{"no time at all", step(func(s *configv1.Step) { s.Timeout = &durationpb.Duration{} }), []string{"policies[0].timeout: a length of time that is too short; ..."}},
		{"a negative time", step(func(s *configv1.Step) { s.Timeout = durationpb.New(-1) }), []string{"policies[0].timeout: a length of time that is too short; ..."}},
		{"a time of 10,000 years", step(func(s *configv1.Step) { s.Timeout = &durationpb.Duration{Seconds: 315_576_000_000} }), []string{"policies[0].timeout: a length of time that is too long; ..."}},
		{"a time that contradicts itself", step(func(s *configv1.Step) { s.Timeout = &durationpb.Duration{Seconds: 1, Nanos: -1} }), []string{"policies[0].timeout: a length of time that is too long; ..."}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for i, p := range schema.Check(c.m) {
				line := p.Error()
				if i < len(c.want) {
					if begin, open := strings.CutSuffix(c.want[i], "..."); open && strings.HasPrefix(line, begin) {
						line = c.want[i]
					}
				}
				got = append(got, line)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestProblemsAreBounded proves that a message with very many problems does not make as
// many lines.
func TestProblemsAreBounded(t *testing.T) {
	m := &configv1.Configuration{}
	for range 10_000 {
		m.Routes = append(m.Routes, &configv1.Route{})
	}
	if n := len(schema.Check(m)); n != 1000 {
		t.Errorf("%d problems are told", n)
	}
}

// FuzzCheck proves that a message which passes the checks can be written as a file, and
// that the file says the same.
func FuzzCheck(f *testing.F) {
	for seed := range uint64(20) {
		m := &configv1.Chain{}
		filler{rand.New(rand.NewPCG(seed, 2)), map[protoreflect.FullName]bool{}}.fill(m.ProtoReflect())
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		want := &configv1.Chain{}
		if proto.Unmarshal(b, want) != nil || len(schema.Check(want)) > 0 {
			return
		}
		root, err := strictyaml.Parse("chain.yaml", schema.Encode(want))
		if err != nil {
			return // such as a number that is too long: the worker reports it
		}
		got := &configv1.Chain{}
		if err := schema.Decode(root, got); err != nil {
			t.Fatalf("%v\n%s", err, schema.Encode(want))
		}
		if again := schema.Encode(got); string(again) != string(schema.Encode(want)) {
			t.Errorf("%s became %s", schema.Encode(want), again)
		}
	})
}
