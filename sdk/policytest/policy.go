package policytest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"policyengine.dev/sdk/definition"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policy/apply"
	"policyengine.dev/sdk/policy/sharing"
	"policyengine.dev/sdk/strictyaml"
)

// startTimeout bounds a policy's Start.
const startTimeout = 10 * time.Second

// testChain is the chain that a policy under test stands in, by its log.
const testChain = "test"

// Policy is an instance of a policy under test. It is safe for concurrent use where
// the policy is.
type Policy struct {
	// Host is what the instance was made with.
	Host *Host
	// Instance is what the constructor has returned.
	Instance any

	phases policy.PhaseSet
	owned  apply.OwnedHeaders
	config config
	scope  *sharing.Scope
	reads  definition.Attributes
	// place is where the policy stands, as a runtime tells it.
	place *exchange.Place
}

type config struct {
	host       *Host
	shadow     bool
	noStart    bool
	definition string
	holdLimit  int
	// params is where parameters stand that are part of a file.
	params strictyaml.Node
	// lookups is told the attributes that the policy asks for; nil for none.
	lookups *lookups
}

// Option changes what [New] does.
type Option func(*config)

// WithHost gives the policy h instead of a fresh [NewHost].
func WithHost(h *Host) Option { return func(c *config) { c.host = h } }

// InShadow runs the policy in shadow mode: its actions are recorded and not applied.
func InShadow() Option { return func(c *config) { c.shadow = true } }

// WithoutStart leaves the policy's Start to the test.
func WithoutStart() Option { return func(c *config) { c.noStart = true } }

// WithDefinition reads the policy.yaml at path, instead of the one in the test's
// directory.
func WithDefinition(path string) Option { return func(c *config) { c.definition = path } }

// WithHoldLimit bounds how many bytes a chunk policy may hold, instead of 10 MiB.
func WithHoldLimit(bytes int) Option { return func(c *config) { c.holdLimit = bytes } }

// New makes an instance of the policy with params, which are YAML or JSON, and calls
// its Start where it has one. It fails the test where params are refused. The
// instance is closed when the test ends.
func New(t testing.TB, b policy.Builder, params string, opts ...Option) *Policy {
	t.Helper()
	p, err := build(b, params, opts)
	if err != nil {
		t.Fatalf("building the policy: %v", err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("closing the policy: %v", err)
		}
	})
	if s, ok := p.Instance.(policy.Starter); ok && !p.config.noStart {
		ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
		defer cancel()
		if err := s.Start(ctx); err != nil {
			t.Fatalf("starting the policy: %v", err)
		}
	}
	return p
}

// NewError returns the error with which params are refused. It fails the test where
// they are not.
func NewError(t testing.TB, b policy.Builder, params string, opts ...Option) error {
	t.Helper()
	p, err := build(b, params, opts)
	if err == nil {
		if err := p.Close(); err != nil {
			t.Errorf("closing the policy: %v", err)
		}
		t.Fatalf("the parameters are accepted: %s", params)
	}
	return err
}

// Close closes the instance where it is an io.Closer, and gives back what it shares.
// [New] does so by itself.
func (p *Policy) Close() error {
	var err error
	if c, ok := p.Instance.(io.Closer); ok {
		err = c.Close()
	}
	return errors.Join(err, p.scope.Close())
}

func newConfig(opts []Option) config {
	c := config{definition: "policy.yaml", holdLimit: 10 << 20}
	for _, o := range opts {
		o(&c)
	}
	if c.host == nil {
		c.host = NewHost()
	}
	return c
}

func build(b policy.Builder, params string, opts []Option) (*Policy, error) {
	c := newConfig(opts)
	def, err := loadDefinition(c.definition)
	if err != nil {
		return nil, err
	}
	root, err := strictyaml.Parse("params", []byte(params))
	if err != nil {
		return nil, err
	}
	if c.params.Kind() != strictyaml.Missing {
		root = c.params
	}
	p, err := c.build(b, def, root.JSON())
	var problems definition.Problems
	if errors.As(err, &problems) {
		return nil, problems.At(root).Err()
	}
	return p, err
}

// build checks parameters as written against def, fills in what they leave out, and
// makes an instance.
func (c config) build(b policy.Builder, def *definition.Definition, params json.RawMessage) (*Policy, error) {
	filled, err := def.Validate(params)
	if err != nil {
		return nil, err
	}
	host, scope := c.host.instance(def.Name + "@" + def.Version)
	instance, err := b.Build(filled, host)
	if err != nil {
		if also := scope.Close(); also != nil {
			err = errors.Join(err, also)
		}
		return nil, err
	}
	p := &Policy{Host: c.host, Instance: instance, phases: policy.ActivePhases(instance), config: c, scope: scope, reads: def.Reads(instance)}
	owned, err := policy.OwnedRequestHeaders(instance)
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	p.owned = apply.NewOwnedHeaders(owned)
	p.place = &exchange.Place{
		Chain: testChain, ID: def.Name, Policy: def.Name, Version: def.Version,
		Log: host.Logger.Handler(), Now: host.Clock.Now, Random: host.Random,
	}
	return p, nil
}

// loadDefinition reads a policy.yaml. Its directory has to be known, since that is
// named as the version.
func loadDefinition(path string) (*definition.Definition, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("finding %s: %w", path, err)
	}
	src, err := os.ReadFile(absolute)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w\na test runs in its package's directory, where policy.yaml is; from elsewhere, use WithDefinition; under Bazel it is the library's data", err)
	}
	if err != nil {
		return nil, err
	}
	return definition.Parse(absolute, src)
}
