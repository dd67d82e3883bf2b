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

// Factory creates instances of one policy version: a T from parameters of type P. Create it
// with [Define] and export it as Policy, which the generated registry refers to.
type Factory[P, T any] struct {
	create func(P, Host) (T, error)
}

// Define returns the factory of a policy's constructor. T must be a concrete type, because
// its methods define the phases of the policy.
func Define[P, T any](create func(params P, host Host) (T, error)) Factory[P, T] {
	return Factory[P, T]{create: create}
}

// Builder is a [Factory] of any types, for the runtime's registry.
type Builder interface {
	// Phases are the phases that the instances implement.
	Phases() PhaseSet
	// Build decodes params strictly (unknown fields are errors) and creates an instance. It
	// does no I/O. params must have the schema's defaults.
	Build(params json.RawMessage, host Host) (instance any, err error)
	// TypeName is the Go type of the instances, for messages.
	TypeName() string
	// Mismatches are methods that look like methods of the SDK, but are never called.
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
		return nil, fmt.Errorf("the policy's constructor returns the interface %s: it must return a concrete type, because its methods define the phases", f.TypeName())
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

// Starter is implemented by policies that must fetch something before they can decide.
// Start is called outside of the request path, before the configuration of the instance
// takes effect. ctx has a deadline. If Start fails, the policy's steps return errors until
// a later call succeeds; the runtime repeats the call with growing pauses.
type Starter interface {
	Start(ctx context.Context) error
}

// Adopter is implemented by policies that keep state when their parameters change. Adopt is
// called on the new instance before it sees a request. old is the instance that it replaces
// in the same step of the same chain. It has the same policy name, but may be of another
// version, so check its type. old still serves earlier requests, so shared state must be
// safe for concurrent use.
type Adopter interface {
	Adopt(old any)
}

// ChunkHolder is implemented by chunk policies that return [Hold] with some parameters.
// HoldsChunks is called once, after New. Holding needs Envoy's full-duplex body mode, which
// the filter must allow. If a policy holds a chunk without implementing ChunkHolder, that
// is an error of the policy.
type ChunkHolder interface {
	HoldsChunks() bool
}

// ChunkReader is implemented by chunk policies that with some parameters only read bodies: they
// answer neither [ReplaceChunk] nor [Hold], in either direction. It is asked once, after New. A
// policy that returns true and replaces or holds a chunk all the same errs. Where every chunk
// policy of a chain only reads, the body keeps its content-length if Envoy's filter allows that.
type ChunkReader interface {
	ReadsChunks() bool
}

// Skipper is implemented by policies that return [SkipRest] with some parameters.
// SkipsSteps is called once, after New. If a policy skips without implementing Skipper, or
// although SkipsSteps returned false, that is an error of the policy. So the configuration
// can check which steps may be skipped, and by which step.
type Skipper interface {
	SkipsSteps() bool
}

// PhaseChooser is implemented by policies that have nothing to do in one of their phases
// with some parameters, such as a header policy that only changes requests. ActivePhases is
// called once, after New. It may leave out phases that the policy implements; other phases
// in it are ignored. The engine does not request from Envoy what only inactive phases would
// use.
type PhaseChooser interface {
	ActivePhases() PhaseSet
}

// AttributeReader is implemented by policies whose parameters determine the attributes of
// Envoy that they read, such as those with expressions. It is called once, after New.
// Attributes that the code always reads are declared in policy.yaml instead.
type AttributeReader interface {
	// ReadsAttributes returns the names of the attributes that must come with the request,
	// and of those that must come with the response.
	ReadsAttributes() (request, response []string)
}

// ActivePhases returns the phases in which instance acts: the phases that it implements,
// without those that it leaves out as a [PhaseChooser]. It is for runtimes.
func ActivePhases(instance any) PhaseSet {
	phases := PhasesOf(instance)
	if c, ok := instance.(PhaseChooser); ok {
		phases &= c.ActivePhases()
	}
	return phases
}

// The Assert functions compile only if the factory's instances implement the phase. The
// generated registry calls one for each phase that a policy.yaml declares.

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
