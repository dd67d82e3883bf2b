package architecture_test

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"policyengine.dev/tools/architecture"
)

var update = flag.Bool("update", false, "write the drawing into docs/architecture.md")

const (
	begin = "<!-- drawing: go test ./tools/architecture -run Drawing -update -->\n```\n"
	end   = "```\n<!-- end of the drawing -->"
)

var page = filepath.Join("..", "..", "docs", "architecture.md")

func readPage(t *testing.T) string {
	t.Helper()
	if os.Getenv("TEST_SRCDIR") != "" {
		t.Skip("neither all sources nor all packages are known to this test in Bazel; go test ./tools/architecture knows them")
	}
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestDrawing proves that the page's drawing shows the packages and arrows that there are.
func TestDrawing(t *testing.T) {
	text := readPage(t)
	head, rest, ok := strings.Cut(text, begin)
	drawn, tail, ended := strings.Cut(rest, end)
	if !ok || !ended {
		t.Fatal("the page has no place for the drawing")
	}
	want := architecture.Draw(graph(t))
	if drawn == want {
		return
	}
	if !*update {
		t.Fatalf("the drawing is not current; renew it by go test ./tools/architecture -run Drawing -update. It would be\n%s", want)
	}
	if err := os.WriteFile(page, []byte(head+begin+want+end+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestDraw proves the order of boxes and that arrows which follow from others are left out.
func TestDraw(t *testing.T) {
	m := architecture.Module
	got := architecture.Draw([]architecture.Edge{
		{Importer: m + "runtime/a", Imported: m + "runtime/b/deep"}, {Importer: m + "runtime/b", Imported: m + "sdk/c"},
		{Importer: m + "runtime/a", Imported: m + "sdk/c"}, {Importer: m + "policies/p/v1.0.0", Imported: m + "sdk/c"},
		{Importer: m + "runtime/b", Imported: m + "runtime/b/deep"}, {Importer: m + "tools/x", Imported: m + "runtime/a"}, {Importer: m + "sdk/c", Imported: "fmt"},
	})
	want := "runtime/a ──► runtime/b\n    │\npolicies  ──► sdk/c\nruntime/b ──► sdk/c\n    │\nsdk/c\n"
	if got != want {
		t.Errorf("the drawing is\n%s\nwant\n%s", got, want)
	}
}

// step is a step of a walk: a file and the functions of it that the step is about.
var step = regexp.MustCompile("(?m)^\\d+\\. `([^`]+\\.go)`: ((?:`[^`]+`(?:, )?)+)")

// TestWalks proves that the files and functions exist that the page's walks name.
func TestWalks(t *testing.T) {
	steps := step.FindAllStringSubmatch(readPage(t), -1)
	if len(steps) < 20 {
		t.Fatalf("the page has %d steps, which are too few for two walks", len(steps))
	}
	for _, s := range steps {
		declared, err := functions(filepath.Join("..", "..", filepath.FromSlash(s[1])))
		if err != nil {
			t.Error(err)
			continue
		}
		for _, name := range strings.Split(s[2], ", ") {
			if name = strings.Trim(name, "`"); !declared[name] {
				t.Errorf("%s has no function %s", s[1], name)
			}
		}
	}
}

// functions are those that a file declares; methods are named Type.Method.
func functions(file string) (map[string]bool, error) {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	all := map[string]bool{}
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		name := fn.Name.Name
		if fn.Recv != nil {
			receiver := fn.Recv.List[0].Type
			if p, ok := receiver.(*ast.StarExpr); ok {
				receiver = p.X
			}
			switch r := receiver.(type) {
			case *ast.Ident:
				name = r.Name + "." + name
			case *ast.IndexExpr:
				name = r.X.(*ast.Ident).Name + "." + name
			case *ast.IndexListExpr:
				name = r.X.(*ast.Ident).Name + "." + name
			}
		}
		all[name] = true
	}
	return all, nil
}
