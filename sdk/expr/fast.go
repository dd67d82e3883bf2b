package expr

import (
	"slices"

	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
)

// The quick way of evaluation. Most conditions are made of a few shapes: a variable
// or a header compared with a constant, a prefix, a list of alternatives, joined by
// && and ||. Those are planned as Go closures over the input, which cost no
// allocation and no value of the interpreter's.
//
// The quick way knows only results. Where an operand has no value (a header is
// missing, a claim has another type, a string is over its limit) a closure reports
// ok as false, that goes up at once, and the interpreter evaluates the expression
// from the start. So whatever CEL says about errors, and about && and || absorbing
// them, is the interpreter's alone; a fuzz test compares the two ways.
type (
	boolFunc func(Input) (value, ok bool)
	textFunc func(Input) (value string, ok bool)
	intFunc  func(Input) (value int64, ok bool)
)

// quick plans expressions for the quick way. Its methods give nil for what only the
// interpreter can evaluate.
type quick struct {
	ast *ast.AST
}

func (q quick) kind(e ast.Expr) types.Kind { return q.ast.GetType(e.ID()).Kind() }

// boolean plans an expression of type bool.
func (q quick) boolean(e ast.Expr) boolFunc {
	switch e.Kind() {
	case ast.LiteralKind:
		if b, ok := e.AsLiteral().(types.Bool); ok {
			return func(Input) (bool, bool) { return bool(b), true }
		}
	case ast.IdentKind:
		if v := variablesByName[e.AsIdent()]; v != nil && v.truth != nil {
			return func(in Input) (bool, bool) { return v.truth(in), true }
		}
	case ast.SelectKind:
		if s := e.AsSelect(); s.IsTestOnly() {
			return q.presence(s.Operand(), constText(s.FieldName()))
		}
	case ast.CallKind:
		return q.call(e.AsCall())
	}
	return nil
}

func (q quick) call(call ast.CallExpr) boolFunc {
	args := call.Args()
	switch name := call.FunctionName(); name {
	case operators.LogicalAnd, operators.LogicalOr:
		return q.logic(call)
	case operators.LogicalNot:
		if f := q.boolean(args[0]); f != nil {
			return not(f)
		}
	case operators.Conditional:
		return choose(q.boolean(args[0]), q.boolean(args[1]), q.boolean(args[2]))
	case operators.Equals:
		return q.equal(args[0], args[1])
	case operators.NotEquals:
		if f := q.equal(args[0], args[1]); f != nil {
			return not(f)
		}
	case operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals:
		return q.order(orders[name], args[0], args[1])
	case operators.In:
		return q.in(args[0], args[1])
	case "startsWith", "endsWith", "contains":
		if call.IsMemberFunction() && len(args) == 1 {
			return q.part(name, call.Target(), args[0])
		}
	case "matches":
		if call.IsMemberFunction() {
			return q.matches(call.Target(), args[0])
		}
		return q.matches(args[0], args[1])
	}
	return nil
}

func not(f boolFunc) boolFunc {
	return func(in Input) (bool, bool) {
		v, ok := f(in)
		return !v, ok
	}
}

// choose plans a conditional of any of the types.
func choose[T any, F ~func(Input) (T, bool)](cond boolFunc, yes, no F) F {
	if cond == nil || yes == nil || no == nil {
		return nil
	}
	return func(in Input) (T, bool) {
		v, ok := cond(in)
		switch {
		case !ok:
			var none T
			return none, false
		case v:
			return yes(in)
		default:
			return no(in)
		}
	}
}

// logic plans a chain of && or of ||.
func (q quick) logic(call ast.CallExpr) boolFunc {
	decisive := call.FunctionName() == operators.LogicalOr
	terms := q.terms(call, nil)
	switch {
	case slices.ContainsFunc(terms, func(f boolFunc) bool { return f == nil }):
		return nil
	case len(terms) == 2:
		first, second := terms[0], terms[1]
		return func(in Input) (bool, bool) {
			if v, ok := first(in); !ok || v == decisive {
				return v, ok
			}
			return second(in)
		}
	}
	return func(in Input) (bool, bool) {
		for _, f := range terms {
			if v, ok := f(in); !ok || v == decisive {
				return v, ok
			}
		}
		return !decisive, true
	}
}

// terms plans the terms of a chain of one operator, in order.
func (q quick) terms(call ast.CallExpr, to []boolFunc) []boolFunc {
	for _, arg := range call.Args() {
		if arg.Kind() == ast.CallKind && arg.AsCall().FunctionName() == call.FunctionName() {
			to = q.terms(arg.AsCall(), to)
		} else {
			to = append(to, q.boolean(arg))
		}
	}
	return to
}

// equal plans ==.
func (q quick) equal(a, b ast.Expr) boolFunc {
	ka, kb := q.kind(a), q.kind(b)
	switch {
	case ka == types.DynKind:
		return q.equalDyn(a, b)
	case kb == types.DynKind:
		return q.equalDyn(b, a)
	case ka != kb:
		return nil
	case ka == types.StringKind:
		if c, ok := textOf(b); ok {
			return equalTo(q.text(a), c)
		}
		if c, ok := textOf(a); ok {
			return equalTo(q.text(b), c)
		}
		return compare(q.text(a), q.text(b), func(x, y string) bool { return x == y })
	case ka == types.IntKind:
		return compare(q.whole(a), q.whole(b), func(x, y int64) bool { return x == y })
	case ka == types.BoolKind:
		return compare(q.boolean(a), q.boolean(b), func(x, y bool) bool { return x == y })
	}
	return nil
}

func equalTo(f textFunc, c string) boolFunc {
	if f == nil {
		return nil
	}
	return func(in Input) (bool, bool) {
		v, ok := f(in)
		return v == c, ok
	}
}

// compare plans a comparison of two operands of one type.
func compare[T any, F ~func(Input) (T, bool)](a, b F, holds func(T, T) bool) boolFunc {
	if a == nil || b == nil {
		return nil
	}
	return func(in Input) (bool, bool) {
		x, ok := a(in)
		if !ok {
			return false, false
		}
		y, ok := b(in)
		return holds(x, y), ok
	}
}

// order is an operator that compares, told by its results.
type order struct{ less, equal, greater bool }

var orders = map[string]order{
	operators.Less:          {less: true},
	operators.LessEquals:    {less: true, equal: true},
	operators.Greater:       {greater: true},
	operators.GreaterEquals: {equal: true, greater: true},
}

// flipped is the operator for swapped operands.
func (o order) flipped() order { return order{less: o.greater, equal: o.equal, greater: o.less} }

// holds reports whether the operator holds for operands of which cmp.Compare gives c.
func (o order) holds(c int) bool {
	return c < 0 && o.less || c == 0 && o.equal || c > 0 && o.greater
}

// in plans the operator in.
func (q quick) in(element, container ast.Expr) boolFunc {
	switch {
	case container.Kind() == ast.ListKind:
		return q.inLiteral(element, container.AsList())
	case q.kind(container) == types.MapKind:
		return q.presence(container, q.text(element))
	case q.kind(container) == types.ListKind:
		return q.inScopes(element, container)
	case q.kind(container) == types.DynKind:
		return q.inDyn(element, container)
	}
	return nil
}

// inLiteral plans the membership in a list of constant strings or whole numbers.
func (q quick) inLiteral(element ast.Expr, list ast.ListExpr) boolFunc {
	if len(list.OptionalIndices()) > 0 {
		return nil
	}
	switch q.kind(element) {
	case types.StringKind:
		return among(q.text(element), list.Elements(), textOf)
	case types.IntKind:
		return among(q.whole(element), list.Elements(), wholeOf)
	}
	return nil
}

// fewElements is up to how many elements a list is searched rather than hashed.
const fewElements = 8

func among[T comparable, F ~func(Input) (T, bool)](f F, elements []ast.Expr, constant func(ast.Expr) (T, bool)) boolFunc {
	list := make([]T, 0, len(elements))
	set := make(map[T]bool, len(elements))
	for _, e := range elements {
		c, ok := constant(e)
		if !ok {
			return nil
		}
		list, set[c] = append(list, c), true
	}
	switch {
	case f == nil:
		return nil
	case len(list) <= fewElements:
		return func(in Input) (bool, bool) {
			v, ok := f(in)
			return slices.Contains(list, v), ok
		}
	default:
		return func(in Input) (bool, bool) {
			v, ok := f(in)
			return set[v], ok
		}
	}
}

// inScopes plans the membership in auth.scopes.
func (q quick) inScopes(element, container ast.Expr) boolFunc {
	f := q.text(element)
	if f == nil || container.Kind() != ast.IdentKind || container.AsIdent() != "auth.scopes" {
		return nil
	}
	return func(in Input) (bool, bool) {
		v, ok := f(in)
		if !ok {
			return false, false
		}
		scopes := in.Scopes()
		if len(scopes) > MaxElements {
			return false, false
		}
		found := false
		for _, s := range scopes {
			if len(s) > MaxString {
				return false, false
			}
			found = found || s == v
		}
		return found, true
	}
}

// whole plans an expression of type int.
func (q quick) whole(e ast.Expr) intFunc {
	switch e.Kind() {
	case ast.LiteralKind:
		if n, ok := wholeOf(e); ok {
			return func(Input) (int64, bool) { return n, true }
		}
	case ast.IdentKind:
		if v := variablesByName[e.AsIdent()]; v != nil && v.whole != nil {
			return func(in Input) (int64, bool) { return v.whole(in), true }
		}
	case ast.CallKind:
		return q.wholeCall(e.AsCall())
	}
	return nil
}

// wholeOf is the value of a constant whole number.
func wholeOf(e ast.Expr) (int64, bool) {
	if e.Kind() != ast.LiteralKind {
		return 0, false
	}
	n, ok := e.AsLiteral().(types.Int)
	return int64(n), ok
}
