// Package edits is what the versions of set-header have in common: it compiles what is
// to be done to one header list.
package edits

import (
	"errors"
	"fmt"
	"slices"

	"policyengine.dev/sdk/expr"
	"policyengine.dev/sdk/policy"
)

// Params is what is done to one header list, in the order of the fields.
type Params struct {
	Remove []policy.HeaderName `json:"remove"`
	Set    []Header            `json:"set"`
	Append []Header            `json:"append"`
}

// Header is one header to write: with a value, or with what a template gives.
type Header struct {
	Name     policy.HeaderName  `json:"name"`
	Value    policy.HeaderValue `json:"value"`
	Template string             `json:"template"`
	// Missing says what happens where the template has no value.
	Missing string `json:"missing"`
}

// Edits is compiled. It is immutable and safe for concurrent use.
type Edits struct {
	// fixed is the whole change where no header has a template, and otherwise what
	// is removed.
	fixed policy.HeaderMutation
	// set and append are all headers to write where one has a template.
	set, append []field
}

// field is one header to write.
type field struct {
	header   policy.Header
	template *template // nil where the value is fixed
	missing  string
}

// Compile compiles p. where is the path of p, for problems, of which it reports all:
// headers that a policy may not change (see policy.CheckHeaderEdit), a header that is
// set or removed twice, and templates that do not compile. opts narrow what templates
// may read.
func Compile(where string, p Params, opts ...expr.Option) (*Edits, error) {
	var problems []error
	problem := func(list string, i int, err error) {
		problems = append(problems, fmt.Errorf("%s.%s[%d]: %w", where, list, i, err))
	}
	check := func(list string, i int, name policy.HeaderName) {
		if err := policy.CheckHeaderEdit(string(name)); err != nil {
			problem(list, i, fmt.Errorf("%q %w", name, err))
		}
	}
	e := &Edits{}
	for i, name := range p.Remove {
		check("remove", i, name)
		if slices.Contains(p.Remove[:i], name) {
			problem("remove", i, fmt.Errorf("%q is removed already", name))
		}
		e.fixed.Remove = append(e.fixed.Remove, string(name))
	}
	compile := func(list string, headers []Header) (fields []field, templates bool) {
		for i, h := range headers {
			check(list, i, h.Name)
			f := field{header: policy.Header{Name: string(h.Name), Value: string(h.Value)}, missing: h.Missing}
			if h.Template != "" {
				t, err := compileTemplate(h.Template, opts)
				if err != nil {
					problem(list, i, fmt.Errorf("template: %w", err))
				}
				f.template, templates = t, true
			}
			fields = append(fields, f)
		}
		return fields, templates
	}
	set, setTemplates := compile("set", p.Set)
	for i, h := range p.Set {
		if slices.ContainsFunc(p.Set[:i], func(o Header) bool { return o.Name == h.Name }) {
			problem("set", i, fmt.Errorf("%q is set already; a second value goes under append", h.Name))
		}
	}
	added, addTemplates := compile("append", p.Append)
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	if setTemplates || addTemplates {
		e.set, e.append = set, added
		return e, nil
	}
	for _, f := range set {
		e.fixed.Set = append(e.fixed.Set, f.header)
	}
	for _, f := range added {
		e.fixed.Append = append(e.fixed.Append, f.header)
	}
	return e, nil
}

// IsZero reports whether nothing is changed.
func (e *Edits) IsZero() bool { return e.fixed.IsZero() && len(e.set)+len(e.append) == 0 }

// Fixed returns the change where it is the same for every message, and whether it is.
func (e *Edits) Fixed() (policy.HeaderMutation, bool) { return e.fixed, len(e.set)+len(e.append) == 0 }

// Attributes returns the proxy's attributes that templates read.
func (e *Edits) Attributes() []string {
	var names []string
	for _, f := range slices.Concat(e.set, e.append) {
		if f.template == nil {
			continue
		}
		for _, p := range f.template.pieces {
			if p.program != nil {
				names = append(names, p.program.Reads().Attributes...)
			}
		}
	}
	return names
}

// Evaluate returns the change for one message. An error says that a template whose
// header must not be missing has no value.
func (e *Edits) Evaluate(in expr.Input) (policy.HeaderMutation, error) {
	m := policy.HeaderMutation{Remove: slices.Clip(e.fixed.Remove)}
	for _, f := range e.set {
		header, ok, err := f.evaluate(in)
		switch {
		case err != nil:
			return policy.HeaderMutation{}, err
		case ok:
			m.Set = append(m.Set, header)
		default:
			// What the other side sent under that name must not pass for ours.
			m.Remove = append(m.Remove, header.Name)
		}
	}
	for _, f := range e.append {
		header, ok, err := f.evaluate(in)
		if err != nil {
			return policy.HeaderMutation{}, err
		}
		if ok {
			m.Append = append(m.Append, header)
		}
	}
	return m, nil
}

// evaluate returns the header, and whether it is to be written.
func (f field) evaluate(in expr.Input) (policy.Header, bool, error) {
	if f.template == nil {
		return f.header, true, nil
	}
	value, err := f.template.evaluate(in)
	switch {
	case err == nil:
		return policy.Header{Name: f.header.Name, Value: value}, true, nil
	case f.missing == "empty":
		return policy.Header{Name: f.header.Name}, true, nil
	case f.missing == "error":
		return f.header, false, fmt.Errorf("header %s: %w", f.header.Name, err)
	}
	return f.header, false, nil
}
