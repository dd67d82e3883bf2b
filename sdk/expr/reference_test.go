package expr_test

import (
	_ "embed"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"policyengine.dev/sdk/expr"
)

var update = flag.Bool("update", false, "write the table of variables in docs/reference/expressions.md")

// reference is where the reference of the language is, from this directory.
const reference = "../../docs/reference/expressions.md"

//go:embed doc.go
var packageDoc string

// The table of variables in the reference is that of the package.
func TestReferenceIsCurrent(t *testing.T) {
	data, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	table := regexp.MustCompile(`(?s)(<!-- variables:[^\n]*-->\n).*(<!-- end of variables -->)`)
	if !table.Match(data) {
		t.Fatalf("%s has no place for the variables", reference)
	}
	want := table.ReplaceAllString(string(data), "${1}"+strings.ReplaceAll(variableTable(), "$", "$$")+"${2}")
	if *update {
		if err := os.WriteFile(reference, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want != string(data) {
		t.Errorf("%s is out of date: run go test ./sdk/expr -run TestReferenceIsCurrent -update", reference)
	}
}

func variableTable() string {
	var b strings.Builder
	b.WriteString("\n| variable | type | limit | what it is | example |\n|---|---|---|---|---|\n")
	for _, v := range expr.Variables() {
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s | `%s` |\n", v.Name, v.Type, v.Limit, v.Doc, strings.ReplaceAll(v.Example, "|", `\|`))
	}
	b.WriteString("\n")
	return b.String()
}

// The limits in the reference are those of the package.
func TestReferenceHasTheLimits(t *testing.T) {
	data, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []string{
		fmt.Sprintf("| length of an expression | %d bytes |", expr.MaxSource),
		fmt.Sprintf("| nesting | %d |", expr.MaxNesting),
		fmt.Sprintf("| parts, once loops are written out | %d |", expr.MaxNodes),
		fmt.Sprintf("| loops within loops | %d |", expr.MaxLoops),
		fmt.Sprintf("| size of a compiled regular expression | %d instructions |", expr.MaxRegexProgram),
		fmt.Sprintf("| cost of one evaluation, known at load | %d 000 |", expr.MaxCost/1000),
		fmt.Sprintf("| cost of one evaluation, where it is not known at load | %d 000 |", expr.MaxMeteredCost/1000),
	} {
		if !strings.Contains(string(data), row) {
			t.Errorf("%s lacks %q", reference, row)
		}
	}
	for _, v := range expr.Variables() {
		want := map[string]string{
			"string":                    "16 KiB",
			"list(string)":              "256 entries of 16 KiB",
			"map(string, string)":       "256 entries of 16 KiB",
			"map(string, list(string))": "256 entries of 16 KiB",
			"map(string, dyn)":          "strings of 16 KiB, lists and maps of 256 entries",
		}[v.Type]
		if v.Limit != want {
			t.Errorf("%s: the limit is %q, want %q", v.Name, v.Limit, want)
		}
	}
	if expr.MaxString != 16<<10 || expr.MaxElements != 256 {
		t.Error("texts say 16 KiB and 256 elements")
	}
}

// Every variable is documented with the type that the checker has for it, and with
// an example that compiles, reads it, and has a result.
func TestVariablesAreDocumented(t *testing.T) {
	for _, v := range expr.Variables() {
		t.Run(v.Name, func(t *testing.T) {
			if v.Doc == "" || v.Example == "" || !strings.HasPrefix(v.Name, string(v.Scope)) {
				t.Errorf("incomplete: %+v", v)
			}
			row := fmt.Sprintf("//\t%-20s %-26s", v.Name, v.Type)
			if !strings.Contains(packageDoc, row) {
				t.Errorf("doc.go lacks %q", row)
			}
			p, err := expr.Compile(v.Example)
			if err != nil {
				t.Fatal(err)
			}
			if !p.Reads().Variable(v.Name) || !p.Reads().Scope(v.Scope) {
				t.Errorf("the example reads %v", p.Reads())
			}
			if _, err := p.Eval(charge()); err != nil {
				t.Error(err)
			}
			// The type is in the message of a list that has two of them.
			_, err = expr.CompileValue(`[null, ` + v.Name + `]`)
			if v.Name == "attributes" || v.Name == "metadata" {
				return
			}
			if err == nil || !strings.Contains(err.Error(), "'"+v.Type+"'") {
				t.Errorf("the type is not %s: %v", v.Type, err)
			}
		})
	}
}
