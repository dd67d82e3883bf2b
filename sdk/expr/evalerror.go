package expr

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/interpreter"
)

// EvalError says that an expression has no value for an input: a map lacks a key,
// a value has another type than the expression needs, and the like. It names the
// place in the expression and the kind of failure, and nothing of the input, so
// that it can be logged.
type EvalError struct {
	// Source is the expression.
	Source string
	// Line and Column are the place in it, from 1; 0 where it is not known.
	// Columns count code points.
	Line, Column int
	// Reason is one of a fixed set of texts.
	Reason string
}

// TooLarge reports whether the input is larger than an expression may read
// ([MaxString], [MaxElements]), or would cost more than it may ([MaxMeteredCost]): what a
// client can bring about by what it sends.
func (e *EvalError) TooLarge() bool {
	switch e.Reason {
	case reasonTooLong, reasonTooMany, reasonCost:
		return true
	}
	return false
}

// Error implements error.
func (e *EvalError) Error() string {
	if e.Line == 0 {
		return "evaluating expression: " + e.Reason
	}
	return fmt.Sprintf("evaluating expression at %d:%d: %s", e.Line, e.Column, e.Reason)
}

// The reasons of an EvalError.
const (
	reasonNoSuchKey      = "no such key"
	reasonNoSuchOverload = "a value of a type that does not fit"
	reasonBadIndex       = "index out of range"
	reasonDivision       = "division by zero"
	reasonOverflow       = "number out of range"
	reasonConversion     = "a value that cannot be converted"
	reasonTooLong        = "a string longer than 16 KiB"
	reasonTooMany        = "a list or map of more than 256 elements"
	reasonInexact        = "a floating-point number so large that it is not exact"
	reasonUnknownTime    = "the time of the request is not known"
	reasonUnreadable     = "a value of a type that expressions do not know"
	reasonEmptyOptional  = "an optional value that is absent"
	reasonCost           = "cost over the limit"
	reasonOther          = "no result"
)

// failure is an error that this package gives to the interpreter.
type failure string

func (f failure) Error() string { return string(f) }

// newFailure makes a new error value each time: the interpreter writes into it.
func newFailure(reason string) ref.Val { return types.WrapErr(failure(reason)) }

// sharedErrorID marks the error values that the interpreter shares between all
// programs and into each of which it writes the first expression id that it comes
// upon. Written here, once, they are only read afterwards: evaluations do not race
// for them, and no place of another expression is taken for one of this.
const sharedErrorID = math.MaxInt64

func init() {
	types.LabelErrNode(sharedErrorID, types.NoSuchOverloadErr())
	types.LabelErrNode(sharedErrorID, types.Int(math.MaxInt64).ConvertToType(types.TimestampType))
}

// reasonOf tells what kind of failure the interpreter's error is.
func reasonOf(err error) string {
	var f failure
	if errors.As(err, &f) {
		return string(f)
	}
	var cancelled interpreter.EvalCancelledError
	if errors.As(err, &cancelled) {
		return reasonCost
	}
	text := err.Error()
	for _, k := range reasonsByText {
		if strings.Contains(text, k.text) {
			return k.reason
		}
	}
	return reasonOther
}

// reasonsByText has the interpreter's messages, which are not typed.
var reasonsByText = []struct{ text, reason string }{
	{"no such key", reasonNoSuchKey},
	{"no such overload", reasonNoSuchOverload},
	{"index out of", reasonBadIndex},
	{"division by zero", reasonDivision},
	{"modulus by zero", reasonDivision},
	{"overflow", reasonOverflow},
	{"optional.none() dereference", reasonEmptyOptional},
	{"conver", reasonConversion},
	{"invalid", reasonConversion},
}
