package registry_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"policyengine.dev/tools/builder/registry"
	"policyengine.dev/tools/builder/validated"
)

func policyOf(t *testing.T, file, name, version string, phases ...string) *validated.Policy {
	t.Helper()
	src := fmt.Sprintf("apiVersion: policyengine/v1\nname: %s\nversion: %s\ndescription: Tests, with \"quotes\", `ticks` and a\\n.\nphases: [%s]\n",
		name, version, strings.Join(phases, ", "))
	p, err := validated.New("example.com/"+name+"/"+version, file, []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func generate(t *testing.T, program registry.Program, policies ...*validated.Policy) string {
	t.Helper()
	source, err := registry.Generate(program, policies, []byte(`{"schema":"a \"b\""}`))
	if err != nil {
		t.Fatal(err)
	}
	return string(source)
}

// TestGenerate: the program imports each policy under a name that tells which
// it is, gives its definition and factory, and asserts its phases where
// policy.yaml declares them.
func TestGenerate(t *testing.T) {
	got := generate(t, registry.Engine,
		policyOf(t, "p/b/v1.10.0/policy.yaml", "b-c", "v1.10.0", "request_headers", "response_trailers"),
		policyOf(t, "p/b/v1.9.0/policy.yaml", "b-c", "v1.9.0", "request_body"),
		policyOf(t, "p/a/v1.0.0-rc.1/policy.yaml", "a", "v1.0.0-rc.1", "request_headers"))
	for _, want := range []string{
		"// Code generated from the validated definitions of a bundle's policies. DO NOT EDIT.\n\n//line main.go:4\npackage main\n",
		`b_c_v1_10_0 "example.com/b-c/v1.10.0"`,
		`"policyengine.dev/runtime/engine"`,
		"policy.AssertRequestHeaders /*line p/b/v1.10.0/policy.yaml:5:9*/ (b_c_v1_10_0.Policy)",
		"policy.AssertResponseTrailers /*line p/b/v1.10.0/policy.yaml:5:26*/ (b_c_v1_10_0.Policy)",
		`"policyengine.dev/runtime/worker"`,
		`engine.Main("{\"schema\":\"a \\\"b\\\"\"}", []worker.Entry{`,
		`Factory: a_v1_0_0_rc_1.Policy}`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
	a, b9, b10 := strings.Index(got, "a_v1_0_0_rc_1.Policy}"), strings.Index(got, "b_c_v1_9_0.Policy}"), strings.Index(got, "b_c_v1_10_0.Policy}")
	if a < 0 || a > b9 || b9 > b10 {
		t.Errorf("entries are not in the order of names and versions: at %d, %d, %d", a, b9, b10)
	}
	if main, assert := strings.Index(got, "func main"), strings.Index(got, "/*line"); main > assert {
		t.Error("a line directive stands before main: a stack trace would name a policy.yaml")
	}
}

func TestOrderDoesNotMatter(t *testing.T) {
	policies := []*validated.Policy{
		policyOf(t, "p/a/v1.0.0/policy.yaml", "a", "v1.0.0", "request_headers"),
		policyOf(t, "p/b/v1.0.0/policy.yaml", "b", "v1.0.0", "request_headers"),
	}
	first := generate(t, registry.Engine, policies...)
	slices.Reverse(policies)
	if second := generate(t, registry.Engine, policies...); first != second {
		t.Errorf("got\n%s\nand\n%s", first, second)
	}
}

func TestDuplicatesAreRefused(t *testing.T) {
	_, err := registry.Generate(registry.Engine, []*validated.Policy{
		policyOf(t, "b/v1.0.0/policy.yaml", "a", "v1.0.0", "request_headers"),
		policyOf(t, "c/v1.0.1/policy.yaml", "a", "v1.0.1", "request_headers"),
		policyOf(t, "a/v1.0.0/policy.yaml", "a", "v1.0.0", "request_headers"),
	}, nil)
	want := "b/v1.0.0/policy.yaml:2:7: name: a v1.0.0 is in this bundle already: a/v1.0.0/policy.yaml:2:7; leave one of the two out of the bundle, or give it another name or version"
	if fmt.Sprint(err) != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// TestImportsAreUsed: every import of a generated program is used, with and
// without policies; the compiler would refuse it otherwise.
func TestImportsAreUsed(t *testing.T) {
	for name, policies := range map[string][]*validated.Policy{
		"none": nil,
		"one":  {policyOf(t, "p/a/v1.0.0/policy.yaml", "a", "v1.0.0", "request_headers")},
	} {
		for _, program := range []registry.Program{registry.Engine, registry.Examples} {
			source := generate(t, program, policies...)
			file, err := parser.ParseFile(token.NewFileSet(), "main.go", source, 0)
			if err != nil {
				t.Fatal(err)
			}
			used := map[string]bool{}
			ast.Inspect(file, func(n ast.Node) bool {
				if selector, ok := n.(*ast.SelectorExpr); ok {
					used[fmt.Sprint(selector.X)] = true
				}
				return true
			})
			for _, spec := range file.Imports {
				base := filepath.Base(strings.Trim(spec.Path.Value, `"`))
				if spec.Name != nil {
					base = spec.Name.Name
				}
				if !used[base] {
					t.Errorf("%s: %s is imported and not used:\n%s", name, base, source)
				}
			}
		}
	}
}
