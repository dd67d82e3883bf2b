package trial

import (
	"encoding/json"
	"iter"
	"maps"

	"policyengine.dev/sdk/strictyaml"
)

// Attributes are Envoy's attributes by their flat names, in the types of JSON.
type Attributes map[string]any

// Lookup implements exchange.Attributes.
func (a Attributes) Lookup(name string) (any, bool) {
	v, ok := a[name]
	return v, ok
}

// UnmarshalNode implements strictyaml.Unmarshaler.
func (a *Attributes) UnmarshalNode(n strictyaml.Node) error {
	if n.Kind() != strictyaml.Mapping {
		return n.Problem("not a mapping", "a value for each attribute, such as source.address: 192.0.2.1:4711")
	}
	*a = Attributes{}
	if err := json.Unmarshal(n.JSON(), a); err != nil {
		return n.Problem("not values of JSON", "texts, numbers, booleans, lists and mappings")
	}
	return nil
}

// All implements exchange.Attributes.
func (a Attributes) All() iter.Seq2[string, any] { return maps.All(a) }
