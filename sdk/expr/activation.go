package expr

import (
	"sync"
	"time"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/interpreter"
)

// activation gives the interpreter the variables that an expression names, each at
// the moment when evaluation gets to it. It is pooled, and so are the views that
// it hands out: none of them may outlive the evaluation.
type activation struct {
	in Input

	requestSource, responseSource   headerSource
	metadataSource, attributeSource keyed

	request, response, meta, attrs lazyMap
}

var activations = sync.Pool{New: func() any { return new(activation) }}

func newActivation(in Input) *activation {
	a := activations.Get().(*activation)
	a.in = in
	return a
}

func (a *activation) release() {
	*a = activation{}
	activations.Put(a)
}

// ResolveName implements interpreter.Activation.
func (a *activation) ResolveName(name string) (any, bool) {
	v, ok := variablesByName[name]
	if !ok {
		return nil, false
	}
	return v.read(a), true
}

// Parent implements interpreter.Activation.
func (a *activation) Parent() interpreter.Activation { return nil }

// read returns the value, which may be an error.
func (v *variable) read(a *activation) ref.Val {
	switch {
	case v.text != nil:
		return stringOf(v.text(a.in))
	case v.whole != nil:
		return types.Int(v.whole(a.in))
	case v.truth != nil:
		return types.Bool(v.truth(a.in))
	default:
		return v.value(a)
	}
}

func (a *activation) requestHeaders() ref.Val {
	a.requestSource.h = a.in.RequestHeaders()
	a.request.src = &a.requestSource
	return &a.request
}

func (a *activation) responseHeaders() ref.Val {
	a.responseSource.h = a.in.ResponseHeaders()
	a.response.src = &a.responseSource
	return &a.response
}

func (a *activation) metadata() ref.Val {
	a.metadataSource = keyed{lookup: Input.Metadata, in: a.in}
	a.meta.src = &a.metadataSource
	return &a.meta
}

func (a *activation) attributes() ref.Val {
	a.attributeSource = keyed{lookup: Input.Attribute, in: a.in}
	a.attrs.src = &a.attributeSource
	return &a.attrs
}

func timeOf(t time.Time) ref.Val {
	if t.IsZero() {
		return newFailure(reasonUnknownTime)
	}
	return types.Timestamp{Time: t}
}
