package expr

import (
	"cmp"
	"math"

	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
)

// dynFunc gives a value of a document (auth.claims, metadata, attributes) as the
// input has it.
type dynFunc func(Input) (value any, ok bool)

// dyn plans an entry of a document, by constant names all the way.
func (q quick) dyn(e ast.Expr) dynFunc {
	var operand ast.Expr
	var key string
	switch e.Kind() {
	case ast.SelectKind:
		s := e.AsSelect()
		if s.IsTestOnly() {
			return nil
		}
		operand, key = s.Operand(), s.FieldName()
	case ast.CallKind:
		call := e.AsCall()
		if call.FunctionName() != operators.Index {
			return nil
		}
		name, ok := textOf(call.Args()[1])
		if !ok {
			return nil
		}
		operand, key = call.Args()[0], name
	default:
		return nil
	}
	lookup := q.lookup(operand)
	if lookup == nil {
		return nil
	}
	return func(in Input) (any, bool) {
		v, present, ok := lookup(in, key)
		return v, present && ok
	}
}

// lookupFunc looks up a key in a document or in a map within one.
type lookupFunc func(in Input, key string) (value any, present, ok bool)

func (q quick) lookup(operand ast.Expr) lookupFunc {
	if operand.Kind() == ast.IdentKind {
		switch operand.AsIdent() {
		case "auth.claims":
			return func(in Input, key string) (any, bool, bool) {
				claims := in.Claims()
				v, present := claims[key]
				return v, present, len(claims) <= MaxElements
			}
		case "metadata":
			return func(in Input, key string) (any, bool, bool) {
				v, present := in.Metadata(key)
				return v, present, true
			}
		case "attributes":
			return func(in Input, key string) (any, bool, bool) {
				v, present := in.Attribute(key)
				return v, present, true
			}
		}
		return nil
	}
	outer := q.dyn(operand)
	if outer == nil {
		return nil
	}
	return func(in Input, key string) (any, bool, bool) {
		v, ok := outer(in)
		if !ok {
			return nil, false, false
		}
		m, ok := v.(map[string]any)
		if !ok || len(m) > MaxElements {
			return nil, false, false
		}
		v, present := m[key]
		return v, present, true
	}
}

func (q quick) presenceDyn(operand ast.Expr, key textFunc) boolFunc {
	lookup := q.lookup(operand)
	if lookup == nil {
		return nil
	}
	return func(in Input) (bool, bool) {
		k, ok := key(in)
		if !ok {
			return false, false
		}
		_, present, ok := lookup(in, k)
		return present, ok
	}
}

// scalar reports whether a value of a document is one that the quick way knows:
// those that JSON has, within their limits.
func scalar(v any) bool {
	switch v := v.(type) {
	case string:
		return len(v) <= MaxString
	case float64:
		return !inexact(v)
	case bool, int64, int:
		return true
	}
	return false
}

// number is the value of a whole or floating-point number where a float64 has it
// exactly.
func number(v any) (float64, bool) {
	const exact = 1 << 53
	switch v := v.(type) {
	case float64:
		return v, !math.IsNaN(v) && !inexact(v)
	case int64:
		return float64(v), -exact <= v && v <= exact
	case int:
		return float64(v), -exact <= v && v <= exact
	}
	return 0, false
}

// constNumber is the value of a constant number where a float64 has it exactly.
func constNumber(e ast.Expr) (float64, bool) {
	if e.Kind() != ast.LiteralKind {
		return 0, false
	}
	switch n := e.AsLiteral().(type) {
	case types.Int:
		return number(int64(n))
	case types.Double:
		return number(float64(n))
	}
	return 0, false
}

// equalDyn plans == between an entry of a document and an operand of another type.
// Values of different types are not equal; numbers are equal by value.
func (q quick) equalDyn(a, b ast.Expr) boolFunc {
	f := q.dyn(a)
	if f == nil {
		return nil
	}
	if c, ok := constNumber(b); ok {
		return func(in Input) (bool, bool) {
			v, ok := f(in)
			if !ok || !scalar(v) {
				return false, false
			}
			switch v.(type) {
			case string, bool:
				return false, true
			}
			n, ok := number(v)
			return n == c, ok
		}
	}
	switch q.kind(b) {
	case types.StringKind:
		return equalScalar(f, q.text(b))
	case types.BoolKind:
		return equalScalar(f, q.boolean(b))
	}
	return nil
}

func equalScalar[T comparable, F ~func(Input) (T, bool)](a dynFunc, b F) boolFunc {
	if b == nil {
		return nil
	}
	return func(in Input) (bool, bool) {
		v, ok := a(in)
		if !ok || !scalar(v) {
			return false, false
		}
		w, ok := b(in)
		same, isSame := v.(T)
		return isSame && same == w, ok
	}
}

// orderDyn plans the comparison of an entry of a document with a constant number.
func (q quick) orderDyn(o order, a, b ast.Expr) boolFunc {
	f := q.dyn(a)
	c, ok := constNumber(b)
	if f == nil || !ok {
		return nil
	}
	return func(in Input) (bool, bool) {
		v, ok := f(in)
		if !ok {
			return false, false
		}
		n, ok := number(v)
		return o.holds(cmp.Compare(n, c)), ok
	}
}

// inDyn plans the membership of a string in a list within a document.
func (q quick) inDyn(element, container ast.Expr) boolFunc {
	if q.kind(element) != types.StringKind {
		return nil
	}
	f, list := q.text(element), q.dyn(container)
	if f == nil || list == nil {
		return nil
	}
	return func(in Input) (bool, bool) {
		s, ok := f(in)
		if !ok {
			return false, false
		}
		v, ok := list(in)
		if !ok {
			return false, false
		}
		elements, ok := v.([]any)
		if !ok || len(elements) > MaxElements {
			return false, false
		}
		known := true
		for _, e := range elements {
			if t, ok := e.(string); ok && t == s {
				return true, true
			}
			known = known && (e == nil || scalar(e))
		}
		return false, known
	}
}
