package expr_test

import (
	"encoding/json"
	"testing"

	"policyengine.dev/sdk/expr"
)

// Comparisons give what cel-go gives over plain values, or an error where a value
// is over the limits.
func TestComparisons(t *testing.T) {
	const tooLong = "a string longer than 16 KiB"
	const tooMany = "a list or map of more than 256 elements"
	const inexact = "a floating-point number so large that it is not exact"
	in := &expr.Static{
		RequestFields:  expr.Fields{{Name: "A", Value: "x"}},
		ResponseFields: manyFields,
		Principal: &expr.Principal{Claims: map[string]any{
			"map": map[string]any{"id": 1.0}, "list": []any{"a"}, "bytes": []byte("a"), "none": nil, "number": 1.0, "text": "admin",
			"long": map[string]any{"a": long, "b": 1.0}, "longList": []any{long, "a"}, "strings": map[string]string{"a": long},
			"large": json.Number("9007199254740993"), "next": json.Number("9007199254740992"), "huge": json.Number("18446744073709551615"),
			"float": 9007199254740992.0, "fraction": json.Number("9007199254740992.5"), "exponent": 1e300,
		}},
	}
	tests := []struct {
		name, source string
		want         bool
		reason       string
	}{
		{"a map is in no list of constants", `auth.claims.map in ["admin", "user"]`, false, ""},
		{"a list is in no list of constants", `auth.claims.list in ["admin", "user"]`, false, ""},
		{"bytes are in no list of strings", `auth.claims.bytes in ["admin", "user"]`, false, ""},
		{"bytes are in no map", `!(auth.claims.bytes in {"admin": 1}) && !(auth.claims.bytes in {1: 1})`, true, ""},
		{"null is in no list of strings", `auth.claims.none in ["admin", "user"]`, false, ""},
		{"a number is in a list of whole numbers", `auth.claims.number in [1, 2]`, true, ""},
		{"a string is in the list", `auth.claims.text in ["admin", "user"]`, true, ""},
		{"a map is in a list that has it", `auth.claims.map in [{"id": 1}]`, true, ""},
		{"not in", `!(auth.claims.map in ["admin", "user"])`, true, ""},

		{"names of headers are equal as they are stored", `{"a": "x"} == request.headers`, true, ""},
		{"and the other way round", `request.headers == {"a": "x"}`, true, ""},
		{"names in another case are other names", `{"A": "x"} == request.headers`, false, ""},
		{"and are so the other way round", `request.headers == {"A": "x"}`, false, ""},
		{"within a list", `[{"A": "x"}] == [request.headers]`, false, ""},
		{"within a list, the other way round", `[request.headers] == [{"A": "x"}]`, false, ""},
		{"as an element", `{"A": "x"} in [request.headers]`, false, ""},
		{"looked up in a copy, names match whatever their case", `(auth.authenticated ? request.headers : {})["A"] == "x"`, true, ""},
		{"a map of headers that is too large is an error", `{} == response.headers`, false, tooMany},
		{"and so it is in a loop that reads no name", `size(response.headers.map(h, 1)) == 1`, false, tooMany},
		{"an empty map is the zero value", `!optional.ofNonZeroValue(auth.claims.filter(k, false)).hasValue()`, true, ""},

		{"maps that differ in a value that can be read", `auth.claims.long == {"a": dyn("a"), "b": dyn(2.0)}`, false, ""},
		{"maps that would be equal but for a value over the limits", `auth.claims.long == {"a": dyn("a"), "b": dyn(1.0)}`, false, tooLong},
		{"a map over the limits is not equal to itself", `auth.claims.long == auth.claims.long`, false, tooLong},
		{"nor is it unequal", `auth.claims.long != auth.claims.long`, false, tooLong},
		{"the element is in the list", `"a" in auth.claims.longList`, true, ""},
		{"the list has an element that cannot be read", `"b" in auth.claims.longList`, false, tooLong},
		{"a map of strings is held to the limits", `auth.claims.strings.a == "a"`, false, tooLong},
		{"its presence is not", `has(auth.claims.strings.a) && has(auth.claims.long.a)`, true, ""},

		{"whole numbers are exact", `auth.claims.large == 9007199254740993`, true, ""},
		{"their neighbour is another", `auth.claims.large == 9007199254740992`, false, ""},
		{"and so it is in a list", `auth.claims.large in [9007199254740992, 9007199254740994]`, false, ""},
		{"they are in a list that has them", `auth.claims.large in [9007199254740993]`, true, ""},
		{"claims that differ by one", `auth.claims.large == auth.claims.next`, false, ""},
		{"unsigned numbers are exact", `auth.claims.huge == 18446744073709551615u && auth.claims.huge != 18446744073709551614u`, true, ""},
		{"a double that stands for several whole numbers", `auth.claims.float == 9007199254740993`, false, inexact},
		{"and in a list", `auth.claims.float in [9007199254740993]`, false, inexact},
		{"and in an order", `auth.claims.float >= 1`, false, inexact},
		{"a fraction of that size", `auth.claims.fraction == 9007199254740992`, false, inexact},
		{"a double that is computed", `auth.claims.large == double("9007199254740992")`, false, inexact},
		{"a double that is computed, and far from it", `auth.claims.large != double("9007199254740996") && auth.claims.number != double("9007199254740996")`, true, ""},
		{"a double beyond all whole numbers", `auth.claims.exponent > 1 && auth.claims.exponent != 18446744073709551615u`, true, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := mustCompile(t, tt.source)
			for way, eval := range map[string]func(expr.Input) (bool, error){"Eval": p.Eval, "interpreter": p.Interpret} {
				got, err := eval(in)
				reason := ""
				if err != nil {
					reason = err.(*expr.EvalError).Reason
				}
				if got != tt.want || reason != tt.reason {
					t.Errorf("%s by %s: got %v, %v", tt.source, way, got, err)
				}
			}
		})
	}
}

// The presence of a header is the same by both ways of evaluation, whatever its size.
func TestPresenceOfLongHeader(t *testing.T) {
	in := &expr.Static{RequestFields: expr.Fields{{Name: "cookie", Value: long}}}
	for _, source := range []string{
		`has(request.headers.cookie)`, `"cookie" in request.headers`, `request.headers[?"cookie"].hasValue()`,
		`[1].all(x, has(request.headers.cookie))`, `optional.of(request.headers).?cookie.hasValue()`,
	} {
		p := mustCompile(t, source)
		for way, eval := range map[string]func(expr.Input) (bool, error){"Eval": p.Eval, "interpreter": p.Interpret} {
			if got, err := eval(in); !got || err != nil {
				t.Errorf("%s by %s: got %v, %v", source, way, got, err)
			}
		}
	}
}

// A constant that stands for several whole numbers is refused at load.
func TestInexactConstants(t *testing.T) {
	for source, refused := range map[string]bool{
		`auth.claims.a == 9007199254740992.0`: true, `auth.claims.a == -9007199254740993.0`: true, `auth.claims.a < 1e18`: true, `auth.claims.a in [1e16]`: true,
		`auth.claims.a == 9007199254740993`: false, `auth.claims.a < 9007199254740991.0`: false, `auth.claims.a < 1e30`: false,
	} {
		if _, err := expr.Compile(source); (err != nil) != refused {
			t.Errorf("%s: got %v", source, err)
		}
	}
}
