package docs

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

// programs are the command lines that have a reference page. Tests of their packages
// compare these pages with the commands.
var programs = map[string]string{
	"pectl":         "docs/reference/pectl.md",
	"policy-engine": "docs/reference/policy-engine.md",
}

// bazelCommands are the commands that pages may use with bazelw. doctor and install are
// bazelw's own.
var bazelCommands = []string{"analyze-profile", "build", "doctor", "info", "install", "mod", "query", "run", "shutdown", "test"}

// examples are bundles that pages use for a bundle of the reader's own.
var examples = []string{"//bundles:mine"}

// span is a code span with one command.
var span = regexp.MustCompile("`((?:go|pectl|policy-engine|bazel|\\./bazelw|\\.ci/run)(?: [^`]*)?)`")

// CheckCommands returns a problem for each command of the pages, in a code block or a code
// span, that does not exist: an unknown command or flag of pectl and policy-engine, a
// label of Bazel's without a package or target, and a Go package or test that is not there.
// generated are directories that the pages have commands create.
func CheckCommands(tree fs.FS, pages, generated []string) ([]Problem, error) {
	c := checker{tree: tree, generated: generated, programs: map[string]map[string]command{}}
	for name, file := range programs {
		p, err := readPage(tree, file)
		if err != nil {
			return nil, err
		}
		c.programs[name] = p.commands(name)
	}
	var problems []Problem
	for _, file := range pages {
		p, err := readPage(tree, file)
		if err != nil {
			return nil, err
		}
		for _, l := range p.lines {
			for _, text := range l.commands() {
				if problem := c.check(text); problem != "" {
					problems = append(problems, Problem{file, l.number, fmt.Sprintf("%s: %s", text, problem)})
				}
			}
		}
	}
	return problems, nil
}

// commands returns the commands on the line: all of it in a fenced block, code spans elsewhere.
func (l line) commands() []string {
	if l.code {
		return []string{strings.TrimPrefix(strings.TrimSpace(l.text), "$ ")}
	}
	var all []string
	for _, m := range span.FindAllStringSubmatch(l.text, -1) {
		all = append(all, m[1])
	}
	return all
}

// A command is one command of a program, with the names of its flags.
type command struct {
	flags map[string]bool
	// group says that the command has commands of its own, and arguments that it has arguments.
	group, arguments bool
}

var (
	flagLine = regexp.MustCompile(`^ +(?:-(\w), )?--([\w-]+)`)
	seeAlso  = regexp.MustCompile(`^\* \[([^]]+)\]`)
)

// commands returns the commands that a reference page describes, by their names with
// spaces, such as "pectl policy new".
func (p page) commands(program string) map[string]command {
	all := map[string]command{}
	name := ""
	for _, l := range p.lines {
		if rest, ok := strings.CutPrefix(l.text, "## "); ok && !l.code && (rest == program || strings.HasPrefix(rest, program+" ")) {
			name = rest
			all[name] = command{flags: map[string]bool{"-h": true, "--help": true}}
		}
		if name == "" {
			continue
		}
		if rest, ok := strings.CutPrefix(l.text, name+" "); ok && l.code && placeholder(strings.Fields(rest)[0]) {
			c := all[name]
			c.arguments = true
			all[name] = c
		}
		if m := flagLine.FindStringSubmatch(l.text); l.code && m != nil {
			all[name].flags["--"+m[2]] = true
			if m[1] != "" {
				all[name].flags["-"+m[1]] = true
			}
		}
		if m := seeAlso.FindStringSubmatch(l.text); !l.code && m != nil && strings.HasPrefix(m[1], name+" ") {
			c := all[name]
			c.group = true
			all[name] = c
		}
	}
	return all
}

type checker struct {
	tree      fs.FS
	generated []string
	programs  map[string]map[string]command
}

// check returns what is wrong with a command, or "". It knows nothing about words that
// begin no known command.
func (c checker) check(text string) string {
	words := strings.Fields(text)
	for i, w := range words {
		if strings.HasPrefix(w, "#") || w == "|" || w == "&&" || w == ">" {
			words = words[:i]
			break
		}
	}
	// Blocks may explain a command on its line, behind two spaces.
	if before, _, ok := strings.Cut(text, "   "); ok {
		words = strings.Fields(before)
	}
	if len(words) == 0 {
		return ""
	}
	switch words[0] {
	case "pectl", "policy-engine":
		return c.program(words[0], words[1:])
	case "./bazelw", "bazel":
		return c.bazel(words[1:])
	case "go":
		return c.golang(words[1:])
	}
	return ""
}

// program checks a command line of a program with a reference page.
func (c checker) program(name string, args []string) string {
	known := c.programs[name]
	for len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		if args[0] == "completion" || args[0] == "help" {
			return "" // cobra's own commands, which the page does not describe
		}
		if _, ok := known[name+" "+args[0]]; !ok {
			break
		}
		name += " " + args[0]
		args = args[1:]
	}
	cmd := known[name]
	if len(args) > 0 && cmd.group && !cmd.arguments && !strings.HasPrefix(args[0], "-") && !placeholder(args[0]) {
		return fmt.Sprintf("%s has no command %q", name, args[0])
	}
	for _, a := range args {
		flag, _, _ := strings.Cut(strings.Trim(a, "[].,"), "=")
		if strings.HasPrefix(flag, "-") && flag != "--" && flag != "-" && !cmd.flags[flag] {
			return fmt.Sprintf("%s has no flag %s", name, flag)
		}
	}
	return ""
}

// placeholder reports whether a word of a command stands for the reader's own.
func placeholder(word string) bool {
	return word == strings.ToUpper(word) || strings.HasPrefix(word, "[") || strings.HasPrefix(word, "<") || word == "..."
}

// bazel checks the command and the labels of a line for Bazel.
func (c checker) bazel(args []string) string {
	if len(args) > 0 && !slices.Contains(bazelCommands, args[0]) && !placeholder(args[0]) {
		return fmt.Sprintf("no page may use the command %q of Bazel: list it in tools/docs if it is right", args[0])
	}
	for _, a := range args {
		if a == "--" {
			break
		}
		if strings.HasPrefix(a, "//") && !slices.Contains(examples, a) {
			if problem := c.label(a); problem != "" {
				return problem
			}
		}
	}
	return ""
}

// label checks that the package of a label exists, and that its BUILD file has the target,
// or the macro that makes it.
func (c checker) label(label string) string {
	pkg, target, named := strings.Cut(strings.TrimPrefix(label, "//"), ":")
	pkg, all := strings.CutSuffix(pkg, "...")
	pkg = strings.Trim(pkg, "/")
	if slices.Contains(c.generated, pkg) {
		return ""
	}
	if all {
		if !c.directory(pkg) {
			return fmt.Sprintf("there is no directory %s", pkg)
		}
		return ""
	}
	build, err := fs.ReadFile(c.tree, path.Join(pkg, "BUILD.bazel"))
	if err != nil {
		return fmt.Sprintf("there is no package %s", label)
	}
	if !named {
		target = path.Base(pkg)
	}
	for _, m := range targetName.FindAllStringSubmatch(string(build), -1) {
		if name := m[1]; name == target || strings.HasPrefix(target, name+"_") || strings.HasPrefix(target, name+".") {
			return ""
		}
	}
	return fmt.Sprintf("the package has no target %q", target)
}

var targetName = regexp.MustCompile(`(?m)^ *(?:name = )?"([^"]+)"(?:,|: \[)`)

// golang checks the packages of go test and go run, and the tests that -run selects.
func (c checker) golang(args []string) string {
	if len(args) == 0 || args[0] != "test" && args[0] != "run" {
		return ""
	}
	for i, a := range args {
		if !strings.HasPrefix(a, "./") {
			continue
		}
		dir, all := strings.CutSuffix(strings.TrimPrefix(a, "./"), "...")
		dir = strings.TrimSuffix(dir, "/")
		if slices.Contains(c.generated, dir) {
			continue
		}
		if !c.directory(dir) {
			return fmt.Sprintf("there is no directory %s", dir)
		}
		if args[0] == "run" {
			// The program is go run's; what follows is its command line.
			if _, ok := c.programs[path.Base(dir)]; ok {
				return c.program(path.Base(dir), args[i+1:])
			}
			return ""
		}
		if n := slices.Index(args, "-run"); n > 0 && n+1 < len(args) && !all {
			name, _, _ := strings.Cut(strings.Trim(args[n+1], "'^$"), "/")
			if name != "" && name != "XXX" && !c.hasTest(dir, name) {
				return fmt.Sprintf("%s has no test %s", dir, name)
			}
		}
	}
	return ""
}

func (c checker) directory(dir string) bool {
	if dir == "" {
		return true
	}
	info, err := fs.Stat(c.tree, dir)
	return err == nil && info.IsDir()
}

// hasTest reports whether a test in the directory has the word in its name.
func (c checker) hasTest(dir, word string) bool {
	files, err := fs.Glob(c.tree, path.Join(dir, "*_test.go"))
	if err != nil {
		return false
	}
	test := regexp.MustCompile(`(?m)^func (?:Test|Fuzz|Example)?\w*` + regexp.QuoteMeta(word))
	return slices.ContainsFunc(files, func(file string) bool {
		src, err := fs.ReadFile(c.tree, file)
		return err == nil && test.Match(src)
	})
}
