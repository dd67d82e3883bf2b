package expr

import (
	"github.com/google/cel-go/cel"
)

// Quick reports whether the quick way can evaluate the condition.
func (p *Program) Quick() bool { return p.quick != nil }

// Quick reports whether the quick way can evaluate the expression.
func (p *StringProgram) Quick() bool { return p.quick != nil }

// Interpret evaluates by the interpreter alone.
func (p *Program) Interpret(in Input) (bool, error) { return p.interpret(in) }

// Interpret evaluates by the interpreter alone.
func (p *StringProgram) Interpret(in Input) (string, error) { return p.interpret(in) }

// Spend evaluates by the interpreter and returns what cel-go counts as its cost.
func (c *compiled) Spend(in Input) (uint64, error) {
	checked, issues := environment().Compile(c.source)
	if issues.Err() != nil {
		return 0, issues.Err()
	}
	prg, err := environment().Program(checked, cel.EvalOptions(cel.OptOptimize), cel.CostTracking(c.plan.meter))
	if err != nil {
		return 0, err
	}
	a := newActivation(in)
	defer a.release()
	_, details, _ := prg.Eval(a)
	return *details.ActualCost(), nil
}
