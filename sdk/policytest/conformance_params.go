package policytest

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"policyengine.dev/sdk/definition"
	"policyengine.dev/sdk/strictyaml"
)

// maxDamages bounds how many damaged parameters an example gives.
const maxDamages = 2000

// unknownField is a field that no policy has.
const unknownField = "conformance-unknown"

// damages are what takes the place of each value of an example.
var damages = []any{
	nil, true, -1.0, 1e300, 0.5, "", "\x00", "a\r\nb", "\xff", "%zz", "(", "::", strings.Repeat("x", 70_000),
	[]any{}, []any{[]any{}}, map[string]any{}, map[string]any{unknownField: "x"},
}

func checkParameters(t testing.TB, c *conformance) {
	for _, e := range c.def.Examples {
		var tree any
		if err := json.Unmarshal(e.Params, &tree); err != nil {
			t.Fatalf("the example %q: %v", e.Name, err)
		}
		c.checkUnknownField(t, e, tree)
		tried := 0
		damage(tree, nil, func(path []string, damaged any) bool {
			tried++
			c.checkDamaged(t, e, path, damaged)
			return tried < maxDamages
		})
	}
}

func (c *conformance) checkUnknownField(t testing.TB, e definition.Example, tree any) {
	object, _ := tree.(map[string]any)
	object = maps.Clone(object)
	if object == nil {
		object = map[string]any{}
	}
	object[unknownField] = "x"
	var problems definition.Problems
	if _, err := c.def.Validate(mustJSON(object)); !errors.As(err, &problems) {
		t.Errorf("the example %q: the schema lets an unknown field pass, so that a typing error would be found late or never: write additionalProperties: false", e.Name)
	}
}

// checkDamaged looks at what becomes of parameters that are damaged at path. The
// schema's refusal always tells the place. What the schema accepts the policy may
// accept too; if it refuses, it has to say where.
func (c *conformance) checkDamaged(t testing.TB, e definition.Example, path []string, damaged any) {
	params := mustJSON(damaged)
	filled, err := c.def.Validate(params)
	if err != nil {
		return
	}
	host := c.host(e)
	var p *Policy
	within(t, "New", func() { p, err = c.build(filled, host) })
	switch {
	case err == nil:
		if err := p.Close(); err != nil {
			t.Errorf("the example %q, damaged at %s: closing the policy: %v", e.Name, join(path), err)
		}
	case errors.Is(err, errPanic):
		t.Errorf("the example %q, damaged at %s: New: %v", e.Name, join(path), err)
	case !slices.ContainsFunc(path, func(step string) bool { return strings.Contains(err.Error(), step) }):
		t.Errorf("the example %q, damaged at %s: the schema accepts %.200s, and the error does not say where it is wrong: %v", e.Name, join(path), params, err)
	case tells(err.Error(), c.secrets(e.Params)):
		t.Errorf("the example %q, damaged at %s: the error contains a secret: %v", e.Name, join(path), err)
	}
	if log := host.Logs.String(); tells(log, c.secrets(e.Params)) {
		t.Errorf("the example %q, damaged at %s: New logs a secret: %s", e.Name, join(path), log)
	}
}

// damage yields the tree with each of its values in turn replaced by each damage,
// and the keys that lead there. It reports whether yield wants more.
func damage(tree any, path []string, yield func(path []string, tree any) bool) bool {
	if len(path) > 0 {
		for _, d := range damages {
			if !yield(path, d) {
				return false
			}
		}
	}
	switch v := tree.(type) {
	case map[string]any:
		for _, k := range sortedKeys(v) {
			if !damage(v[k], append(slices.Clip(path), k), func(path []string, inner any) bool {
				outer := maps.Clone(v)
				outer[k] = inner
				return yield(path, outer)
			}) {
				return false
			}
		}
	case []any:
		for i := range v {
			if !damage(v[i], path, func(path []string, inner any) bool {
				outer := slices.Clone(v)
				outer[i] = inner
				return yield(path, outer)
			}) {
				return false
			}
		}
	}
	return true
}

func join(path []string) string {
	out := ""
	for _, step := range path {
		out = strictyaml.PathJoin(out, strictyaml.PathKey("", step))
	}
	return out
}

// secrets are the strings of params that the schema marks with x-secret. Short ones
// are left out, which may be found anywhere.
func (c *conformance) secrets(params []byte) []string {
	marked, _ := c.def.Secrets(params)
	return marked
}

// mustJSON marshals what JSON itself has made.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
