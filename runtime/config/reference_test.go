package config

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"policyengine.dev/sdk/strictyaml"
)

// reference is the page of all fields of engine.yaml.
const reference = "../../docs/reference/engine.md"

var referenceRow = regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (.*?) \\| .+ \\|$")

// TestReferenceHasEveryField proves that the page has the fields that are read, in
// their order, and no other.
func TestReferenceHasEveryField(t *testing.T) {
	var got []string
	for _, row := range referenceRows(t) {
		got = append(got, row.field)
	}
	want := fieldsOf("", reflect.TypeFor[engineFile]())
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("docs/reference/engine.md (-read +documented):\n%s", diff)
	}
}

// TestReferenceHasTheDefaults proves that writing what the page says is the default
// changes nothing.
func TestReferenceHasTheDefaults(t *testing.T) {
	parse := func(src string) Engine {
		t.Helper()
		e, err := ParseEngine("engine.yaml", "/", []byte(src))
		if err != nil {
			t.Fatalf("%s: %v", src, err)
		}
		return e
	}
	const least = "source: {path: c"
	want, tried := parse(least+"}"), 0
	for _, row := range referenceRows(t) {
		value, is := strings.CutPrefix(row.text, "`")
		value, closed := strings.CutSuffix(value, "`")
		if !is || !closed || strings.Contains(row.field, "[]") {
			continue // words rather than a value, or a part of a list
		}
		tried++
		parts := strings.Split(row.field, ".")
		src, want := value, want
		if strings.HasPrefix(row.field, "source.xds.") {
			const xds = "source: {xds: {servers: [{address: 'unix:/s'}]"
			want = parse(xds + "}}")
			src = xds + ", " + parts[2] + ": " + value + "}}"
			if diff := cmp.Diff(want, parse(src)); diff != "" {
				t.Errorf("%s is not %s by default:\n%s", row.field, value, diff)
			}
			continue
		}
		for _, part := range slices.Backward(parts[1:]) {
			src = "{" + part + ": " + src + "}"
		}
		if parts[0] == "source" {
			src = least + ", " + src[1:]
		} else {
			src = least + "}\n" + parts[0] + ": " + src
		}
		if diff := cmp.Diff(want, parse(src)); diff != "" {
			t.Errorf("%s is not %s by default:\n%s", row.field, value, diff)
		}
	}
	if tried < 20 {
		t.Errorf("only %d defaults were tried", tried)
	}
}

type row struct{ field, text string }

func referenceRows(t *testing.T) []row {
	t.Helper()
	page, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	var rows []row
	for _, m := range referenceRow.FindAllStringSubmatch(string(page), -1) {
		rows = append(rows, row{m[1], m[2]})
	}
	return rows
}

// fieldsOf lists the fields that a struct is decoded from.
func fieldsOf(path string, t reflect.Type) (all []string) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct {
		if t.Elem() == reflect.TypeFor[processingModeFile]() {
			return []string{path + "[]"} // it says where its fields are
		}
		return append([]string{path + "[]"}, fieldsOf(path+"[]", t.Elem())...)
	}
	scalar := reflect.PointerTo(t).Implements(reflect.TypeFor[strictyaml.Unmarshaler]())
	if t.Kind() != reflect.Struct || scalar {
		return []string{path}
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		all = append(all, fieldsOf(strings.TrimPrefix(path+"."+name, "."), f.Type)...)
	}
	return all
}
