package configschema_test

import (
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"

	"policyengine.dev/tools/configschema"
	"policyengine.dev/tools/protogen"
)

var update = flag.Bool("update", false, "write the references of chains and routes")

const (
	page       = "../../docs/reference/chains.md"
	jsonSchema = "../../docs/reference/chains.schema.json"
	// embedded is the same for the engine's command schema.
	embedded = "../../runtime/config/editor/chains.schema.json"
	remedy   = "run go test ./tools/configschema -update"
)

func comments(t *testing.T) configschema.Comments {
	t.Helper()
	files, err := protogen.Compile(t.Context(), "../../proto")
	if err != nil {
		t.Fatal(err)
	}
	return configschema.NewComments(files)
}

// TestEverythingIsDocumented proves that each message, field, enum and value of the
// configuration's schema has a comment.
func TestEverythingIsDocumented(t *testing.T) {
	n := 0
	for name, text := range comments(t) {
		if !strings.HasPrefix(string(name), "policyengine.config.") {
			continue
		}
		if n++; text == "" {
			t.Errorf("%s has no comment", name)
		}
	}
	if n < 40 {
		t.Errorf("there are only %d names in the schema", n)
	}
}

// TestTableIsCurrent proves that docs/reference/chains.md has every field.
func TestTableIsCurrent(t *testing.T) {
	got := read(t, page)
	place := regexp.MustCompile(`(?s)(<!-- fields:)[^\n]*(-->\n).*(<!-- end of fields -->)`)
	if !place.MatchString(got) {
		t.Fatalf("%s has no place for the fields", page)
	}
	table := strings.ReplaceAll(configschema.Table(comments(t)), "$", "$$")
	compare(t, page, got, place.ReplaceAllString(got, "${1} written by `go test ./tools/configschema -update` ${2}\n"+table+"\n${3}"))
}

// TestJSONSchemaIsCurrent proves that the published JSON Schema is that of the .proto
// files.
func TestJSONSchemaIsCurrent(t *testing.T) {
	want, err := configschema.JSON(comments(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{jsonSchema, embedded} {
		got, err := os.ReadFile(name)
		if err != nil && !*update {
			t.Fatal(err)
		}
		compare(t, name, string(got), string(want))
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func compare(t *testing.T, name, got, want string) {
	t.Helper()
	switch {
	case got == want:
	case !*update:
		t.Errorf("%s is out of date: %s", name, remedy)
	default:
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
