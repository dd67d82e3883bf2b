package definition

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"policyengine.dev/sdk/strictyaml"
)

// Problem is one thing that is wrong with parameters. It never quotes a value
// of theirs, which may be a secret.
type Problem struct {
	// Path leads from the parameters to the value, such as issuers[0].uri,
	// as package strictyaml writes paths. Empty for the parameters themselves.
	Path string
	// Pointer is the same as a JSON pointer (RFC 6901), such as /issuers/0/uri.
	Pointer string
	// Message says what is wrong.
	Message string
	// Remedy says what would be right. It may be empty.
	Remedy string

	// ofKey tells that it is the field's name that is wrong, not its value.
	ofKey bool
}

// Error gives "path: message; remedy".
func (p Problem) Error() string { return p.diagnostic().Error() }

func (p Problem) diagnostic() strictyaml.Diagnostic {
	return strictyaml.Diagnostic{Path: p.Path, Problem: p.Message, Remedy: p.Remedy}
}

// Problems are all that is wrong with parameters, sorted by path. A non-empty
// list is an error: one line per problem.
type Problems []Problem

// Error gives one line per problem.
func (ps Problems) Error() string {
	var found strictyaml.Diagnostics
	for _, p := range ps {
		found.Add(p.diagnostic())
	}
	return found.Error()
}

// At places the problems in the file that the parameters came from: node is
// where they stand in it.
func (ps Problems) At(node strictyaml.Node) strictyaml.Diagnostics {
	var found strictyaml.Diagnostics
	for _, p := range ps {
		place := node.Pointer(p.Pointer)
		if p.ofKey {
			found.Add(place.KeyProblem(p.Message, p.Remedy))
		} else {
			found.Add(place.Problem(p.Message, p.Remedy))
		}
	}
	return found
}

func (ps Problems) err() error {
	if len(ps) == 0 {
		return nil
	}
	slices.SortFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Message, b.Message), cmp.Compare(a.Remedy, b.Remedy))
	})
	return slices.Compact(ps)
}

// place is a place in a JSON value.
type place struct{ path, pointer string }

var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

func (p place) key(name string) place {
	return place{strictyaml.PathKey(p.path, name), p.pointer + "/" + pointerEscapes.Replace(name)}
}

func (p place) index(i int) place {
	return place{strictyaml.PathIndex(p.path, i), p.pointer + "/" + strconv.Itoa(i)}
}

// join is a place inside the value at p.
func (p place) join(inner place) place {
	return place{strictyaml.PathJoin(p.path, inner.path), p.pointer + inner.pointer}
}

// down goes down by the steps of a validation error, which names list items
// by their index in decimal: the value tells them from keys.
func (p place) down(value any, steps []string) place {
	for _, step := range steps {
		switch v := value.(type) {
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(v) {
				return p
			}
			p, value = p.index(i), v[i]
		case map[string]any:
			p, value = p.key(step), v[step]
		default:
			return p
		}
	}
	return p
}

func (p place) problem(message, remedy string) Problem {
	return Problem{Path: p.path, Pointer: p.pointer, Message: message, Remedy: remedy}
}

// within is the problem of a value that itself stands at a place.
func (p Problem) within(at place) Problem {
	inner := at.join(place{p.Path, p.Pointer})
	p.Path, p.Pointer = inner.path, inner.pointer
	return p
}

// keyProblem is about the name of a field rather than its value.
func (p place) keyProblem(message, remedy string) Problem {
	problem := p.problem(message, remedy)
	problem.ofKey = true
	return problem
}
