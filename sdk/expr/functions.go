package expr

import (
	"github.com/google/cel-go/common/operators"
)

// functions are the functions and operators of the language. What the environment
// has beside them is refused: it has no bound on its cost, does I/O, or is for
// protobuf messages, which expressions never see.
var functions = map[string]bool{
	operators.LogicalAnd: true, operators.LogicalOr: true, operators.LogicalNot: true, operators.Conditional: true,
	operators.Equals: true, operators.NotEquals: true,
	operators.Less: true, operators.LessEquals: true, operators.Greater: true, operators.GreaterEquals: true,
	operators.Add: true, operators.Subtract: true, operators.Multiply: true, operators.Divide: true, operators.Modulo: true,
	operators.Negate: true, operators.Index: true, operators.In: true,
	operators.OptIndex: true, operators.OptSelect: true,
	// What macros that loop expand to.
	operators.NotStrictlyFalse: true,

	"size": true, "contains": true, "startsWith": true, "endsWith": true, "matches": true,
	"int": true, "uint": true, "double": true, "string": true, "bool": true, "bytes": true,
	"timestamp": true, "duration": true, "dyn": true, "type": true,
	"getFullYear": true, "getMonth": true, "getDate": true, "getDayOfMonth": true, "getDayOfWeek": true,
	"getDayOfYear": true, "getHours": true, "getMinutes": true, "getSeconds": true, "getMilliseconds": true,

	"charAt": true, "indexOf": true, "lastIndexOf": true, "lowerAscii": true, "upperAscii": true,
	"replace": true, "split": true, "substring": true, "trim": true,

	"optional.of": true, "optional.none": true, "optional.ofNonZeroValue": true,
	"value": true, "hasValue": true, "or": true, "orValue": true,
}

// timeGetters are the functions that take the name of a time zone.
var timeGetters = map[string]bool{
	"getFullYear": true, "getMonth": true, "getDate": true, "getDayOfMonth": true, "getDayOfWeek": true,
	"getDayOfYear": true, "getHours": true, "getMinutes": true, "getSeconds": true, "getMilliseconds": true,
}
