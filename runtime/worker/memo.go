package worker

import (
	"sync"

	"policyengine.dev/sdk/expr"
	"policyengine.dev/sdk/policy"
)

// A configuration for many routes says the same again and again. What follows from a text alone is found out once for
// each compilation, and shared.

// memo remembers what was made for a key. The zero value is empty. Safe for concurrent use.
type memo[K comparable, V any] struct {
	mu   sync.Mutex
	made map[K]V
}

// get returns what was made for the key, or makes it. It may be made twice at the same time; all get the same.
func (m *memo[K, V]) get(key K, make func() V) V {
	m.mu.Lock()
	v, ok := m.made[key]
	m.mu.Unlock()
	if ok {
		return v
	}
	v = make()
	m.mu.Lock()
	defer m.mu.Unlock()
	if first, ok := m.made[key]; ok {
		return first
	}
	if m.made == nil {
		m.made = map[K]V{}
	}
	m.made[key] = v
	return v
}

type preparedKey struct {
	version *Version
	params  string
}

// prepared are parameters that were validated.
type prepared struct {
	params string // normalised JSON
	scrub  *scrubber
	err    error
}

// prepare validates parameters.
func (c *compilation) prepare(v *Version, params []byte) *prepared {
	return c.prepared.get(preparedKey{v, string(params)}, func() *prepared {
		normalised, err := v.Definition.Validate(params)
		if err != nil {
			return &prepared{err: err}
		}
		return &prepared{params: string(normalised), scrub: newScrubber(v, normalised)}
	})
}

type conditionKey struct {
	source string
	// request says that the condition is evaluated before there is a response.
	request bool
}

// condition is a condition that was compiled.
type condition struct {
	program *expr.Program
	err     error
}

// compileCondition compiles a condition. It is evaluated at the policy's first phase: what is not known then cannot be
// read.
func (c *compilation) compileCondition(source string, phases policy.PhaseSet) (*expr.Program, error) {
	key := conditionKey{source, phases.HasRequest()}
	made := c.conditions.get(key, func() condition {
		var opts []expr.Option
		if key.request {
			opts = append(opts, expr.Deny(expr.ScopeResponse,
				"the condition is evaluated at the policy's first phase, which is one of the request"))
		}
		p, err := expr.Compile(source, opts...)
		return condition{p, err}
	})
	return made.program, made.err
}
