package expr_test

import (
	"errors"
	"testing"

	"policyengine.dev/sdk/expr"
)

// FuzzQuickWay holds the quick way of evaluation to the interpreter: the same
// result or the same error for any expression and input. It also holds what the
// interpreter spends to what was estimated when the expression was compiled.
func FuzzQuickWay(f *testing.F) {
	f.Add([]byte{}, []byte{})
	f.Add([]byte{0, 6, 1, 0, 0, 3, 1}, []byte{1, 2, 3, 4, 5, 6})
	f.Fuzz(func(t *testing.T, source, input []byte) {
		text := (&generator{rest: source}).boolean(3)
		p, err := expr.Compile(text)
		if err != nil {
			var refused *expr.CompileError
			if !errors.As(err, &refused) {
				t.Fatalf("%s: %v", text, err)
			}
			return
		}
		in := (&generator{rest: input}).input()
		got, gotErr := p.Eval(in)
		want, wantErr := p.Interpret(in)
		if got != want || message(gotErr) != message(wantErr) {
			t.Fatalf("%s\nover %+v\nquick way: %v, %v\ninterpreter: %v, %v", text, in, got, gotErr, want, wantErr)
		}
		checkCost(t, p, in)
	})
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
