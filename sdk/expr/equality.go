package expr

import (
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"github.com/google/cel-go/interpreter"
)

// equal is CEL's ==. cel-go's own takes elements that are errors for equal ones;
// here a comparison that reads a value over its limits is an error, unless other
// elements already make the two different.
func equal(a, b ref.Val) ref.Val {
	for _, v := range []ref.Val{a, b} {
		if types.IsError(v) {
			return v
		}
	}
	switch x := a.(type) {
	case traits.Lister:
		if y, ok := b.(traits.Lister); ok {
			return equalLists(x, y)
		}
	case traits.Mapper:
		if y, ok := b.(traits.Mapper); ok {
			return equalMaps(exact(x), exact(y))
		}
	case *types.Optional:
		if y, ok := b.(*types.Optional); ok && x.HasValue() && y.HasValue() {
			return equal(x.GetValue(), y.GetValue())
		}
	case types.Double:
		return equalNumbers(x, b)
	case types.Int, types.Uint:
		if y, ok := b.(types.Double); ok {
			return equalNumbers(y, a)
		}
	}
	return types.Equal(a, b)
}

// equalNumbers compares a double with any value. cel-go makes a double of a whole number
// first: where the two are equal then, and the double stands for several whole numbers,
// nobody knows whether they are.
func equalNumbers(d types.Double, other ref.Val) ref.Val {
	result := types.Equal(d, other)
	switch other.(type) {
	case types.Int, types.Uint:
		if result == types.True && inexact(float64(d)) {
			return newFailure(reasonInexact)
		}
	}
	return result
}

// verdict collects the comparisons of a list's or a map's elements.
type verdict struct{ err ref.Val }

// different takes one comparison and reports whether it decides.
func (v *verdict) different(result ref.Val) bool {
	if types.IsError(result) && v.err == nil {
		v.err = result
	}
	return result == types.False
}

// same is the result where no comparison has decided.
func (v *verdict) same() ref.Val {
	if v.err != nil {
		return v.err
	}
	return types.True
}

func equalLists(a, b traits.Lister) ref.Val {
	if a.Size() != b.Size() {
		return types.False
	}
	var v verdict
	for i, n := types.Int(0), a.Size().(types.Int); i < n; i++ {
		if v.different(equal(a.Get(i), b.Get(i))) {
			return types.False
		}
	}
	return v.same()
}

func equalMaps(a, b traits.Mapper) ref.Val {
	if a.Size() != b.Size() {
		return types.False
	}
	var v verdict
	for it := a.Iterator(); it.HasNext() == types.True; {
		key := it.Next()
		if types.IsError(key) {
			v.different(key)
			continue
		}
		theirs, ok := b.Find(key)
		if !ok {
			return types.False
		}
		ours, _ := a.Find(key)
		if v.different(equal(adapter{}.NativeToValue(ours), adapter{}.NativeToValue(theirs))) {
			return types.False
		}
	}
	return v.same()
}

// exact is a map whose keys match as they are written, with the same entries.
func exact(m traits.Mapper) traits.Mapper {
	if folding, ok := m.(interface{ exact() traits.Mapper }); ok {
		return folding.exact()
	}
	return m
}

// contains is CEL's in. An element that is equal decides; without one, an element
// over its limits is an error.
func contains(container, element ref.Val) ref.Val {
	switch c := container.(type) {
	case traits.Lister:
		var err ref.Val
		for i, n := types.Int(0), c.Size().(types.Int); i < n; i++ {
			switch result := equal(element, c.Get(i)); {
			case result == types.True:
				return types.True
			case types.IsError(result) && err == nil:
				err = result
			}
		}
		if err != nil {
			return err
		}
		return types.False
	case traits.Mapper:
		if _, ok := element.(types.Bytes); ok {
			return types.False // no map has such a key, and cel-go's lookup would panic
		}
		return c.Contains(element)
	}
	return newFailure(reasonNoSuchOverload)
}

// comparison evaluates ==, != and in by this package's rules. It stands in the plan
// for the interpreter's node, whose function, arguments and place it keeps.
type comparison struct {
	interpreter.InterpretableCall
	left, right interpreter.InterpretableV2
	compare     func(left, right ref.Val) ref.Val
}

// Exec implements interpreter.InterpretableV2.
func (c *comparison) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	left := c.left.Exec(frame)
	if types.IsError(left) {
		return left
	}
	right := c.right.Exec(frame)
	if types.IsError(right) {
		return right
	}
	return types.LabelErrNode(c.ID(), c.compare(left, right))
}

// Eval implements interpreter.Interpretable.
func (c *comparison) Eval(a interpreter.Activation) ref.Val { return c.Exec(interpreter.AsFrame(a)) }

// inOverload is the overload of in. It is another than cel-go's, so that cel-go does
// not replace the node by a lookup in a Go map: a claim may be of a type that Go
// cannot look up.
const inOverload = "in_container"

// OverloadID implements interpreter.InterpretableCall.
func (c *comparison) OverloadID() string {
	if c.Function() == operators.In {
		return inOverload
	}
	return c.InterpretableCall.OverloadID()
}

// comparisons are the operators that this package evaluates.
var comparisons = map[string]func(left, right ref.Val) ref.Val{
	operators.Equals: equal,
	operators.NotEquals: func(left, right ref.Val) ref.Val {
		result := equal(left, right)
		if types.IsError(result) {
			return result
		}
		return types.Bool(result != types.True)
	},
	operators.In: func(element, container ref.Val) ref.Val { return contains(container, element) },
}

// wholeMap is a variable that is a map and is used as a whole, not by its entries.
// What it reads is a copy that is held to the limits.
type wholeMap struct{ interpreter.InterpretableV2 }

// Exec implements interpreter.InterpretableV2.
func (w *wholeMap) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	v := w.InterpretableV2.Exec(frame)
	if m, ok := v.(*lazyMap); ok {
		return types.LabelErrNode(w.ID(), m.src.all())
	}
	return v
}

// Eval implements interpreter.Interpretable.
func (w *wholeMap) Eval(a interpreter.Activation) ref.Val { return w.Exec(interpreter.AsFrame(a)) }

// decorate puts this package's nodes into a plan. whole has the expressions that
// read a map as a whole.
func decorate(whole map[int64]bool) interpreter.InterpretableDecoratorV2 {
	return func(node interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
		switch n := node.(type) {
		case interpreter.InterpretableCall:
			if compare := comparisons[n.Function()]; compare != nil && len(n.Args()) == 2 {
				return &comparison{InterpretableCall: n, left: n.Args()[0], right: n.Args()[1], compare: compare}, nil
			}
		case interpreter.InterpretableAttribute:
			if whole[n.ID()] {
				return &wholeMap{node}, nil
			}
		}
		return node, nil
	}
}
