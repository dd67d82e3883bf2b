package definition

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"policyengine.dev/sdk/definition/internal/format"
)

var update = flag.Bool("update", false, "write the tables in docs/reference/parameters.md")

// referencePage is where the language of parameter schemas is described, from this directory.
const referencePage = "../../docs/reference/parameters.md"

// The tables in the reference are those of the package.
func TestReferenceIsCurrent(t *testing.T) {
	data, err := os.ReadFile(referencePage)
	if err != nil {
		t.Fatal(err)
	}
	want := string(data)
	for name, table := range map[string]string{"keywords": keywordTable(), "refused": refusedTable(), "formats": formatTable()} {
		place := regexp.MustCompile(`(?s)(<!-- ` + name + `:[^\n]*-->\n).*(<!-- end of ` + name + ` -->)`)
		if !place.MatchString(want) {
			t.Fatalf("%s has no place for the %s", referencePage, name)
		}
		want = place.ReplaceAllString(want, "${1}\n"+strings.ReplaceAll(table, "$", "$$")+"\n${2}")
	}
	if *update {
		if err := os.WriteFile(referencePage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want != string(data) {
		t.Errorf("%s is out of date: run go test ./sdk/definition -run TestReferenceIsCurrent -update", referencePage)
	}
}

func keywordTable() string {
	groups := []struct {
		name  string
		names []string
	}{
		{"structure", []string{"$comment", "$defs", "$ref", "$schema"}},
		{"any value", []string{"const", "default", "enum", "type", "x-open", "x-secret"}},
		{"numbers", []string{"exclusiveMaximum", "exclusiveMinimum", "maximum", "minimum", "multipleOf"}},
		{"strings", []string{"contentEncoding", "contentMediaType", "format", "maxLength", "minLength", "pattern"}},
		{"lists", []string{"contains", "items", "maxContains", "maxItems", "minContains", "minItems", "prefixItems", "unevaluatedItems", "uniqueItems"}},
		{"mappings", []string{"additionalProperties", "dependentRequired", "dependentSchemas", "maxProperties", "minProperties", "patternProperties", "properties", "propertyNames", "required", "unevaluatedProperties"}},
		{"alternatives", []string{"allOf", "anyOf", "else", "if", "not", "oneOf", "then"}},
		{"for readers", []string{"deprecated", "description", "examples", "readOnly", "title", "writeOnly"}},
	}
	known := maps.Clone(keywords)
	var b strings.Builder
	b.WriteString("| for | keywords |\n|---|---|\n")
	for _, g := range groups {
		for _, name := range g.names {
			delete(known, name)
		}
		fmt.Fprintf(&b, "| %s | `%s` |\n", g.name, strings.Join(g.names, "` `"))
	}
	for name, shape := range known {
		if shape != refused {
			fmt.Fprintf(&b, "| ? | `%s` |\n", name)
		}
	}
	return b.String()
}

func refusedTable() string {
	var b strings.Builder
	b.WriteString("| keyword | instead |\n|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(refusals)) {
		fmt.Fprintf(&b, "| `%s` | %s |\n", name, refusals[name])
	}
	return b.String()
}

func formatTable() string {
	var b strings.Builder
	b.WriteString("| format | specification | what the message says |\n|---|---|---|\n")
	for _, f := range format.All() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.Name, f.Spec, strings.ReplaceAll(f.Remedy, "|", `\|`))
	}
	return b.String()
}
