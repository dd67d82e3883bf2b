package expr

import (
	"fmt"
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/ext"
)

// environment is the language: the documented variables, CEL's standard library
// and macros, optional values, and the string functions of cel-go's version 5. It
// is immutable, made once, and shared by all programs; [functions] narrows it.
var environment = sync.OnceValue(func() *cel.Env {
	opts := []cel.EnvOption{
		cel.StdLib(),
		cel.OptionalTypes(cel.OptionalTypesVersion(1)),
		ext.Strings(ext.StringsVersion(5)),
		cel.CustomTypeAdapter(adapter{}),
		cel.DefaultUTCTimeZone(true),
		cel.ParserRecursionLimit(MaxNesting),
		cel.ParserExpressionSizeLimit(MaxSource),
		cel.ExpressionNodeLimit(MaxNodes),
		cel.ASTValidators(
			cel.ValidateDurationLiterals(),
			cel.ValidateTimestampLiterals(),
			cel.ValidateHomogeneousAggregateLiterals(),
		),
	}
	for i := range variables {
		opts = append(opts, cel.Variable(variables[i].doc.Name, variables[i].typ))
	}
	env, err := cel.NewCustomEnv(opts...)
	if err != nil {
		// Nothing of it depends on input: a test makes one.
		panic(fmt.Sprintf("making the CEL environment: %v", err))
	}
	return env
})
