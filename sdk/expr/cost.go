package expr

import (
	"math"

	"github.com/google/cel-go/cel"
	celchecker "github.com/google/cel-go/checker"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/overloads"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
)

// unbounded is the cost of an expression for which cel-go knows no bound.
const unbounded = math.MaxUint64

// noBound is from where on an estimate was made of a size that is not known, which
// cel-go takes for 2^64 and multiplies by a factor, rather than of known ones.
const noBound = 1 << 52

// estimator gives cel-go the sizes of what expressions read, and the cost of
// regular expressions by what they compile to rather than by how long they are.
type estimator struct {
	containers map[int64]bool
	regexes    map[int64]int
}

// estimate is the highest cost of one evaluation, or unbounded.
func (s *estimator) estimate(checked *cel.Ast) (uint64, error) {
	cost, err := environment().EstimateCost(checked, s)
	if cost.Max >= noBound {
		return unbounded, err
	}
	return cost.Max, err
}

// EstimateSize implements checker.CostEstimator.
func (s *estimator) EstimateSize(n celchecker.AstNode) *celchecker.SizeEstimate {
	switch n.Type().Kind() {
	case types.TypeKind, types.NullTypeKind:
		return &celchecker.SizeEstimate{Min: 1, Max: 1}
	}
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
	switch overload {
	case overloads.Matches:
		return s.match(args[0], args[1])
	case overloads.MatchesString:
		return s.match(*target, args[0])
	case overloads.Equals, overloads.NotEquals:
		return s.equal(args[0], args[1])
	case "optional_orValue_value":
		return s.orValue(*target, args[0])
	}
	return nil
}

func (s *estimator) match(text, pattern celchecker.AstNode) *celchecker.CallEstimate {
	steps := s.regexes[pattern.Expr().ID()]
	size := sizeOf(text).Add(celchecker.FixedSizeEstimate(1))
	return &celchecker.CallEstimate{CostEstimate: size.MultiplyByCostFactor(regexStepCost * float64(steps))}
}

// orValue knows the size of map[?key].orValue(other) where the map is a variable
// with strings in it.
func (s *estimator) orValue(optional, other celchecker.AstNode) *celchecker.CallEstimate {
	e := optional.Expr()
	if e.Kind() != ast.CallKind || other.Type().Kind() != types.StringKind {
		return nil
	}
	args := e.AsCall().Args()
	if len(args) == 0 || args[0].Kind() != ast.IdentKind || variablesByName[args[0].AsIdent()] == nil {
		return nil
	}
	size := sizeOf(other).Union(celchecker.SizeEstimate{Min: 0, Max: MaxString})
	return &celchecker.CallEstimate{CostEstimate: celchecker.FixedCostEstimate(1), ResultSize: &size}
}

func sizeOf(n celchecker.AstNode) celchecker.SizeEstimate {
	if size := n.ComputedSize(); size != nil {
		return *size
	}
	return celchecker.UnknownSizeEstimate()
}

// regexStepCost is the cost of one instruction of a regular expression's machine
// for one character, measured: in the worst of cases each character visits each
// instruction, at about 7 ns a visit.
const regexStepCost = 0.15

// documentCost is the cost of comparing two documents, or parts of them. cel-go
// counts their uppermost elements alone.
const documentCost = MaxString

// equal knows the cost of a comparison of which both sides may be large.
func (s *estimator) equal(a, b celchecker.AstNode) *celchecker.CallEstimate {
	if !composite(a) || !composite(b) {
		return nil
	}
	return &celchecker.CallEstimate{CostEstimate: celchecker.CostEstimate{Min: 1, Max: documentCost}}
}

// composite reports whether a node may have a list or map as its value that is
// not written in the expression.
func composite(n celchecker.AstNode) bool {
	switch n.Type().Kind() {
	case types.DynKind, types.AnyKind, types.ListKind, types.MapKind:
	default:
		return false
	}
	switch n.Expr().Kind() {
	case ast.LiteralKind, ast.ListKind, ast.MapKind:
		return false
	}
	return true
}

// meter gives cel-go the cost of regular expressions and of in while it evaluates.
type meter struct {
	// steps is the number of instructions of the expression's largest one.
	steps int
}

// CallCost implements interpreter.ActualCostEstimator.
func (m meter) CallCost(_, overload string, args []ref.Val, _ ref.Val) *uint64 {
	var cost uint64
	switch overload {
	case overloads.Matches, overloads.MatchesString:
		cost = uint64(math.Ceil((1 + actualSize(args[0])) * regexStepCost * float64(m.steps)))
	case inOverload:
		cost = 1
		if _, ok := args[1].(traits.Lister); ok {
			cost = uint64(actualSize(args[1]))
		}
	default:
		return nil
	}
	return &cost
}

// actualSize is the number of characters or elements of a value, or 0 where it has
// none.
func actualSize(v ref.Val) float64 {
	if sizer, ok := v.(traits.Sizer); ok {
		if n, ok := sizer.Size().(types.Int); ok {
			return float64(n)
		}
	}
	return 0
}
