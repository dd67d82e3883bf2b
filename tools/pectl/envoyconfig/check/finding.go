package check

import (
	"cmp"
	"slices"

	"policyengine.dev/tools/pectl/envoyconfig/message"
)

// Severity says how bad a finding is.
type Severity string

const (
	// Error: requests pass chains that should decide on them, or requests fail
	// that should not.
	Error Severity = "error"
	// Warning: something that works today only as long as nothing else
	// changes, costs more than it has to, or could not be checked.
	Warning Severity = "warning"
	// Note: worth knowing.
	Note Severity = "note"
)

// Finding is one thing in a configuration that breaks chains or gets around them.
type Finding struct {
	// Rule is what was looked for: one of [Rules].
	Rule     string   `json:"rule"`
	Severity Severity `json:"severity"`
	// File, Line and Column, counted from 1, and Path are the place.
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
	Path   string `json:"path,omitempty"`
	// In names what the place belongs to, outermost first, such as: listener
	// main, virtual host all, route charge.
	In []string `json:"in,omitempty"`
	// Problem says what happens, Remedy what would be right.
	Problem string `json:"problem"`
	Remedy  string `json:"remedy"`
}

// Report is what a check has found.
type Report struct {
	// Findings are sorted by file, line and column. There are at most
	// [MaxPerRule] of a rule; Omitted counts what is beyond, by rule.
	Findings []Finding      `json:"findings"`
	Omitted  map[string]int `json:"omitted,omitempty"`
	// Errors, Warnings and Notes count all findings, those omitted too.
	Errors   int `json:"errors"`
	Warnings int `json:"warnings"`
	Notes    int `json:"notes"`
	// Looked counts what was checked.
	Looked Looked `json:"looked"`
}

// Looked counts what a check has looked at.
type Looked struct {
	Listeners          int `json:"listeners"`
	ConnectionManagers int `json:"connectionManagers"`
	Routes             int `json:"routes"`
	// Clusters are all that the configuration has, EngineClusters those of the
	// engine, which alone are judged.
	Clusters       int `json:"clusters"`
	EngineClusters int `json:"engineClusters"`
}

// MaxPerRule bounds how many findings of one rule are told.
const MaxPerRule = 50

// scope is what a place belongs to, outermost first.
type scope []string

func (s scope) within(what, name string) scope {
	if name != "" {
		what += " " + name
	}
	return append(slices.Clone(s), what)
}

// found adds a finding.
func (c *checker) found(rule string, s Severity, at *message.Node, in scope, problem, remedy string) {
	line, column := at.Position()
	f := Finding{
		Rule: rule, Severity: s, File: at.File(), Line: line, Column: column, Path: at.Path(),
		In: in, Problem: problem, Remedy: remedy,
	}
	key := findingKey{rule, f.File, f.Path, f.Problem}
	if c.seen[key] {
		return // a cluster or a route configuration that is used more than once
	}
	c.seen[key] = true
	c.findings = append(c.findings, f)
}

type findingKey struct{ rule, file, path, problem string }

// report sorts and bounds what was found.
func (c *checker) report() *Report {
	c.looked.Clusters = len(c.resources.clusters)
	r := &Report{Findings: []Finding{}, Looked: c.looked}
	slices.SortStableFunc(c.findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(c.files[a.File], c.files[b.File]), cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Problem, b.Problem))
	})
	told := map[string]int{}
	for _, f := range c.findings {
		switch f.Severity {
		case Error:
			r.Errors++
		case Warning:
			r.Warnings++
		default:
			r.Notes++
		}
		if told[f.Rule]++; told[f.Rule] > MaxPerRule {
			if r.Omitted == nil {
				r.Omitted = map[string]int{}
			}
			r.Omitted[f.Rule]++
			continue
		}
		r.Findings = append(r.Findings, f)
	}
	return r
}
