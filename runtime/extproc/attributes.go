package extproc

import (
	"iter"

	"policyengine.dev/runtime/extproc/wire"
)

// attributes are what Envoy has told about an exchange so far. They are not changed
// once policies can see them.
type attributes struct {
	request, response wire.Attributes
}

// Lookup implements exchange.Attributes.
func (a *attributes) Lookup(name string) (any, bool) {
	if v, ok := a.response.Lookup(name); ok {
		return v, true
	}
	return a.request.Lookup(name)
}

// All implements exchange.Attributes.
func (a *attributes) All() iter.Seq2[string, any] {
	return func(yield func(string, any) bool) {
		for name, v := range a.response.All() {
			if !yield(name, v) {
				return
			}
		}
		for name, v := range a.request.All() {
			if _, again := a.response.Lookup(name); !again && !yield(name, v) {
				return
			}
		}
	}
}
