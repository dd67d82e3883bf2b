package definition

import (
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// alternatives explains the alternative that was meant, where that can be told, and
// otherwise names them all.
func (x *explainer) alternatives(at place, err *jsonschema.ValidationError) {
	if one, ok := err.ErrorKind.(*kind.OneOf); ok && len(one.Subschemas) > 0 {
		x.add(at, "fits several alternatives that exclude each other", "keep to one of them")
		return
	}
	if len(err.Causes) == 0 {
		x.add(at, "matches none of the alternatives", "")
		return
	}
	depth := len(err.InstanceLocation)
	all := make([]alternative, 0, len(err.Causes))
	for _, cause := range err.Causes {
		all = append(all, x.alternative(cause, branchOf(err.SchemaURL, cause.SchemaURL), depth))
	}
	nearest := slices.MinFunc(all, func(a, b alternative) int { return int(a.fits) - int(b.fits) }).fits
	all = slices.DeleteFunc(all, func(a alternative) bool { return a.fits != nearest })
	switch names := missingNames(at, all); {
	case len(all) == 1:
		x.found = append(x.found, all[0].found...)
	case nearest == ofAnotherKind && allTypes(all):
		x.add(at, expectedTypes(all), "")
	case len(names) == len(all):
		x.add(at, "one of these fields is required: "+strings.Join(names, ", "), "")
	default:
		if meant, ok := meant(all); ok {
			x.found = append(x.found, meant...)
			return
		}
		x.add(at, "matches none of the alternatives", x.reasons(at, err.Causes))
	}
}

// fit is how well a value fits an alternative that it does not satisfy.
type fit int

const (
	ofThisKind    fit = iota // the type is right
	ofOtherValue             // the type is right, and the value not one of those listed
	ofAnotherKind            // another type, or a field says that it is something else
)

// alternative is one that a value does not satisfy.
type alternative struct {
	err   *jsonschema.ValidationError
	fits  fit
	found Problems
	// names are the fields that the alternative knows.
	names []string
	// given is how many of the value's fields it knows.
	given int
}

// branchOf is the location of the alternative that an error below the schema at
// parent is about.
func branchOf(parent, location string) string {
	below, ok := strings.CutPrefix(location, parent)
	if !ok {
		return location
	}
	// Such as /oneOf/1/properties/a.
	steps := strings.SplitN(below, "/", 4)
	if len(steps) < 3 {
		return location
	}
	return parent + strings.Join(steps[:3], "/")
}

func (x *explainer) alternative(err *jsonschema.ValidationError, branch string, depth int) alternative {
	one := explainer{value: x.value, schemaAt: x.schemaAt}
	one.explain(err)
	a := alternative{err: err, fits: fitOf(err, depth), found: one.done()}
	if s := x.schemaAt(branch); s != nil {
		for _, s := range closure([]*schema{s}) {
			a.names = append(a.names, s.names...)
		}
	}
	slices.Sort(a.names)
	a.names = slices.Compact(a.names)
	object, _ := valueAt(x.value, err.InstanceLocation[:depth]).(map[string]any)
	for _, name := range a.names {
		if _, ok := object[name]; ok {
			a.given++
		}
	}
	return a
}

// fitOf tells from an error how well a value fits.
func fitOf(err *jsonschema.ValidationError, depth int) fit {
	inside := len(err.InstanceLocation) - depth
	switch err.ErrorKind.(type) {
	case *kind.Type:
		if inside == 0 {
			return ofAnotherKind
		}
	case *kind.Const, *kind.Enum:
		switch inside {
		case 0:
			return ofOtherValue
		case 1:
			return ofAnotherKind
		}
	case *kind.Group, *kind.Reference, *kind.AllOf, *kind.Schema:
		worst := ofThisKind
		for _, cause := range err.Causes {
			worst = max(worst, fitOf(cause, depth))
		}
		return worst
	}
	return ofThisKind
}

// allTypes reports whether each alternative fails for the value's type alone.
func allTypes(all []alternative) bool {
	return !slices.ContainsFunc(all, func(a alternative) bool {
		return len(a.found) != 1 || typeError(a.err) == nil
	})
}

// typeError is the one error about a type that err consists of, or nil.
func typeError(err *jsonschema.ValidationError) *kind.Type {
	if k, ok := err.ErrorKind.(*kind.Type); ok {
		return k
	}
	if len(err.Causes) == 1 {
		return typeError(err.Causes[0])
	}
	return nil
}

func expectedTypes(all []alternative) string {
	merged := kind.Type{}
	for _, a := range all {
		k := typeError(a.err)
		merged.Got = k.Got
		for _, want := range k.Want {
			if !slices.Contains(merged.Want, want) {
				merged.Want = append(merged.Want, want)
			}
		}
	}
	message, _, _ := describe(&merged)
	return message
}

// missingNames are the fields that the alternatives lack, one for each that lacks
// one field of this value and nothing else.
func missingNames(at place, all []alternative) []string {
	var names []string
	for _, a := range all {
		if len(a.found) != 1 || a.found[0].Message != "missing" {
			continue
		}
		name := strings.TrimPrefix(strings.TrimPrefix(a.found[0].Path, at.path), ".")
		if !strings.ContainsAny(name, ".[") && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// meant finds the alternative that knows the most of the fields that are given, or
// else the one with the fewest problems. It reports false where two are alike.
func meant(all []alternative) (Problems, bool) {
	byFields := func(a, b alternative) int { return b.given - a.given }
	byProblems := func(a, b alternative) int { return len(a.found) - len(b.found) }
	for _, order := range []func(a, b alternative) int{byFields, byProblems} {
		sorted := slices.Clone(all)
		slices.SortStableFunc(sorted, order)
		if order(sorted[0], sorted[1]) == 0 {
			continue
		}
		return sorted[0].named(), true
	}
	return nil, false
}

// named are the problems of an alternative, the first with what it is known by.
func (a alternative) named() Problems {
	found := slices.Clone(a.found)
	if len(a.names) == 0 || len(found) == 0 {
		return found
	}
	const most = 5
	names := a.names
	if len(names) > most {
		names = append(slices.Clip(names[:most]), "...")
	}
	remedy := "this is about the alternative that has " + strings.Join(names, ", ")
	if found[0].Remedy != "" {
		remedy = found[0].Remedy + "; " + remedy
	}
	found[0].Remedy = remedy
	return found
}

// valueAt goes down by the steps of a validation error.
func valueAt(value any, steps []string) any {
	for _, step := range steps {
		switch v := value.(type) {
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(v) {
				return nil
			}
			value = v[i]
		case map[string]any:
			value = v[step]
		default:
			return nil
		}
	}
	return value
}
