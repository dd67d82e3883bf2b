package expr

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"

	"policyengine.dev/sdk/strictyaml"
)

var (
	undeclared = regexp.MustCompile(`^undeclared reference to '([^']*)'`)
	noOverload = regexp.MustCompile(`^found no matching overload for '([^']*)' applied to '([^']*)'$`)
	expecting  = regexp.MustCompile(` expecting .*$`)
)

// operatorSigns are the operators that are not written between their operands.
var operatorSigns = map[string]string{
	operators.Index: "[]", operators.OptIndex: "[?]", operators.OptSelect: ".?", operators.Conditional: "?:",
}

// slips are what people write who come from other languages.
var slips = []struct{ text, message string }{
	{"token recognition error at: '= '", "= assigns nothing here; values are compared by =="},
	{"input 'and'", "there is no operator and; it is written &&"},
	{"input 'or'", "there is no operator or; it is written ||"},
	{"input 'not'", "there is no operator not; it is written !"},
}

// explain says what cel-go found in terms of this language, and where it can what
// would be right. parsed is nil where the syntax is wrong.
func explain(parsed *cel.Ast, e *common.Error) string {
	if m := undeclared.FindStringSubmatch(e.Message); m != nil && parsed != nil {
		return explainName(parsed.NativeRep().Expr(), e.ExprID, m[1])
	}
	if m := noOverload.FindStringSubmatch(e.Message); m != nil {
		name, operands := m[1], strings.TrimSuffix(strings.TrimPrefix(m[2], "("), ")")
		if symbol, ok := operatorSigns[name]; ok {
			name = symbol
		} else if symbol, ok := operators.FindReverse(name); ok && symbol != "" {
			name = symbol
		}
		return "no " + name + " for operands of type " + strings.ReplaceAll(operands, ".(", ", ")
	}
	if text, ok := strings.CutPrefix(e.Message, "Syntax error: "); ok {
		if strings.Contains(text, "'<EOF>'") {
			return "the expression ends before it is complete"
		}
		for _, slip := range slips {
			if strings.Contains(text, slip.text) {
				return slip.message
			}
		}
		return "the syntax is wrong: " + expecting.ReplaceAllString(text, "")
	}
	for _, limit := range []struct{ text, message string }{
		{"recursion", "the expression is nested too deep: more than 32 parentheses, brackets or operators within each other"},
		{"expression node count", "the expression is too large: it has more than 2000 parts"},
	} {
		if strings.Contains(e.Message, limit.text) {
			return limit.message
		}
	}
	return e.Message
}

// explainName says what is wrong with a name, of which cel-go knows the first part.
func explainName(root ast.Expr, id int64, name string) string {
	path, tested := qualified(root, id)
	switch {
	case path == nil:
		return "there is no function " + name + "; " + strictyaml.Nearest(name, functionNames())
	case !slices.Contains(scopeNames, name):
		return name + " is not known; " + strictyaml.Nearest(name, scopeNames)
	case len(path) == 1:
		return name + " has no value of its own; " + strictyaml.Nearest("", variablesOf(name))
	}
	full := path[0] + "." + path[1]
	if _, known := variablesByName[full]; known && tested {
		return full + " is always there, so that has() does not apply to it; compare it with a value"
	}
	return "there is no " + full + "; " + strictyaml.Nearest(full, variablesOf(name))
}

// qualified is the name that an identifier and the selections around it make
// together, and whether it is the operand of has(). It is nil where the id is that
// of another expression.
func qualified(root ast.Expr, id int64) (path []string, tested bool) {
	var find func(e ast.NavigableExpr)
	find = func(e ast.NavigableExpr) {
		if e.ID() != id || e.Kind() != ast.IdentKind {
			for _, child := range e.Children() {
				find(child)
			}
			return
		}
		path = []string{e.AsIdent()}
		for parent, ok := e.Parent(); ok && parent.Kind() == ast.SelectKind; parent, ok = parent.Parent() {
			path = append(path, parent.AsSelect().FieldName())
			tested = len(path) == 2 && parent.AsSelect().IsTestOnly()
		}
	}
	find(ast.NavigateExpr(ast.NewAST(root, nil), root))
	return path, tested
}

func variablesOf(scope string) []string {
	var names []string
	for i := range variables {
		if string(variables[i].doc.Scope) == scope {
			names = append(names, variables[i].doc.Name)
		}
	}
	return names
}

// functionNames are the names of the functions that are written as such.
func functionNames() []string {
	return slices.Collect(func(yield func(string) bool) {
		for name := range maps.Keys(functions) {
			if _, operator := operators.FindReverse(name); !operator && !strings.HasPrefix(name, "@") && !yield(name) {
				return
			}
		}
	})
}
