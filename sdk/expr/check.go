package expr

import (
	"math"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
)

// checker walks a type-checked expression: it refuses what CEL allows and this
// language does not, and collects what the expression reads.
type checker struct {
	ast      *ast.AST
	config   *config
	problems *problems
	reads    *readSet
	// regexes has the number of instructions of each regular expression, by
	// the constant that it is written in.
	regexes map[int64]int
	// containers has the expressions that are used as lists or maps, whatever
	// their type says.
	containers map[int64]bool
	// whole has the expressions that read a map of headers as a whole, not by
	// its entries.
	whole map[int64]bool
	// lookedUp has the expressions of which an entry is looked up.
	lookedUp map[int64]bool
	hasMaps  bool
}

func (c *checker) at(e ast.Expr, format string, args ...any) {
	line, column := position(c.ast, e.ID())
	c.problems.add(line, column, format, args...)
}

// position is the place of an expression, from 1, or 1:1 where it has none.
func position(a *ast.AST, id int64) (line, column int) {
	loc := a.SourceInfo().GetStartLocation(id)
	if loc.Line() < 1 {
		return 1, 1
	}
	return loc.Line(), loc.Column() + 1
}

func (c *checker) walk(e ast.Expr, loops int) {
	switch e.Kind() {
	case ast.LiteralKind:
		if f, ok := e.AsLiteral().(types.Double); ok && inexact(float64(f)) {
			c.at(e, "a floating-point number of this size stands for several whole numbers; write it without a fraction or an exponent")
		}
	case ast.IdentKind:
		c.variable(e)
	case ast.SelectKind:
		if s := e.AsSelect(); !c.entry(e, s.Operand(), s.FieldName()) {
			c.walk(s.Operand(), loops)
		}
	case ast.CallKind:
		c.call(e, loops)
	case ast.ListKind:
		for _, el := range e.AsList().Elements() {
			c.walk(el, loops)
		}
	case ast.MapKind:
		for _, entry := range e.AsMap().Entries() {
			c.walk(entry.AsMapEntry().Key(), loops)
			c.walk(entry.AsMapEntry().Value(), loops)
		}
	case ast.StructKind:
		c.at(e, "messages cannot be made in an expression")
	case ast.ComprehensionKind:
		c.loop(e, loops+1)
	}
}

// variable notes that an identifier is read as a whole.
func (c *checker) variable(e ast.Expr) {
	v := c.declared(e)
	if v == nil {
		return
	}
	c.read(e, v)
	switch v.doc.Name {
	case "request.headers":
		c.reads.allRequest = true
		c.whole[e.ID()] = !c.lookedUp[e.ID()]
	case "response.headers":
		c.reads.allResponse = true
		c.whole[e.ID()] = !c.lookedUp[e.ID()]
	case "metadata":
		c.at(e, `metadata can only be read by key, as in metadata["risk"] or has(metadata.risk)`)
	case "attributes":
		c.at(e, `attributes can only be read by constant names, as in attributes["source.address"]`)
	}
}

// declared is the documented variable that an identifier names, or nil.
func (c *checker) declared(e ast.Expr) *variable {
	if e.Kind() != ast.IdentKind {
		return nil
	}
	return variablesByName[strings.TrimPrefix(e.AsIdent(), ".")]
}

func (c *checker) read(e ast.Expr, v *variable) {
	if why, denied := c.config.denied[v.doc.Scope]; denied {
		c.at(e, "%s cannot be read here: %s", v.doc.Name, why)
	}
	c.reads.variables[v.doc.Name] = true
	if v.doc.Name == "request.id" {
		c.reads.request["x-request-id"] = true
	}
}

// entry notes that an entry of a map is read by a constant name. It reports false
// where the map is none of those of which each entry counts.
func (c *checker) entry(e, operand ast.Expr, name string) bool {
	v := c.declared(operand)
	if v == nil {
		return false
	}
	switch v.doc.Name {
	case "request.headers":
		c.header(e, v, name)
		c.reads.request[lowerASCII(name)] = true
	case "response.headers":
		c.header(e, v, name)
		c.reads.response[lowerASCII(name)] = true
	case "metadata":
	case "attributes":
		c.reads.attributes[name] = true
	default:
		return false
	}
	c.read(operand, v)
	return true
}

// keyed notes that an entry of metadata is read by a key that is computed. It
// reports false where the map is another one.
func (c *checker) keyed(operand, key ast.Expr, loops int) bool {
	v := c.declared(operand)
	if v == nil || v.doc.Name != "metadata" {
		return false
	}
	c.read(operand, v)
	c.walk(key, loops)
	return true
}

func (c *checker) header(e ast.Expr, v *variable, name string) {
	if !isPseudo(name) {
		return
	}
	hint := ""
	if instead, ok := pseudoHeaders[v.doc.Name+lowerASCII(name)]; ok {
		hint = "; it is " + instead
	}
	c.at(e, "%s has no %q%s", v.doc.Name, name, hint)
}

// pseudoHeaders says which variable has what a pseudo-header has.
var pseudoHeaders = map[string]string{
	"request.headers:method": "request.method", "request.headers:scheme": "request.scheme",
	"request.headers:authority": "request.authority", "request.headers:path": "request.path with request.query",
	"response.headers:status": "response.status",
}

func (c *checker) call(e ast.Expr, loops int) {
	call := e.AsCall()
	name, args := call.FunctionName(), call.Args()
	if !functions[name] {
		c.at(e, "the function %s is not part of this language", name)
	}
	switch {
	case name == operators.Index || name == operators.OptIndex || name == operators.OptSelect:
		c.lookedUp[args[0].ID()] = true
		if key, ok := textOf(args[1]); ok && c.entry(e, args[0], key) || c.keyed(args[0], args[1], loops) {
			return
		}
	case name == operators.In:
		c.containers[args[1].ID()], c.lookedUp[args[1].ID()] = true, true
		if key, ok := textOf(args[0]); ok && c.entry(e, args[1], key) || c.keyed(args[1], args[0], loops) {
			return
		}
	case name == "matches":
		c.regex(args[len(args)-1])
	case timeGetters[name] && len(args) == 1:
		c.timeZone(args[0])
	}
	if call.IsMemberFunction() {
		c.walk(call.Target(), loops)
	}
	for _, arg := range args {
		c.walk(arg, loops)
	}
}

// textOf is the value of a constant string.
func textOf(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	s, ok := e.AsLiteral().(types.String)
	return string(s), ok
}

func (c *checker) regex(pattern ast.Expr) {
	text, ok := textOf(pattern)
	if !ok {
		c.at(pattern, "a regular expression has to be a constant, so that it is compiled at load")
		return
	}
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		c.at(pattern, "the regular expression does not compile: %s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		return
	}
	size := programSize(parsed)
	if size <= 2*MaxRegexProgram {
		prog, err := syntax.Compile(parsed.Simplify())
		if err != nil {
			c.at(pattern, "the regular expression does not compile: %s", err)
			return
		}
		size = len(prog.Inst)
	}
	if size > MaxRegexProgram {
		c.at(pattern, "the regular expression compiles to about %d instructions, at most %d are allowed", size, MaxRegexProgram)
	}
	c.regexes[pattern.ID()] = size
}

// programSize is about how many instructions a regular expression compiles to. It
// is found without compiling, since a short expression can have millions. The
// parser has bounded how deep it is nested.
func programSize(re *syntax.Regexp) int {
	n := 0
	for _, sub := range re.Sub {
		n += programSize(sub)
	}
	switch re.Op {
	case syntax.OpLiteral:
		n = len(re.Rune)
	case syntax.OpConcat:
	case syntax.OpRepeat:
		n *= max(re.Min, re.Max, 1)
	default:
		n++
	}
	return min(n, math.MaxInt32)
}

// fixedZone is what CEL takes for an offset from UTC.
var fixedZone = regexp.MustCompile(`^(UTC|[+-]?[0-9]{2}:[0-9]{2})$`)

// timeZone refuses zones by name: their rules are in files.
func (c *checker) timeZone(zone ast.Expr) {
	if text, ok := textOf(zone); !ok || !fixedZone.MatchString(text) {
		c.at(zone, `a time zone has to be "UTC" or a constant offset such as "+02:00"`)
	}
}

func (c *checker) loop(e ast.Expr, loops int) {
	l := e.AsComprehension()
	// Macros such as optMap make a loop over nothing to name a value.
	if l.IterRange().Kind() == ast.ListKind && l.IterRange().AsList().Size() == 0 {
		loops--
	}
	if loops == MaxLoops+1 {
		c.at(e, "loops are nested more than %d deep", MaxLoops)
	}
	for _, name := range []string{l.IterVar(), l.IterVar2(), l.AccuVar()} {
		if slices.Contains(scopeNames, name) {
			c.at(e, "%s is the name of what expressions read; choose another name for what the loop goes through", name)
		}
	}
	c.containers[l.IterRange().ID()] = true
	if c.hasMaps && c.ast.GetType(l.IterRange().ID()).Kind() != types.ListKind {
		c.at(l.IterRange(), "an expression with a map literal can only loop over lists: the order of a map literal is not defined")
	}
	c.walk(l.IterRange(), loops)
	c.walk(l.AccuInit(), loops)
	c.walk(l.LoopCondition(), loops)
	c.walk(l.LoopStep(), loops)
	c.walk(l.Result(), loops)
}

// hasMapLiteral reports whether an expression makes a map.
func hasMapLiteral(e ast.Expr) bool {
	found := false
	ast.PostOrderVisit(e, ast.NewExprVisitor(func(e ast.Expr) { found = found || e.Kind() == ast.MapKind }))
	return found
}
