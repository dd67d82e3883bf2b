package expr

import (
	"cmp"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
)

func constText(s string) textFunc { return func(Input) (string, bool) { return s, true } }

// text plans an expression of type string.
func (q quick) text(e ast.Expr) textFunc {
	switch e.Kind() {
	case ast.LiteralKind:
		if s, ok := textOf(e); ok {
			return constText(s)
		}
	case ast.IdentKind:
		if v := variablesByName[e.AsIdent()]; v != nil && v.text != nil {
			return func(in Input) (string, bool) {
				s := v.text(in)
				return s, len(s) <= MaxString
			}
		}
	case ast.SelectKind:
		if s := e.AsSelect(); !s.IsTestOnly() {
			return q.headerText(s.Operand(), s.FieldName())
		}
	case ast.CallKind:
		return q.textCall(e.AsCall())
	}
	return nil
}

func (q quick) textCall(call ast.CallExpr) textFunc {
	args := call.Args()
	switch call.FunctionName() {
	case operators.Index:
		if name, ok := textOf(args[1]); ok {
			return q.headerText(args[0], name)
		}
	case operators.Conditional:
		return choose(q.boolean(args[0]), q.text(args[1]), q.text(args[2]))
	case operators.Add:
		return q.concat(call)
	case "orValue":
		return q.headerOr(call.Target(), args[0])
	case "lowerAscii":
		if f := q.text(call.Target()); f != nil && q.kind(call.Target()) == types.StringKind {
			return func(in Input) (string, bool) {
				s, ok := f(in)
				if !ok || !isASCII(s) {
					return "", false
				}
				return lowerASCII(s), true
			}
		}
	case "string":
		if q.kind(args[0]) == types.StringKind {
			return q.text(args[0])
		}
	}
	return nil
}

// headersOf is how to get at the headers that an expression names, or nil.
func headersOf(e ast.Expr) func(Input) Headers {
	if e.Kind() != ast.IdentKind {
		return nil
	}
	switch e.AsIdent() {
	case "request.headers":
		return Input.RequestHeaders
	case "response.headers":
		return Input.ResponseHeaders
	}
	return nil
}

// headerText plans a header by a constant name.
func (q quick) headerText(operand ast.Expr, name string) textFunc {
	headers := headersOf(operand)
	if headers == nil {
		return nil
	}
	name = lowerASCII(name)
	return func(in Input) (string, bool) {
		s, ok := headerValue(headers(in), name)
		return s, ok && len(s) <= MaxString
	}
}

// headerOr plans headers[?"name"].orValue(other).
func (q quick) headerOr(optional, other ast.Expr) textFunc {
	if optional.Kind() != ast.CallKind || optional.AsCall().FunctionName() != operators.OptIndex {
		return nil
	}
	args := optional.AsCall().Args()
	headers, otherwise := headersOf(args[0]), q.text(other)
	name, ok := textOf(args[1])
	if headers == nil || otherwise == nil || !ok {
		return nil
	}
	name = lowerASCII(name)
	return func(in Input) (string, bool) {
		if s, ok := headerValue(headers(in), name); ok {
			return s, len(s) <= MaxString
		}
		return otherwise(in)
	}
}

// concat plans a chain of + over strings.
func (q quick) concat(call ast.CallExpr) textFunc {
	parts := q.parts(call, nil)
	for _, f := range parts {
		if f == nil {
			return nil
		}
	}
	return func(in Input) (string, bool) {
		var few [8]string
		values := few[:0]
		for _, f := range parts {
			s, ok := f(in)
			if !ok {
				return "", false
			}
			values = append(values, s)
		}
		return strings.Join(values, ""), true
	}
}

func (q quick) parts(call ast.CallExpr, to []textFunc) []textFunc {
	for _, arg := range call.Args() {
		if arg.Kind() == ast.CallKind && arg.AsCall().FunctionName() == operators.Add {
			to = q.parts(arg.AsCall(), to)
		} else {
			to = append(to, q.text(arg))
		}
	}
	return to
}

// part plans startsWith, endsWith and contains.
func (q quick) part(name string, whole, part ast.Expr) boolFunc {
	if q.kind(whole) != types.StringKind || q.kind(part) != types.StringKind {
		return nil
	}
	holds := strings.Contains
	switch name {
	case "startsWith":
		holds = strings.HasPrefix
	case "endsWith":
		holds = strings.HasSuffix
	}
	return compare(q.text(whole), q.text(part), holds)
}

// isASCII reports whether s has ASCII characters alone.
func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func (q quick) matches(text, pattern ast.Expr) boolFunc {
	if q.kind(text) != types.StringKind {
		return nil
	}
	f := q.text(text)
	p, ok := textOf(pattern)
	if f == nil || !ok {
		return nil
	}
	re, err := regexp.Compile(p)
	if err != nil {
		return nil
	}
	return func(in Input) (bool, bool) {
		s, ok := f(in)
		return ok && re.MatchString(s), ok
	}
}

// presence plans whether a map has a key: has(map.key) and key in map.
func (q quick) presence(operand ast.Expr, key textFunc) boolFunc {
	if key == nil {
		return nil
	}
	if headers := headersOf(operand); headers != nil {
		return func(in Input) (bool, bool) {
			name, ok := key(in)
			return ok && hasHeader(headers(in), lowerASCII(name)), ok
		}
	}
	if operand.Kind() == ast.IdentKind && operand.AsIdent() == "request.params" {
		return func(in Input) (bool, bool) {
			name, ok := key(in)
			if !ok {
				return false, false
			}
			return hasParam(in.Target(), name)
		}
	}
	return q.presenceDyn(operand, key)
}

func (q quick) wholeCall(call ast.CallExpr) intFunc {
	if call.FunctionName() != "size" {
		return nil
	}
	arg := call.Target()
	if !call.IsMemberFunction() {
		arg = call.Args()[0]
	}
	if q.kind(arg) != types.StringKind {
		return nil
	}
	f := q.text(arg)
	if f == nil {
		return nil
	}
	return func(in Input) (int64, bool) {
		s, ok := f(in)
		return int64(utf8.RuneCountInString(s)), ok
	}
}

// order plans <, <=, > and >=.
func (q quick) order(o order, a, b ast.Expr) boolFunc {
	ka, kb := q.kind(a), q.kind(b)
	switch {
	case ka == types.DynKind:
		return q.orderDyn(o, a, b)
	case kb == types.DynKind:
		return q.orderDyn(o.flipped(), b, a)
	case ka != kb:
		return nil
	case ka == types.IntKind:
		return compare(q.whole(a), q.whole(b), func(x, y int64) bool { return o.holds(cmp.Compare(x, y)) })
	case ka == types.StringKind:
		return compare(q.text(a), q.text(b), func(x, y string) bool { return o.holds(cmp.Compare(x, y)) })
	}
	return nil
}
