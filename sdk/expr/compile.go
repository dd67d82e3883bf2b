package expr

import (
	"fmt"
	"maps"
	"slices"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/types"
)

// Option narrows what an expression may do.
type Option interface{ apply(*config) }

type config struct {
	// denied has the scopes that may not be read, each with the reason.
	denied map[Scope]string
}

type optionFunc func(*config)

func (f optionFunc) apply(c *config) { f(c) }

// Deny refuses expressions that read variables of a scope. The reason stands in the
// message and says why they cannot be read, as in "the response has not come yet".
// By default every scope may be read.
func Deny(s Scope, reason string) Option {
	return optionFunc(func(c *config) { c.denied[s] = reason })
}

// compiled is what all kinds of programs are.
type compiled struct {
	source string
	reads  Reads
	cost   uint64
	plan   *plan
}

// Source is the expression as it was given.
func (c *compiled) Source() string { return c.source }

// Reads is what the expression may read.
func (c *compiled) Reads() Reads { return c.reads }

// Cost is the highest cost of one evaluation in cel-go's units, and whether it was
// known when the expression was compiled. Where it was not, it is MaxMeteredCost,
// and evaluation counts and ends at that.
func (c *compiled) Cost() (units uint64, known bool) {
	if c.cost == unbounded {
		return MaxMeteredCost, false
	}
	return c.cost, true
}

// Program is a compiled condition. It is immutable and safe for concurrent use.
type Program struct {
	compiled
	quick boolFunc // nil where only the interpreter can evaluate it
}

// StringProgram is a compiled expression that gives a string. It is immutable and
// safe for concurrent use.
type StringProgram struct {
	compiled
	quick textFunc // nil where only the interpreter can evaluate it
}

// ValueProgram is a compiled expression that gives a value of any type. It is
// immutable and safe for concurrent use.
type ValueProgram struct{ compiled }

// Compile compiles a condition: an expression of type bool. An error is a
// *[CompileError] and has everything that is wrong with it.
func Compile(source string, opts ...Option) (*Program, error) {
	c, tree, err := compile(source, cel.BoolType, opts)
	if err != nil {
		return nil, err
	}
	return &Program{compiled: c, quick: quick{tree}.boolean(tree.Expr())}, nil
}

// CompileString compiles an expression of type string, such as the key of a rate
// limit. An error is a *[CompileError].
func CompileString(source string, opts ...Option) (*StringProgram, error) {
	c, tree, err := compile(source, cel.StringType, opts)
	if err != nil {
		return nil, err
	}
	return &StringProgram{compiled: c, quick: quick{tree}.text(tree.Expr())}, nil
}

// CompileValue compiles an expression of any type. An error is a *[CompileError].
func CompileValue(source string, opts ...Option) (*ValueProgram, error) {
	c, _, err := compile(source, cel.DynType, opts)
	if err != nil {
		return nil, err
	}
	return &ValueProgram{c}, nil
}

// compile parses, checks and plans an expression. A want of cel.DynType takes any
// type.
func compile(source string, want *cel.Type, opts []Option) (c compiled, tree *ast.AST, err error) {
	defer func() {
		// What the parser makes of hostile input has to be an error, whatever
		// happens in it.
		if r := recover(); r != nil {
			p := &problems{source: source}
			p.add(1, 1, "the expression cannot be compiled")
			c, tree, err = compiled{}, nil, p.err()
		}
	}()
	conf := &config{denied: map[Scope]string{}}
	for _, o := range opts {
		o.apply(conf)
	}
	p := checkSource(source)
	if err := p.err(); err != nil {
		return compiled{}, nil, err
	}
	checked := typeCheck(source, p)
	if checked == nil {
		return compiled{}, nil, p.err()
	}
	native := checked.NativeRep()
	k := &checker{
		ast: native, config: conf, problems: p, reads: newReadSet(),
		regexes: map[int64]int{}, containers: map[int64]bool{}, whole: map[int64]bool{}, lookedUp: map[int64]bool{}, hasMaps: hasMapLiteral(native.Expr()),
	}
	k.walk(native.Expr(), 0)
	k.result(checked.OutputType(), want)
	if err := p.err(); err != nil {
		return compiled{}, nil, err
	}
	cost, err := (&estimator{containers: k.containers, regexes: k.regexes}).estimate(checked)
	switch {
	case err != nil:
		p.add(1, 1, "the cost cannot be estimated: %v", err)
	case cost != unbounded && cost > MaxCost:
		p.add(1, 1, "the expression may cost %d units, at most %d are allowed; what costs most is loops within loops and "+
			"regular expressions over long strings", cost, MaxCost)
	}
	if err := p.err(); err != nil {
		return compiled{}, nil, err
	}
	c = compiled{source: source, reads: k.reads.reads(), cost: cost}
	largest := slices.Max(append(slices.Collect(maps.Values(k.regexes)), 1))
	if c.plan, err = newPlan(checked, source, cost == unbounded, meter{steps: largest}, k.whole); err != nil {
		p.add(1, 1, "the expression cannot be planned: %v", err)
		return compiled{}, nil, p.err()
	}
	return c, native, nil
}

// result checks the type of the whole expression.
func (c *checker) result(got, want *cel.Type) {
	if want.Kind() == types.DynKind || got.IsExactType(want) {
		return
	}
	hint := ""
	switch {
	case got.Kind() == types.DynKind && want.Kind() == types.BoolKind:
		hint = "; compare it, as in ... == true"
	case got.Kind() == types.DynKind && want.Kind() == types.StringKind:
		hint = "; convert it, as in string(...)"
	}
	c.problems.add(1, 1, "the expression has the type %s and not %s%s", cel.FormatCELType(got), cel.FormatCELType(want), hint)
}

// typeCheck parses and type-checks. It gives nil where there are problems.
func typeCheck(source string, p *problems) *cel.Ast {
	parsed, issues := environment().Parse(source)
	if issues.Err() == nil {
		var checked *cel.Ast
		if checked, issues = environment().Check(parsed); issues.Err() == nil {
			return checked
		}
	}
	for _, e := range issues.Errors() {
		p.add(max(e.Location.Line(), 1), max(e.Location.Column(), 0)+1, "%s", explain(parsed, e))
	}
	if len(p.list) == 0 {
		p.add(1, 1, "%s", fmt.Sprint(issues.Err()))
	}
	return nil
}
