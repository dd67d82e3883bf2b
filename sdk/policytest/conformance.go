package policytest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"policyengine.dev/sdk/definition"
	"policyengine.dev/sdk/policy"
)

// Conformance checks what every policy version has to keep to, whatever it does:
//
//   - policy.yaml is valid and lies in a directory named as its version; it declares
//     the phases that the Go type implements, no more and no fewer; the constructor
//     returns a concrete type, and no method of it has the name of one that the runtime
//     calls and another signature.
//   - There are examples, each of them builds, and New does no I/O. The files that an
//     example names are there, so that the code behind them runs; contents that are
//     damaged cause no panic.
//   - The policy asks for no attribute that policy.yaml does not declare.
//   - Parameters that are damaged in any place are refused with that place in the
//     error, or work; they never panic. Unknown fields are refused by the schema.
//   - A policy that owns request headers (policy.HeaderOwner) names headers that it may
//     change, and names the same ones whenever it is asked.
//   - Instances stand concurrent use (run with -race), a clock that moves, and Adopt
//     from anything.
//   - Contexts are not kept after a method has returned; bodies are not modified, nor
//     actions that were returned.
//   - Hostile requests and responses neither panic nor hang, and what is answered to
//     those that a proxy could send can be applied.
//   - Values that the schema marks with x-secret are in no error, log or answer.
//   - Close gives no error, and no goroutine is left after it.
//
// The inputs are the same in every run. Fetches get errors and garbage. Do not run
// it in parallel to other tests of the process: it counts goroutines.
//
// A bundle's policies need not call it: `bazel test //policies/...` and `go test
// ./policies/...` do so for each version.
func Conformance(t *testing.T, b policy.Builder, opts ...Option) {
	t.Helper()
	runConformance(t, b, opts, func(name string, run func(testing.TB)) {
		t.Run(name, func(t *testing.T) { run(t) })
	})
}

// runConformance runs the checks, each by sub. What is wrong with policy.yaml is
// reported once, before any of them.
func runConformance(t testing.TB, b policy.Builder, opts []Option, sub func(string, func(testing.TB))) {
	t.Helper()
	begin(t, b, opts)
	for _, check := range conformanceChecks {
		sub(check.name, func(t testing.TB) { check.run(t, begin(t, b, opts)) })
	}
}

var conformanceChecks = []struct {
	name string
	run  func(testing.TB, *conformance)
}{
	{"phases", checkPhases},
	{"examples", checkExamples},
	{"parameters", checkParameters},
	{"owned headers", checkOwnedHeaders},
	{"hostile input", checkHostileInput},
	{"concurrency", checkConcurrency},
	{"retention", checkRetention},
	{"adoption", checkAdoption},
	{"files", checkFiles},
	{"attributes", checkAttributes},
	{"goroutines", checkGoroutines},
}

// hangTimeout is when a call counts as one that never ends.
var hangTimeout = time.Minute

// conformance is what the checks of one policy version share.
type conformance struct {
	builder policy.Builder
	def     *definition.Definition
	config  config
	// files are the contents of the files that examples name, by example and path.
	files map[string]map[string]string
}

func begin(t testing.TB, b policy.Builder, opts []Option) *conformance {
	t.Helper()
	c := &conformance{builder: b, config: newConfig(opts)}
	def, err := loadDefinition(c.config.definition)
	if err != nil {
		t.Fatal(err)
	}
	c.def = def
	if c.files, err = readFiles(c.config.definition, def); err != nil {
		t.Fatal(err)
	}
	return c
}

func checkPhases(t testing.TB, c *conformance) {
	declared, implemented := c.def.Phases, c.builder.Phases()
	mismatched := policy.Phases()
	for _, m := range c.builder.Mismatches() {
		t.Error(m.Problem)
		if m.Phase < policy.PhaseCount {
			mismatched = mismatched.With(m.Phase)
		}
	}
	for p := range policy.Phase(policy.PhaseCount) {
		switch {
		case mismatched.Has(p):
		case declared.Has(p) && !implemented.Has(p):
			t.Errorf("policy.yaml declares the phase %s, which %s does not implement", p, c.builder.TypeName())
		case !declared.Has(p) && implemented.Has(p):
			t.Errorf("%s implements the phase %s, which policy.yaml does not declare", c.builder.TypeName(), p)
		}
	}
}

func checkExamples(t testing.TB, c *conformance) {
	if len(c.def.Examples) == 0 {
		t.Fatal("policy.yaml has no examples, so nothing can be checked: give one at least")
	}
	for _, e := range c.def.Examples {
		host := c.host(e)
		calls := 0
		host.HTTP = countingHTTP{&calls}
		host.Backends.fallback = host.HTTP
		host.Dial = func(context.Context, string, string) (net.Conn, error) { calls++; return nil, ErrNoDial }
		p, err := c.build(e.Params, host)
		if err != nil {
			t.Errorf("the example %q: %v", e.Name, err)
			continue
		}
		if calls > 0 || host.Clock.Timers() > 0 {
			t.Errorf("the example %q: New fetches something, or sets a timer: it does no I/O, that is for Start", e.Name)
		}
		if p.phases.Len() == 0 {
			t.Errorf("the example %q: the policy does nothing with it: no phase is active", e.Name)
		}
		if err := p.Close(); err != nil {
			t.Errorf("the example %q: closing the policy: %v", e.Name, err)
		}
		if log := host.Logs.String(); tells(log, c.secrets(e.Params)) {
			t.Errorf("the example %q: New logs a secret: %s", e.Name, log)
		}
	}
}

func checkOwnedHeaders(t testing.TB, c *conformance) {
	c.eachExample(t, func(s *subject) {
		again, err := c.build(s.example.Params, conformanceHost())
		if err != nil {
			t.Fatal(err)
		}
		s.serve(t, 1, s.policy)
		now, err := policy.OwnedRequestHeaders(s.policy.Instance)
		if err != nil || !slices.Equal(s.policy.owned.Names(), now) || !slices.Equal(s.policy.owned.Names(), again.owned.Names()) {
			t.Errorf("%s: OwnedRequestHeaders does not return the same list each time: it must depend on the parameters only, because it is called once", s)
		}
		if err := again.Close(); err != nil {
			t.Errorf("%s: closing the policy: %v", s, err)
		}
	})
}

func checkAdoption(t testing.TB, c *conformance) {
	c.eachExample(t, func(s *subject) {
		adopter, ok := s.policy.Instance.(policy.Adopter)
		if !ok {
			return
		}
		old, err := c.build(s.example.Params, c.host(s.example))
		if err != nil {
			t.Fatal(err)
		}
		for _, from := range []any{nil, struct{}{}, old.Instance} {
			if err := contain(func() error { adopter.Adopt(from); return nil }); err != nil {
				t.Errorf("%s: Adopt from a %T: %v", s, from, err)
			}
		}
		// The old one serves while the new one does, and goes first.
		s.serve(t, 4, old, s.policy)
		if err := old.Close(); err != nil {
			t.Errorf("%s: closing the instance that was adopted from: %v", s, err)
		}
		s.serve(t, 1, s.policy)
	})
}

func checkGoroutines(t testing.TB, c *conformance) {
	before := goleak.IgnoreCurrent()
	c.eachExample(t, func(s *subject) { s.serve(t, 2, s.policy) })
	if err := goleak.Find(before); err != nil {
		t.Errorf("a goroutine is left after Close (a policy that starts one implements io.Closer, and waits in Close until it has ended): %v", err)
	}
}

// subject is the policy with one of its examples.
type subject struct {
	example definition.Example
	policy  *Policy
	// secrets are the example's.
	secrets []string

	mu sync.Mutex
	// actions are what the policy has returned, and what each said then.
	actions map[any]string
}

// String names the example, for messages.
func (s *subject) String() string { return fmt.Sprintf("the example %q", s.example.Name) }

// eachExample builds the policy with each example, starts it, hands it to f and
// closes it. A Start that fails is none of f's business: it may have had nothing to
// fetch from.
func (c *conformance) eachExample(t testing.TB, f func(*subject)) {
	t.Helper()
	for _, e := range c.def.Examples {
		p, err := c.build(e.Params, c.host(e))
		if err != nil {
			t.Fatalf("the example %q: %v", e.Name, err)
		}
		(&subject{example: e, policy: p, secrets: c.secrets(e.Params), actions: map[any]string{}}).live(t, f)
	}
}

// live is the life of an instance, of which f is the middle.
func (s *subject) live(t testing.TB, f func(*subject)) {
	t.Helper()
	defer within(t, "Close", func() {
		if err := contain(s.policy.Close); err != nil {
			t.Errorf("%s: closing the policy: %v", s, err)
		}
		if log := s.policy.Host.Logs.String(); tells(log, s.secrets) {
			t.Errorf("%s: a secret is in the log: %s", s, log)
		}
	})
	if starter, ok := s.policy.Instance.(policy.Starter); ok {
		within(t, "Start", func() {
			if err := contain(func() error { return start(starter) }); err != nil {
				t.Errorf("%s: Start: %v", s, err)
			}
		})
	}
	f(s)
}

// errPanic is in the error of what panicked.
var errPanic = errors.New("it panicked")

// contain makes an error of a panic.
func contain(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: %v\n%s", errPanic, v, debug.Stack())
		}
	}()
	return f()
}

// within fails the test where f does not return at all.
func within(t testing.TB, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(hangTimeout):
		t.Fatalf("%s has not returned for %v", what, hangTimeout)
	}
}

// tells reports whether one of the secrets is in text.
func tells(text string, secrets []string) bool {
	return slices.ContainsFunc(secrets, func(s string) bool { return strings.Contains(text, s) })
}
