// Package prose finds wording that CONTRIBUTING.md advises against, in documentation,
// comments, and the strings of Go programs.
//
// It has a table of [Rules] with few false positives. It checks words, not grammar, so a
// text without findings may still be hard to read.
package prose

import (
	"bytes"
	"go/scanner"
	"go/token"
	"path"
	"regexp"
	"strings"
)

// A Rule is a wording to avoid.
type Rule struct {
	// Name identifies the rule in the list of known findings: lower-case words with hyphens.
	Name string
	// Pattern matches the wording, in any case. A space stands for white space of any
	// length, including a line break.
	Pattern string
	// Instead is what to write.
	Instead string

	// Except is a wording in front of a match that makes it right, or empty.
	Except string
}

// A Finding is a match of a rule.
type Finding struct {
	// Rule is the rule that matches.
	Rule Rule
	// Line is the line at which the match begins, from 1.
	Line int
	// Text is the match, on one line.
	Text string
}

// A Checker finds the wordings of rules. It is safe for concurrent use.
type Checker struct {
	// any matches where any rule matches, so that a file is searched once.
	any   *regexp.Regexp
	rules []compiled
}

type compiled struct {
	rule            Rule
	pattern, except *regexp.Regexp
}

// NewChecker compiles the rules. It panics if a pattern is invalid.
func NewChecker(rules []Rule) *Checker {
	c := &Checker{}
	var all []string
	for _, r := range rules {
		all = append(all, r.Pattern)
		k := compiled{rule: r, pattern: compile(`^(?:` + r.Pattern + `)$`)}
		if r.Except != "" {
			k.except = compile(`\b(?:` + r.Except + `)\s*$`)
		}
		c.rules = append(c.rules, k)
	}
	c.any = compile(`\b(?:` + strings.Join(all, "|") + `)\b`)
	return c
}

func compile(pattern string) *regexp.Regexp {
	return regexp.MustCompile(`(?i)` + strings.ReplaceAll(pattern, " ", `\s+`))
}

// Check returns the findings in a file, by line. Of two rules that match at one place, the
// first counts. The name decides what is prose: all but code in Markdown, comments and
// strings in Go, comments and descriptions in YAML, protobuf and Starlark. Other files have
// no findings.
func (c *Checker) Check(name string, src []byte) []Finding {
	text := extract(name, src)
	var found []Finding
	for _, at := range c.any.FindAllIndex(text, -1) {
		match := text[at[0]:at[1]]
		for _, r := range c.rules {
			if !r.pattern.Match(match) || r.except != nil && r.except.Match(text[max(0, at[0]-60):at[0]]) {
				continue
			}
			found = append(found, Finding{
				Rule: r.rule, Line: 1 + bytes.Count(src[:at[0]], []byte("\n")), Text: strings.Join(strings.Fields(string(match)), " "),
			})
			break
		}
	}
	return found
}

// extract returns the prose of a file, each byte at its place in the file. A byte that is not
// prose is 0, so that no match extends over code.
func extract(name string, src []byte) []byte {
	text := make([]byte, len(src))
	for i, b := range src {
		if b == ' ' || b == '\t' || b == '\n' {
			text[i] = ' '
		}
	}
	switch path.Ext(name) {
	case ".md":
		markdown(text, src)
	case ".go":
		golang(text, src)
	case ".yaml", ".bzl", ".bazel":
		lines(text, src, "#")
	case ".proto":
		lines(text, src, "//")
	default:
		return nil
	}
	return text
}

// keep copies src[from:to] as prose, with line breaks as spaces.
func keep(text, src []byte, from, to int) {
	for i := from; i < to; i++ {
		if text[i] = src[i]; src[i] == '\n' || src[i] == '\t' {
			text[i] = ' '
		}
	}
}

var codeSpan = regexp.MustCompile("`[^`\n]*`|<!--.*-->")

func markdown(text, src []byte) {
	fenced, at := false, 0
	for line := range bytes.Lines(src) {
		end := at + len(line)
		switch {
		case bytes.HasPrefix(bytes.TrimSpace(line), []byte("```")):
			fenced = !fenced
		case !fenced && !bytes.HasPrefix(line, []byte("    ")):
			keep(text, src, at, end)
			for _, span := range codeSpan.FindAllIndex(line, -1) {
				clear(text[at+span[0] : at+span[1]])
			}
		}
		at = end
	}
}

func golang(text, src []byte) {
	files := token.NewFileSet()
	file := files.AddFile("", files.Base(), len(src))
	var s scanner.Scanner
	s.Init(file, src, func(token.Position, string) {}, scanner.ScanComments)
	for {
		pos, tok, lit := s.Scan()
		if tok == token.EOF {
			return
		}
		from := file.Offset(pos)
		// A raw string may hold another language; an interpreted one is a message, or a word.
		if tok == token.COMMENT && !strings.HasPrefix(lit, "//go:") || tok == token.STRING && lit[0] == '"' {
			keep(text, src, from, min(len(src), from+len(lit)))
			if tok == token.COMMENT {
				copy(text[from:], "  ")
			}
		}
	}
}

// description is a field of YAML or Starlark that people read.
var description = regexp.MustCompile(`^\s*(?:- )?(?:\{id: \w+, )?(?:description|says|doc|title):? ?=? ?`)

// lines keeps comments, and the fields that people read, line by line.
func lines(text, src []byte, comment string) {
	at := 0
	for line := range bytes.Lines(src) {
		end := at + len(line)
		trimmed := bytes.TrimLeft(line, " \t")
		if bytes.HasPrefix(trimmed, []byte(comment)) {
			start := end - len(trimmed)
			keep(text, src, start, end)
			copy(text[start:], strings.Repeat(" ", len(comment)))
		} else if m := description.FindIndex(line); m != nil {
			keep(text, src, at+m[1], end)
		}
		at = end
	}
}
