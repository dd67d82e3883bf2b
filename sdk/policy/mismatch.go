package policy

import (
	"fmt"
	"io"
	"reflect"
	"strings"
)

// Mismatch is a method that has the name of one that the runtime calls, and another
// signature, so that it is never called.
type Mismatch struct {
	// Phase is the phase that the method would be for, and PhaseCount for one that
	// is for no phase, such as Start.
	Phase Phase
	// Problem says what the method is and what it has to be.
	Problem string
}

// calledMethods are the interfaces of one method by which the runtime calls a policy.
var calledMethods = []struct {
	phase Phase
	face  reflect.Type
}{
	{RequestHeaders, reflect.TypeFor[RequestHeadersPolicy]()},
	{RequestBody, reflect.TypeFor[RequestBodyPolicy]()},
	{RequestBodyChunks, reflect.TypeFor[RequestBodyChunksPolicy]()},
	{RequestTrailers, reflect.TypeFor[RequestTrailersPolicy]()},
	{ResponseHeaders, reflect.TypeFor[ResponseHeadersPolicy]()},
	{ResponseBody, reflect.TypeFor[ResponseBodyPolicy]()},
	{ResponseBodyChunks, reflect.TypeFor[ResponseBodyChunksPolicy]()},
	{ResponseTrailers, reflect.TypeFor[ResponseTrailersPolicy]()},
	{PhaseCount, reflect.TypeFor[Starter]()},
	{PhaseCount, reflect.TypeFor[Adopter]()},
	{PhaseCount, reflect.TypeFor[ChunkHolder]()},
	{PhaseCount, reflect.TypeFor[ChunkReader]()},
	{PhaseCount, reflect.TypeFor[Skipper]()},
	{PhaseCount, reflect.TypeFor[PhaseChooser]()},
	{PhaseCount, reflect.TypeFor[AttributeReader]()},
	{PhaseCount, reflect.TypeFor[HeaderOwner]()},
	{PhaseCount, reflect.TypeFor[io.Closer]()},
}

// Mismatches implements [Builder].
func (Factory[P, T]) Mismatches() []Mismatch {
	t := reflect.TypeFor[T]()
	if t.Kind() == reflect.Interface {
		return nil
	}
	var found []Mismatch
	for _, c := range calledMethods {
		want := c.face.Method(0)
		have, ok := t.MethodByName(want.Name)
		switch {
		case ok && !t.Implements(c.face):
			found = append(found, Mismatch{c.phase, fmt.Sprintf("%s has the method %s, which is never called: the signature must be %s",
				t, signature(have.Name, have.Type, 1), signature(want.Name, want.Type, 0))})
		case !ok && t.Kind() != reflect.Pointer && reflect.PointerTo(t).Implements(c.face):
			found = append(found, Mismatch{c.phase, fmt.Sprintf("the method %s is that of *%s, and the constructor returns %s: it must return the pointer", want.Name, t, t)})
		}
	}
	return found
}

// signature prints a method without its first parameters.
func signature(name string, t reflect.Type, skip int) string {
	var in, out []string
	for i := skip; i < t.NumIn(); i++ {
		in = append(in, t.In(i).String())
	}
	for i := range t.NumOut() {
		out = append(out, t.Out(i).String())
	}
	result := strings.Join(out, ", ")
	if len(out) > 1 {
		result = "(" + result + ")"
	}
	return strings.TrimSpace(name + "(" + strings.Join(in, ", ") + ") " + result)
}
