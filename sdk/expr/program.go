package expr

import (
	"errors"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
)

// plan is an expression in the interpreter's form.
type plan struct {
	source  string
	program cel.Program
	meter   meter
	// places are where expressions stand, by their ids. The tree itself takes twenty times the memory, and is let go.
	places []place
}

// place is a line and a column, both from 1. The zero place is not known. An expression has few bytes: see MaxSource.
type place struct{ line, column uint16 }

// newPlan plans a checked expression. whole has the expressions that read a map as a
// whole.
func newPlan(checked *cel.Ast, source string, metered bool, m meter, whole map[int64]bool) (*plan, error) {
	opts := []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize), cel.CustomDecoratorV2(decorate(whole))}
	if metered {
		opts = append(opts, cel.CostTracking(m), cel.CostLimit(MaxMeteredCost))
	}
	prg, err := environment().Program(checked, opts...)
	if err != nil {
		return nil, err
	}
	return &plan{source: source, program: prg, meter: m, places: placesOf(checked.NativeRep())}, nil
}

// placesOf returns where the expressions of a tree stand.
func placesOf(a *ast.AST) []place {
	ranges := a.SourceInfo().OffsetRanges()
	var last int64
	for id := range ranges {
		last = max(last, id)
	}
	places := make([]place, last+1)
	for id := range ranges {
		line, column := position(a, id)
		places[id] = place{uint16(line), uint16(column)}
	}
	return places
}

// run evaluates and hands the value to use, which must not keep it.
func (p *plan) run(in Input, use func(ref.Val) error) error {
	a := newActivation(in)
	defer a.release()
	v, _, err := p.program.Eval(a)
	if err != nil {
		return p.failed(err)
	}
	return use(v)
}

// failed makes the interpreter's error one of this package.
func (p *plan) failed(err error) *EvalError {
	e := &EvalError{Source: p.source, Reason: reasonOf(err)}
	var celErr *types.Err
	if errors.As(err, &celErr) && celErr.NodeID() != 0 && celErr.NodeID() != sharedErrorID {
		e.Line, e.Column = 1, 1
		if id := celErr.NodeID(); id > 0 && id < int64(len(p.places)) && p.places[id] != (place{}) {
			e.Line, e.Column = int(p.places[id].line), int(p.places[id].column)
		}
	}
	return e
}

// Eval tells whether the condition holds. An error is an *[EvalError]; it means
// that the condition could not be decided, and never that it does not hold.
func (p *Program) Eval(in Input) (bool, error) {
	if p.quick != nil {
		if v, ok := p.quick(in); ok {
			return v, nil
		}
	}
	return p.interpret(in)
}

func (p *Program) interpret(in Input) (bool, error) {
	v, err := interpret[types.Bool](p.plan, in)
	return bool(v), err
}

// Eval gives the string. An error is an *[EvalError].
func (p *StringProgram) Eval(in Input) (string, error) {
	if p.quick != nil {
		if v, ok := p.quick(in); ok {
			return v, nil
		}
	}
	return p.interpret(in)
}

func (p *StringProgram) interpret(in Input) (string, error) {
	v, err := interpret[types.String](p.plan, in)
	return string(v), err
}

// interpret evaluates an expression whose type is that of T.
func interpret[T types.Bool | types.String](p *plan, in Input) (T, error) {
	var value T
	err := p.run(in, func(v ref.Val) error {
		var ok bool
		if value, ok = any(v).(T); !ok {
			return &EvalError{Source: p.source, Reason: reasonNoSuchOverload}
		}
		return nil
	})
	return value, err
}

// Eval gives the value as one of nil, bool, int64, uint64, float64, string, []byte,
// time.Time, time.Duration, []any and map[string]any. An absent optional value is
// nil. An error is an *[EvalError].
func (p *ValueProgram) Eval(in Input) (any, error) {
	var value any
	err := p.plan.run(in, func(v ref.Val) error {
		var ok bool
		if value, ok = nativeOf(v, maxDepth); !ok {
			return &EvalError{Source: p.source, Reason: reasonUnreadable}
		}
		return nil
	})
	return value, err
}
