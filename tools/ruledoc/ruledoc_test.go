package ruledoc_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"

	"policyengine.dev/tools/ruledoc"
)

type field struct {
	number protowire.Number
	value  any // a string, an int, or the fields of a message
}

func encode(fields ...field) []byte {
	var b []byte
	for _, f := range fields {
		switch value := f.value.(type) {
		case string:
			b = protowire.AppendString(protowire.AppendTag(b, f.number, protowire.BytesType), value)
		case int:
			b = protowire.AppendVarint(protowire.AppendTag(b, f.number, protowire.VarintType), uint64(value))
		case []field:
			b = protowire.AppendBytes(protowire.AppendTag(b, f.number, protowire.BytesType), encode(value...))
		}
	}
	return b
}

func TestRender(t *testing.T) {
	got, err := ruledoc.Render(encode(
		field{2, []field{{1, "Info"}, {2, "What one tells."}, {3, []field{{1, "files"}, {2, "a | b"}}}}},
		field{3, []field{
			{1, "make"},
			{2, []field{{1, "name"}, {2, "The\n  name."}, {4, 1}}},
			{2, []field{{1, "deps"}, {2, "Others."}, {3, "[]"}}},
			{2, []field{{1, "args"}, {2, "More."}, {5, 4}}},
			{2, []field{{1, "kwargs"}, {2, "The rest."}}},
			{3, "Makes it.\n"},
		}},
		field{4, []field{{1, "look"}, {2, "Looks."}}},
		field{6, "//x:defs.bzl"},
	))
	if err != nil {
		t.Fatal(err)
	}
	want := `
## make

` + "```starlark" + `
load("@policy_engine//tools/bundle:defs.bzl", "make")

make(name, deps = [], *args, **kwargs)
` + "```" + `

Makes it.

| parameter | | default |
|---|---|---|
| ` + "`name`" + ` | The name. | required |
| ` + "`deps`" + ` | Others. | ` + "`[]`" + ` |
| ` + "`*args`" + ` | More. |  |
| ` + "`**kwargs`" + ` | The rest. |  |

## look

An aspect. Looks.

## Info

A provider. What one tells.

| field | |
|---|---|
| ` + "`files`" + ` | a \| b |
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func FuzzRender(f *testing.F) {
	f.Add(encode(field{3, []field{{1, "make"}}}))
	f.Fuzz(func(_ *testing.T, data []byte) { _, _ = ruledoc.Render(data) })
}
