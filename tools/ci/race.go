package ci

import (
	"bytes"
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// raced are the parts of the tree whose every test runs with the race detector.
var raced = []string{"./policies/...", "./runtime/...", "./sdk/...", "./tools/bench/load"}

// unraced are parts that are left out although they start goroutines: what they test
// or measure runs in other processes, Envoy and the engine, or under the race detector
// it would take most of the time that CI has.
var unraced = []string{"envoy_test/", "tools/bench/", "tools/bundle/tests/", "tools/demo/"}

// race runs the tests of every package that starts goroutines with the race detector.
func (r Repository) race(ctx context.Context) Outcome {
	var files bytes.Buffer
	if err := r.run(ctx, r.Root, &files, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.go"); err != nil {
		return failed("git ls-files: %v", err)
	}
	packages := slices.Clone(raced)
	for _, name := range strings.Split(strings.Trim(files.String(), "\x00"), "\x00") {
		src, err := os.ReadFile(filepath.Join(r.Root, name))
		if err != nil { // deleted, and not committed yet
			continue
		}
		found, err := raceable(name, src)
		if err != nil {
			return failed("%v", err)
		}
		if found && !slices.Contains(packages, "./"+path.Dir(name)) {
			packages = append(packages, "./"+path.Dir(name))
		}
	}
	fmt.Fprintln(r.Out, strings.Join(packages, " "))
	if err := r.run(ctx, r.Root, r.Out, "go", append([]string{"test", "-race"}, packages...)...); err != nil {
		return failed("go test -race: %v", err)
	}
	return passed
}

// raceable reports whether a file starts goroutines and is in a part of the tree that
// is not raced as a whole, nor left out.
func raceable(name string, src []byte) (bool, error) {
	within := func(parts []string) bool {
		return slices.ContainsFunc(parts, func(part string) bool {
			return strings.HasPrefix("./"+name, "./"+strings.TrimPrefix(strings.TrimSuffix(part, "..."), "./"))
		})
	}
	if within(raced) || within(unraced) || strings.Contains("/"+name, "/testdata/") {
		return false, nil
	}
	file, err := parser.ParseFile(token.NewFileSet(), name, src, parser.SkipObjectResolution)
	if err != nil {
		return false, fmt.Errorf("reading %s: %w", name, err)
	}
	starts := false
	ast.Inspect(file, func(node ast.Node) bool {
		switch n := node.(type) {
		case *ast.GoStmt:
			starts = true
		case *ast.CallExpr: // of a sync.WaitGroup or an errgroup.Group
			selector, ok := n.Fun.(*ast.SelectorExpr)
			starts = starts || ok && selector.Sel.Name == "Go"
		}
		return !starts
	})
	return starts, nil
}
