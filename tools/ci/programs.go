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
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// ownPrograms may be run by their bare names: Go is what the README asks a machine
// for, and without Bazel tests build programs with it.
var ownPrograms = []string{"go"}

// everywhere are programs that every Linux has, and Bazel's own tests need.
var everywhere = []string{"/bin/false", "/bin/sh", "/bin/sleep"}

// setUp are the parts of the tree that set a machine up or check it, with the
// programs that the README names. No test runs what they run.
var setUp = []string{"tools/offline/", "tools/ci/", "tools/debian/cmd/"}

// programsOfOthers looks at every Go file that git knows.
func (r Repository) programsOfOthers(ctx context.Context) Outcome {
	var files bytes.Buffer
	if err := r.run(ctx, r.Root, &files, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.go"); err != nil {
		return failed("git ls-files: %v", err)
	}
	var o Outcome
	for _, name := range strings.Split(strings.Trim(files.String(), "\x00"), "\x00") {
		src, err := os.ReadFile(filepath.Join(r.Root, name))
		if err != nil || slices.ContainsFunc(setUp, func(part string) bool { return strings.HasPrefix(name, part) }) {
			continue
		}
		found, err := OutsidePrograms(name, src)
		if err != nil {
			return failed("%v", err)
		}
		o.Problems = append(o.Problems, found...)
	}
	if o.Failed = len(o.Problems); o.Failed == 0 {
		return passed
	}
	return o
}

// systemDirectory is a path to where a machine keeps its programs.
var systemDirectory = regexp.MustCompile(`^(/usr(/local)?)?/s?bin(/|$)`)

// OutsidePrograms returns, with file and line, each place where Go source looks for a
// program on the machine that it runs on, rather than among what the repository
// fetches or builds (tools/debian, tools/envoy): a bare name given to os/exec, a path
// into a system's directory of programs, a look at PATH.
func OutsidePrograms(name string, src []byte) ([]string, error) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, name, src, parser.SkipObjectResolution)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	var found []string
	report := func(node ast.Node, format string, args ...any) {
		at := files.Position(node.Pos())
		found = append(found, fmt.Sprintf("%s:%d: %s; take it from //tools/debian, or build it", at.Filename, at.Line, fmt.Sprintf(format, args...)))
	}
	packages := imported(file)
	ast.Inspect(file, func(node ast.Node) bool {
		switch n := node.(type) {
		case *ast.BasicLit:
			if text, ok := text(n); ok && systemDirectory.MatchString(text) && !slices.Contains(everywhere, text) {
				report(n, "%s is a path to a program of the machine", text)
			}
		case *ast.CallExpr:
			function := called(n, packages)
			argument, looks := map[string]int{"os/exec.Command": 0, "os/exec.CommandContext": 1, "os/exec.LookPath": 0, "os.Getenv": 0, "os.LookupEnv": 0}[function]
			if !looks || argument >= len(n.Args) {
				return true
			}
			text, ok := text(n.Args[argument])
			switch {
			case !ok:
			case strings.HasPrefix(function, "os.") && text == "PATH":
				report(n, "PATH is searched")
			case strings.HasPrefix(function, "os/exec.") && !strings.Contains(text, "/") && !slices.Contains(ownPrograms, text):
				report(n, "%s is looked for on the machine", text)
			}
		}
		return true
	})
	return found, nil
}

// imported returns the import path of each package by its name in the file.
func imported(file *ast.File) map[string]string {
	found := map[string]string{}
	for _, i := range file.Imports {
		importPath, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			continue
		}
		name := path.Base(importPath)
		if i.Name != nil {
			name = i.Name.Name
		}
		found[name] = importPath
	}
	return found
}

// called returns the function of another package that a call names, such as
// os/exec.Command, else "".
func called(call *ast.CallExpr, packages map[string]string) string {
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	name, ok := selector.X.(*ast.Ident)
	if !ok || packages[name.Name] == "" {
		return ""
	}
	return packages[name.Name] + "." + selector.Sel.Name
}

func text(expression ast.Expr) (string, bool) {
	literal, ok := expression.(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(literal.Value)
	return text, err == nil
}
