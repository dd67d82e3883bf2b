package extproc

import "policyengine.dev/runtime/extproc/wire"

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
