package expr

import (
	"math"

	"github.com/google/cel-go/cel"
	celchecker "github.com/google/cel-go/checker"
	"github.com/google/cel-go/common/overloads"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
)

// unbounded is the cost of an expression for which cel-go knows no bound.
const unbounded = math.MaxUint64

// estimator gives cel-go the sizes of what expressions read, and the cost of
// regular expressions by what they compile to rather than by how long they are.
type estimator struct {
	containers map[int64]bool
	regexes    map[int64]int
}

// estimate is the highest cost of one evaluation, or unbounded.
func (s *estimator) estimate(checked *cel.Ast) (uint64, error) {
	cost, err := environment().EstimateCost(checked, s)
	return cost.Max, err
}

// EstimateSize implements checker.CostEstimator.
func (s *estimator) EstimateSize(n celchecker.AstNode) *celchecker.SizeEstimate {
	path := n.Path()
	if len(path) == 0 || variablesByName[path[0]] == nil {
		return nil
	}
	most := uint64(0)
	switch n.Type().Kind() {
	case types.ListKind, types.MapKind:
		most = MaxElements
	case types.StringKind, types.BytesKind:
		most = MaxString
	case types.DynKind, types.AnyKind:
		most = MaxString
		if e := n.Expr(); e != nil && s.containers[e.ID()] {
			most = MaxElements
		}
	default:
		return nil
	}
	return &celchecker.SizeEstimate{Min: 0, Max: most}
}

// EstimateCallCost implements checker.CostEstimator.
func (s *estimator) EstimateCallCost(_, overload string, target *celchecker.AstNode, args []celchecker.AstNode) *celchecker.CallEstimate {
	if overload != overloads.Matches && overload != overloads.MatchesString {
		return nil
	}
	text, pattern := args[0], args[len(args)-1]
	if target != nil {
		text = *target
	}
	size := celchecker.UnknownSizeEstimate()
	if known := text.ComputedSize(); known != nil {
		size = *known
	}
	steps := s.regexes[pattern.Expr().ID()]
	if steps == 0 {
		steps = MaxRegexProgram
	}
	cost := size.Add(celchecker.FixedSizeEstimate(1)).MultiplyByCostFactor(regexStepCost * float64(steps))
	return &celchecker.CallEstimate{CostEstimate: cost}
}

// regexStepCost is the cost of one instruction of a regular expression's machine
// for one character: what cel-go has for one character of a pattern.
const regexStepCost = 0.1 * 0.25

// meter gives cel-go the cost of regular expressions while it evaluates.
type meter struct {
	// steps is the number of instructions of the expression's largest one.
	steps int
}

// CallCost implements interpreter.ActualCostEstimator.
func (m meter) CallCost(_, overload string, args []ref.Val, _ ref.Val) *uint64 {
	if overload != overloads.Matches && overload != overloads.MatchesString {
		return nil
	}
	size := 1.0
	if sizer, ok := args[0].(traits.Sizer); ok {
		if n, ok := sizer.Size().(types.Int); ok {
			size += float64(n)
		}
	}
	cost := uint64(math.Ceil(size * regexStepCost * float64(m.steps)))
	return &cost
}
