package definition

import (
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"policyengine.dev/sdk/strictyaml"
)

// maxProblems bounds how many problems of one value are explained.
const maxProblems = 1000

// explainer puts a validation error into words, without the values that are
// at fault, which may be secrets.
type explainer struct {
	value    any
	schemaAt func(url string) *schema
	found    Problems
	// unevaluated are fields that count as unknown perhaps only because what
	// describes them has failed for another reason.
	unevaluated Problems
}

// done is everything that was found.
func (x *explainer) done() Problems {
	if len(x.found) == 0 {
		return x.unevaluated
	}
	return x.found
}

func (x *explainer) explain(err *jsonschema.ValidationError) {
	if len(x.found) >= maxProblems {
		return
	}
	at := place{}.down(x.value, err.InstanceLocation)
	switch k := err.ErrorKind.(type) {
	case *kind.Required:
		x.missing(at, k.Missing, "this field is required")
	case *kind.DependentRequired:
		x.missing(at, k.Missing, "it is required beside "+strictyaml.PathKey("", k.Prop))
	case *kind.AdditionalProperties:
		var known []string
		if s := x.schemaAt(err.SchemaURL); s != nil {
			known = s.names
		}
		for _, name := range k.Properties {
			x.found = append(x.found, at.key(name).keyProblem("unknown field", strictyaml.Nearest(name, known)))
		}
	case *kind.FalseSchema:
		x.forbidden(at, err)
	case *kind.PropertyNames:
		x.found = append(x.found, at.key(k.Property).keyProblem("the name of this field is not allowed", x.nameReasons(err.Causes)))
	case *kind.AnyOf, *kind.OneOf:
		x.alternatives(at, err)
	case *kind.Not:
		x.add(at, "has a form that is excluded", "")
	default:
		message, remedy, leaf := describe(k)
		if leaf || len(err.Causes) == 0 {
			x.add(at, message, remedy)
			return
		}
		for _, cause := range err.Causes {
			x.explain(cause)
		}
	}
}

func (x *explainer) add(at place, message, remedy string) {
	x.found = append(x.found, at.problem(message, remedy))
}

// forbidden explains a value where the schema has `false`.
func (x *explainer) forbidden(at place, err *jsonschema.ValidationError) {
	parent, unevaluated := strings.CutSuffix(err.SchemaURL, "/unevaluatedProperties")
	s := x.schemaAt(parent)
	if !unevaluated || s == nil {
		x.add(at, "not allowed here", "")
		return
	}
	var known []string
	name := err.InstanceLocation[len(err.InstanceLocation)-1]
	for _, s := range closure([]*schema{s}) {
		known = append(known, s.names...)
	}
	if slices.Contains(known, name) {
		x.unevaluated = append(x.unevaluated, at.keyProblem("not allowed beside the other fields", ""))
		return
	}
	x.found = append(x.found, at.keyProblem("unknown field", strictyaml.Nearest(name, known)))
}

func (x *explainer) missing(at place, names []string, remedy string) {
	for _, name := range names {
		x.add(at.key(name), "missing", remedy)
	}
}

// reasons sums up why each alternative failed.
func (x *explainer) reasons(at place, causes []*jsonschema.ValidationError) string {
	var reasons []string
	for _, cause := range causes {
		one := explainer{value: x.value, schemaAt: x.schemaAt}
		one.explain(cause)
		found := one.done()
		if len(found) == 0 || len(reasons) == 5 {
			reasons = append(reasons, "...")
			break
		}
		first := found[0]
		first.Path = strings.TrimPrefix(strings.TrimPrefix(first.Path, at.path), ".")
		reasons = append(reasons, first.Error())
	}
	return strings.Join(reasons, ", or ")
}

// nameReasons says why a field's name is refused; the causes are about the
// name alone, wherever they say that it stands.
func (x *explainer) nameReasons(causes []*jsonschema.ValidationError) string {
	var reasons []string
	for _, cause := range causes {
		_, remedy, _ := describe(cause.ErrorKind)
		reasons = append(reasons, remedy)
	}
	return strings.Join(reasons, ", and ")
}

// describe explains one failed keyword; leaf says that its causes add nothing.
func describe(k jsonschema.ErrorKind) (message, remedy string, leaf bool) {
	switch k := k.(type) {
	case *kind.Type:
		wanted := make([]string, len(k.Want))
		for i, want := range k.Want {
			wanted[i] = typeName(want)
		}
		if len(k.Want) == 1 && k.Want[0] == "string" && (k.Got == "number" || k.Got == "integer" || k.Got == "boolean") {
			remedy = "put it in quotes"
		}
		return "expected " + strings.Join(wanted, " or ") + ", found " + typeName(k.Got), remedy, true
	case *kind.Enum:
		return "not one of the values that are possible", "write " + oneOf(k.Want), true
	case *kind.Const:
		return "not the value that is possible", "write " + oneOf([]any{k.Want}), true
	case *kind.Format:
		return "not of the form " + k.Want, formats[k.Want], true
	case *kind.Pattern:
		return "not of the right form", "it must match " + k.Want, true
	case *kind.MinLength:
		return "too short", fmt.Sprintf("at least %d characters", k.Want), true
	case *kind.MaxLength:
		return "too long", fmt.Sprintf("at most %d characters", k.Want), true
	case *kind.MinItems:
		return "too few items", fmt.Sprintf("at least %d", k.Want), true
	case *kind.MaxItems:
		return "too many items", fmt.Sprintf("at most %d", k.Want), true
	case *kind.MinProperties:
		return "too few fields", fmt.Sprintf("at least %d", k.Want), true
	case *kind.MaxProperties:
		return "too many fields", fmt.Sprintf("at most %d", k.Want), true
	case *kind.UniqueItems:
		return fmt.Sprintf("the items %d and %d (counted from 0) are the same", k.Duplicates[0], k.Duplicates[1]), "keep one of the two", true
	case *kind.Contains, *kind.MinContains:
		return "too few items are of the kind that is needed", "", true
	case *kind.MaxContains:
		return "too many items are of the kind that is limited", fmt.Sprintf("at most %d", k.Want), true
	case *kind.Minimum:
		return "too small", "at least " + number(k.Want), true
	case *kind.Maximum:
		return "too large", "at most " + number(k.Want), true
	case *kind.ExclusiveMinimum:
		return "too small", "more than " + number(k.Want), true
	case *kind.ExclusiveMaximum:
		return "too large", "less than " + number(k.Want), true
	case *kind.MultipleOf:
		return "not a multiple", "a multiple of " + number(k.Want), true
	case *kind.ContentEncoding:
		return "not encoded as it should be", "write " + k.Want, true
	case *kind.ContentMediaType:
		return "not of the right media type", "write " + k.Want, true
	}
	return "not valid", "", false
}

func typeName(name string) string {
	switch name {
	case "null":
		return "an empty value (null)"
	case "boolean":
		return "a boolean"
	case "integer":
		return "a whole number"
	case "number":
		return "a number"
	case "string":
		return "a string"
	case "array":
		return "a list"
	}
	return "a mapping"
}

func number(r *big.Rat) string {
	if s := r.RatString(); r.IsInt() && len(s) < 20 {
		return s
	}
	f, _ := r.Float64()
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// oneOf lists what a definition allows: its own words, which are not secrets.
func oneOf(values []any) string {
	names := make([]string, 0, len(values))
	for _, value := range values {
		switch value.(type) {
		case map[string]any, []any:
			return "what the schema lists"
		case nil:
			names = append(names, "null")
		default:
			names = append(names, fmt.Sprint(value))
		}
	}
	if len(names) == 1 {
		return names[0]
	}
	return "one of " + strings.Join(names, ", ")
}
