package policy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
)

// Factory makes instances of one policy version: T from parameters of type P. Make
// one with [Define] and export it as Policy; a generated registry names it.
type Factory[P, T any] struct {
	create func(P, Host) (T, error)
}

// Define returns the factory around a policy's constructor. T has to be a concrete
// type: what it implements says in which phases the policy runs.
func Define[P, T any](create func(params P, host Host) (T, error)) Factory[P, T] {
	return Factory[P, T]{create: create}
}

// Builder is a [Factory] whatever its types. The runtime's registry holds these.
type Builder interface {
	// Phases are the phases that the instances implement.
	Phases() PhaseSet
	// Build decodes params strictly (unknown fields are errors) and makes an
	// instance. It does no I/O. params has the schema's defaults applied.
	Build(params json.RawMessage, host Host) (instance any, err error)
	// TypeName is the instances' Go type, for messages.
	TypeName() string
	// Mismatches are methods that look as if the runtime called them, and are not
	// called.
	Mismatches() []Mismatch

	sealed()
}

func (Factory[P, T]) sealed() {}

// Phases implements [Builder].
func (Factory[P, T]) Phases() PhaseSet {
	var zero T
	return PhasesOf(any(zero))
}

// TypeName implements [Builder].
func (Factory[P, T]) TypeName() string { return reflect.TypeFor[T]().String() }

// Build implements [Builder].
func (f Factory[P, T]) Build(params json.RawMessage, host Host) (instance any, err error) {
	if f.create == nil {
		return nil, errors.New("the policy's factory is empty: make it with policy.Define")
	}
	if reflect.TypeFor[T]().Kind() == reflect.Interface {
		return nil, fmt.Errorf("the policy's constructor returns the interface %s: it has to return a concrete type, whose methods say its phases", f.TypeName())
	}
	var p P
	if len(params) == 0 {
		params = json.RawMessage("{}")
	}
	d := json.NewDecoder(bytes.NewReader(params))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return nil, fmt.Errorf("decoding parameters into %T: %w", p, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("decoding parameters: more than one JSON value")
	}
	v, err := f.create(p, host)
	if err != nil {
		return nil, err
	}
	if rv := reflect.ValueOf(v); rv.Kind() == reflect.Pointer && rv.IsNil() {
		return nil, fmt.Errorf("the policy's constructor returned a nil %s and no error", f.TypeName())
	}
	return v, nil
}

// Starter is implemented by policies that have to fetch something before they can
// decide. Start is called once, off the request path, before the configuration
// that the instance belongs to takes effect, with a deadline on ctx. Where it
// fails the policy's steps err until a later call succeeds; the runtime calls it
// again with growing pauses.
type Starter interface {
	Start(ctx context.Context) error
}

// Adopter is implemented by policies that keep state over a change of parameters.
// Adopt is called on the new instance before it sees a request; old is the one that
// it follows in the same place of the same chain, of the same policy name but
// perhaps of another version, so check its type. old still serves requests that
// began before, so what is shared has to be safe for concurrent use.
type Adopter interface {
	Adopt(old any)
}

// ChunkHolder is implemented by chunk policies that answer [Hold] with some
// parameters. It is asked once, after New. Holding needs Envoy's full-duplex body
// mode, which a filter has to allow; a policy that does not implement it and holds
// all the same errs.
type ChunkHolder interface {
	HoldsChunks() bool
}

// Skipper is implemented by policies that answer [SkipRest] with some parameters. It is asked
// once, after New. A policy that does not implement it, or returns false, and skips all the same
// errs. So a configuration can say which steps may be skipped at all, and by which.
type Skipper interface {
	SkipsSteps() bool
}

// PhaseChooser is implemented by policies that with some parameters have nothing to
// do in one of their phases, such as a header policy that is told to change requests
// only. ActivePhases is asked once, after New; it may leave out phases that the
// policy implements, and what it adds to them counts for nothing. The proxy is not
// asked for what only inactive phases would need.
type PhaseChooser interface {
	ActivePhases() PhaseSet
}

// AttributeReader is implemented by policies whose parameters say which of Envoy's
// attributes they read, as those with expressions do. It is asked once, after New.
// What the code reads whatever its parameters are stands in policy.yaml instead.
type AttributeReader interface {
	// ReadsAttributes returns the names of the attributes that have to come with
	// the request, and of those that have to come with the response.
	ReadsAttributes() (request, response []string)
}

// ActivePhases returns the phases in which instance acts: those that it implements,
// less those that it leaves out as a [PhaseChooser]. It is for runtimes.
func ActivePhases(instance any) PhaseSet {
	phases := PhasesOf(instance)
	if c, ok := instance.(PhaseChooser); ok {
		phases &= c.ActivePhases()
	}
	return phases
}

// The Assert functions compile only where the factory's instances implement the
// phase. A generated registry calls one for each phase that a policy.yaml declares.

// AssertRequestHeaders compiles for [RequestHeadersPolicy] only.
func AssertRequestHeaders[P any, T RequestHeadersPolicy](Factory[P, T]) {}

// AssertRequestBody compiles for [RequestBodyPolicy] only.
func AssertRequestBody[P any, T RequestBodyPolicy](Factory[P, T]) {}

// AssertRequestBodyChunks compiles for [RequestBodyChunksPolicy] only.
func AssertRequestBodyChunks[P any, T RequestBodyChunksPolicy](Factory[P, T]) {}

// AssertRequestTrailers compiles for [RequestTrailersPolicy] only.
func AssertRequestTrailers[P any, T RequestTrailersPolicy](Factory[P, T]) {}

// AssertResponseHeaders compiles for [ResponseHeadersPolicy] only.
func AssertResponseHeaders[P any, T ResponseHeadersPolicy](Factory[P, T]) {}

// AssertResponseBody compiles for [ResponseBodyPolicy] only.
func AssertResponseBody[P any, T ResponseBodyPolicy](Factory[P, T]) {}

// AssertResponseBodyChunks compiles for [ResponseBodyChunksPolicy] only.
func AssertResponseBodyChunks[P any, T ResponseBodyChunksPolicy](Factory[P, T]) {}

// AssertResponseTrailers compiles for [ResponseTrailersPolicy] only.
func AssertResponseTrailers[P any, T ResponseTrailersPolicy](Factory[P, T]) {}
