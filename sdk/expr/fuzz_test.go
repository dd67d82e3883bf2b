package expr_test

import (
	"errors"
	"fmt"
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
		text := hereText((&generator{rest: source}).boolean(3))
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

// FuzzCompile holds the compiler to its promises for any bytes: an error that names
// places, or a program with a bounded cost that evaluates to a result or an error.
func FuzzCompile(f *testing.F) {
	for _, v := range expr.Variables() {
		f.Add(v.Example)
	}
	for _, source := range []string{
		``, `(`, `a.b`, `"\u"`, `[1].map(x, x)`, `{1: 2}[1]`, `request.headers[?"a"].orValue("b")`, `request.path.matches("(a|b)*")`,
		`optional.of(1).optMap(x, x + 1).value() == 2`, `request.path.split("/").map(s, s + s)`, `true ? 1 : 2u`, `-9223372036854775808`,
		`timestamp("2026-01-01T00:00:00Z").getHours("+01:00")`, `b"\xff" == bytes("a")`, `metadata.?a.?b.orValue(1)`, `dyn([1])[0.0]`,
	} {
		f.Add(source)
	}
	f.Fuzz(func(t *testing.T, source string) {
		p, err := expr.CompileValue(source)
		if err != nil {
			var refused *expr.CompileError
			if !errors.As(err, &refused) || len(refused.Problems) == 0 {
				t.Fatalf("%q: %v", source, err)
			}
			for _, problem := range refused.Problems {
				if problem.Line < 1 || problem.Column < 1 || problem.Message == "" {
					t.Fatalf("%q: %+v", source, problem)
				}
			}
			if n := len(err.Error()); n > 16<<10 {
				t.Fatalf("%q: a message of %d bytes", source, n)
			}
			return
		}
		if most, _ := p.Cost(); most > expr.MaxCost {
			t.Fatalf("%q: a cost of %d", source, most)
		}
		first, firstErr := p.Eval(charge())
		again, againErr := p.Eval(charge())
		if message(firstErr) != message(againErr) || fmt.Sprint(first) != fmt.Sprint(again) {
			t.Fatalf("%q: first %v, %v, then %v, %v", source, first, firstErr, again, againErr)
		}
	})
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
