package expr

import (
	"maps"
	"slices"
)

// Reads is what an expression may read. The slices are sorted, without duplicates,
// and not to be modified.
type Reads struct {
	// Variables are the documented names of the variables.
	Variables []string
	// RequestHeaders and ResponseHeaders are the names, in lower case, of the
	// headers that are looked up by a constant name.
	RequestHeaders, ResponseHeaders []string
	// AllRequestHeaders and AllResponseHeaders say that headers are looked up
	// by other names too, or all of them are gone through.
	AllRequestHeaders, AllResponseHeaders bool
	// Attributes are the names of the attributes: always all of them.
	Attributes []string
}

// Scope reports whether any variable of the scope is read.
func (r Reads) Scope(s Scope) bool {
	return slices.ContainsFunc(r.Variables, func(name string) bool { return variablesByName[name].doc.Scope == s })
}

// Variable reports whether the variable is read.
func (r Reads) Variable(name string) bool {
	_, ok := slices.BinarySearch(r.Variables, name)
	return ok
}

// readSet collects Reads.
type readSet struct {
	variables, request, response, attributes map[string]bool
	allRequest, allResponse                  bool
}

func newReadSet() *readSet {
	return &readSet{
		variables: map[string]bool{}, request: map[string]bool{}, response: map[string]bool{}, attributes: map[string]bool{},
	}
}

func (s *readSet) reads() Reads {
	sorted := func(m map[string]bool) []string { return slices.Sorted(maps.Keys(m)) }
	return Reads{
		Variables:          sorted(s.variables),
		RequestHeaders:     sorted(s.request),
		ResponseHeaders:    sorted(s.response),
		AllRequestHeaders:  s.allRequest,
		AllResponseHeaders: s.allResponse,
		Attributes:         sorted(s.attributes),
	}
}
