package bundle_test

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"policyengine.dev/runtime/bundle"
)

func valid() *bundle.Manifest {
	return &bundle.Manifest{
		Schema: bundle.Schema, Bundle: "payments", Go: "go1.26.8",
		Policies: []bundle.Policy{{Name: "a", Version: "v1.0.0-rc.1", ImportPath: "example.com/a&b", Definition: bundle.Digest(nil)}},
		Modules:  []bundle.Module{{Path: "example.com/a", Version: "v0.0.0-20260101000000-abcdefabcdef"}, {Path: "policyengine.dev", Version: bundle.Devel}},
		Packages: []string{"example.com/own"},
	}
}

func encode(t testing.TB, m *bundle.Manifest) []byte {
	t.Helper()
	text, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestRoundTrip proves that Parse returns what Encode was given, and that the text can be found in a binary: the schema
// comes first, and nothing is escaped.
func TestRoundTrip(t *testing.T) {
	text := encode(t, valid())
	got, err := bundle.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(valid(), got); diff != "" {
		t.Error(diff)
	}
	if !strings.HasPrefix(string(text), `{"schema":"policyengine.manifest/v1",`) || !strings.Contains(string(text), "a&b") || bytes.Contains(text, []byte("\n")) {
		t.Errorf("got %s", text)
	}
}

// refused are manifests with one problem each, made from a valid one, and what the error says.
var refused = map[string]func(*bundle.Manifest){
	`schema: "x" is not known`:                                    func(m *bundle.Manifest) { m.Schema = "x" },
	"bundle: missing":                                             func(m *bundle.Manifest) { m.Bundle = "" },
	`go: "1.26" is no version`:                                    func(m *bundle.Manifest) { m.Go = "1.26" },
	"policies[0].name: missing":                                   func(m *bundle.Manifest) { m.Policies[0].Name = "" },
	`policies[0].version: "1" is no version`:                      func(m *bundle.Manifest) { m.Policies[0].Version = "1" },
	"policies[0].importPath: missing":                             func(m *bundle.Manifest) { m.Policies[0].ImportPath = "" },
	`policies[0].definition: "sha256:ab" is no digest`:            func(m *bundle.Manifest) { m.Policies[0].Definition = "sha256:ab" },
	"policies[1]: a@v1.0.0-rc.1 is listed twice":                  func(m *bundle.Manifest) { m.Policies = append(m.Policies, m.Policies[0]) },
	`modules[0].path: "" is no module path`:                       func(m *bundle.Manifest) { m.Modules[0].Path = "" },
	`modules[0].version: "latest" is no version`:                  func(m *bundle.Manifest) { m.Modules[0].Version = "latest" },
	"modules[2]: example.com/a is listed twice; a binary has one": func(m *bundle.Manifest) { m.Modules = append(m.Modules, m.Modules[0]) },
}

func TestParseRefuses(t *testing.T) {
	for want, change := range refused {
		m := valid()
		change(m)
		if _, err := bundle.Parse(encode(t, m)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	for want, text := range map[string]string{
		"EOF":                       "",
		"unknown field":             `{"schem":""}`,
		"text follows":              string(encode(t, valid())) + "{}",
		"at most 1048576 are read":  strings.Repeat(" ", bundle.MaxSize+1),
		"bundle: missing":           "null",
		"cannot unmarshal":          "[]",
		"modules of type []bundle.": `{"modules":{}}`,
	} {
		if _, err := bundle.Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: got %v, want %s", text, err, want)
		}
	}
	// All problems at once.
	m := valid()
	m.Bundle, m.Go = "", ""
	if _, err := bundle.Parse(encode(t, m)); err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("got %v", err)
	}
}

const schemaFile = "../../docs/reference/manifest.schema.json"

func schema(t *testing.T) (*jsonschema.Schema, map[string]any) {
	t.Helper()
	text, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("manifest.json", document); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile("manifest.json")
	if err != nil {
		t.Fatal(err)
	}
	return compiled, document.(map[string]any)
}

// TestSchema proves that the published JSON Schema accepts what Parse accepts, and refuses what Parse refuses, except for
// what a schema cannot say: that no two elements have the same name.
func TestSchema(t *testing.T) {
	compiled, document := schema(t)
	check := func(m *bundle.Manifest) error {
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(encode(t, m)))
		if err != nil {
			t.Fatal(err)
		}
		return compiled.Validate(value)
	}
	if err := check(valid()); err != nil {
		t.Error(err)
	}
	for problem, change := range refused {
		m := valid()
		change(m)
		if err := check(m); err == nil && !strings.Contains(problem, "listed twice") {
			t.Errorf("the schema accepts a manifest with %s", problem)
		}
	}
	definitions := document["$defs"].(map[string]any)
	compareFields(t, reflect.TypeFor[bundle.Manifest](), document)
	compareFields(t, reflect.TypeFor[bundle.Policy](), definitions["policy"])
	compareFields(t, reflect.TypeFor[bundle.Module](), definitions["module"])
}

// compareFields compares the fields of a struct with the properties of its schema: their names, and whether they may be
// absent.
func compareFields(t *testing.T, of reflect.Type, object any) {
	t.Helper()
	var want, wantRequired []string
	for field := range of.Fields() {
		name, optional, _ := strings.Cut(field.Tag.Get("json"), ",")
		want = append(want, name)
		if optional == "" {
			wantRequired = append(wantRequired, name)
		}
	}
	text, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Properties map[string]struct{ Description string }
		Required   []string
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	var names []string
	for name, property := range got.Properties {
		if names = append(names, name); property.Description == "" {
			t.Errorf("%s.%s has no description", of, name)
		}
	}
	for _, list := range [][]string{want, wantRequired, names, got.Required} {
		slices.Sort(list)
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("%s (-fields +properties)\n%s", of, diff)
	}
	if diff := cmp.Diff(wantRequired, got.Required); diff != "" {
		t.Errorf("%s, required (-fields +properties)\n%s", of, diff)
	}
}

// FuzzParse proves that what Parse accepts it also accepts once encoded.
func FuzzParse(f *testing.F) {
	f.Add(encode(f, valid()))
	f.Add([]byte(`{"schema":"policyengine.manifest/v1","bundle":"b","go":"go1.26","policies":null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := bundle.Parse(text)
		if err != nil {
			return
		}
		if _, err := bundle.Parse(encode(t, m)); err != nil {
			t.Error(err)
		}
	})
}
