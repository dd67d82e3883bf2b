package prose_test

import (
	"bufio"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"policyengine.dev/tools/prose"
)

var update = flag.Bool("update", false, "remove from known.txt what is not found any more; create it if it is missing")

// known lists the findings that were there when a rule was added: rule, file and number.
const known = "known.txt"

// place is a rule and a file.
type place struct{ rule, file string }

// TestTheTree checks all files of the repository. The list of known findings may only
// shrink. Bazel does not have the whole tree, so CI runs this test with go test.
func TestTheTree(t *testing.T) {
	if os.Getenv("TEST_SRCDIR") != "" {
		t.Skip("needs the whole tree: CI runs it with go test")
	}
	allowed := readKnown(t)
	checker := prose.NewChecker(prose.Rules)
	counts := map[place]int{}
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if d.IsDir() {
			if name != "." && (strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "bazel-")) || name == "tools/prose" {
				return fs.SkipDir
			}
			return nil
		}
		if strings.HasSuffix(name, ".pb.go") || !d.Type().IsRegular() {
			return nil
		}
		src, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var found []string
		for _, f := range checker.Check(name, src) {
			p := place{f.Rule.Name, name}
			counts[p]++
			found = append(found, fmt.Sprintf("%s:%d: %q: write %s (%s)", name, f.Line, f.Text, f.Rule.Instead, f.Rule.Name))
		}
		for _, line := range found {
			rule := line[strings.LastIndexByte(line, '(')+1 : len(line)-1]
			if p := (place{rule, name}); counts[p] > allowed[p] && allowed != nil {
				t.Errorf("%s; %d known, %d found", line, allowed[p], counts[p])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	shrunk := map[place]int{}
	for p, n := range counts {
		if allowed != nil {
			n = min(n, allowed[p])
		}
		if n > 0 {
			shrunk[p] = n
		}
	}
	if maps.Equal(shrunk, allowed) {
		return
	}
	if *update || allowed == nil {
		writeKnown(t, shrunk)
		return
	}
	t.Log("some known findings are gone; remove them from the list: go test ./tools/prose -update")
}

// readKnown returns nil if the list is missing and is to be written.
func readKnown(t *testing.T) map[place]int {
	t.Helper()
	f, err := os.Open(known)
	if os.IsNotExist(err) && *update {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := map[place]int{}
	for s := bufio.NewScanner(f); s.Scan(); {
		var p place
		var n int
		if _, err := fmt.Sscan(s.Text(), &p.rule, &p.file, &n); err != nil {
			t.Fatalf("%s: %q: want a rule, a file and a number: %v", known, s.Text(), err)
		}
		all[p] = n
	}
	return all
}

func writeKnown(t *testing.T, all map[place]int) {
	t.Helper()
	var lines []string
	for p, n := range all {
		lines = append(lines, fmt.Sprintf("%s %s %d\n", p.rule, p.file, n))
	}
	slices.Sort(lines)
	if err := os.WriteFile(known, []byte(strings.Join(lines, "")), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestCheck(t *testing.T) {
	rules := []prose.Rule{
		{Name: "place", Pattern: "in place of", Instead: "instead of"},
		{Name: "no-flag", Pattern: "is no flag", Except: "there", Instead: "is not a flag"},
	}
	for _, tt := range []struct {
		name, file, src string
		// want are the lines of the findings.
		want []int
	}{
		{"text", "a.md", "One in place of two.", []int{1}},
		{"a phrase over a line break", "a.md", "\nOne in\nplace of two.", []int{2}},
		{"in any case", "a.md", "In place of two", []int{1}},
		{"the exception", "a.md", "There is no flag", nil},
		{"the exception elsewhere", "a.md", "There: it is no flag", []int{1}},
		{"a code block", "a.md", "```\nin place of\n```\n", nil},
		{"a code span", "a.md", "`in place of`", nil},
		{"text around a code span", "a.md", "in `x` place of", nil},
		{"a comment", "a.go", "package a\n\n// One in\n// place of two.\n", []int{3}},
		{"a string", "a.go", "package a\n\nvar s = \"in place of\"\n", []int{3}},
		{"a raw string", "a.go", "package a\n\nvar s = `in place of`\n", nil},
		{"code between strings", "a.go", "package a\n\nvar s = \"in\" + place + \"of\"\n", nil},
		{"a comment in YAML", "a.yaml", "# One in\n# place of two.\n", []int{1}},
		{"a description in YAML", "a.yaml", "x: in place of\ndescription: in place of\n", []int{2}},
		{"a comment in protobuf", "a.proto", "  // in place of\n", []int{1}},
		{"another file", "a.txt", "in place of", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []int
			for _, f := range prose.NewChecker(rules).Check(tt.file, []byte(tt.src)) {
				got = append(got, f.Line)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got findings in the lines %v, want %v", got, tt.want)
			}
		})
	}
}

func FuzzCheck(f *testing.F) {
	f.Add("a.md", "in place of `x` ```")
	f.Add("a.go", "package a // in place of")
	f.Add("a.yaml", "description: in place of")
	checker := prose.NewChecker(prose.Rules)
	f.Fuzz(func(t *testing.T, name, src string) {
		for _, found := range checker.Check(name, []byte(src)) {
			if found.Line < 1 || found.Line > 1+strings.Count(src, "\n") {
				t.Errorf("line %d of %q", found.Line, src)
			}
		}
	})
}
