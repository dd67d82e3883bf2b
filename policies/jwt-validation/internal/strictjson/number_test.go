package strictjson_test

import (
	"encoding/json"
	"math/big"
	"testing"

	"policyengine.dev/policies/jwt-validation/internal/strictjson"
)

func TestNumber(t *testing.T) {
	for text, want := range map[string]any{
		"0": 0.0, "-0": 0.0, "7": 7.0, "-7": -7.0, "1300819380": 1300819380.0, "1300819380.5": 1300819380.5,
		"9007199254740991": float64(1<<53 - 1), "-9007199254740991": -float64(1<<53 - 1),
		"9007199254740992": json.Number("9007199254740992"), "9007199254740993": json.Number("9007199254740993"),
		"-9007199254740993": json.Number("-9007199254740993"), "18446744073709551616": json.Number("18446744073709551616"),
		"1e3": 1000.0, "1E+3": 1000.0, "1e300": 1e300, "0.1": 0.1, "123456789012345e-5": 1234567890.12345, "0e400": 0.0, "0.000": 0.0,
		"0.10000000000000001": json.Number("0.10000000000000001"), "1700000000.1234567": json.Number("1700000000.1234567"),
		"7.00000000000000001": json.Number("7.00000000000000001"), "9007199254740993.0": json.Number("9007199254740993.0"),
		"9007199254740993e0": json.Number("9007199254740993e0"), "1e-400": json.Number("1e-400"), "1.5e-310": json.Number("1.5e-310"),
	} {
		if got, ok := strictjson.Number(text); !ok || got != want {
			t.Errorf("%s is %#v, %v; want %#v", text, got, ok, want)
		}
	}
	for _, text := range []string{"1e309", "-1e999"} {
		if got, ok := strictjson.Number(text); ok {
			t.Errorf("%s is %v", text, got)
		}
	}
}

// Numbers that differ have values that differ.
func FuzzNumbersAreApart(f *testing.F) {
	f.Add("9007199254740992", "9007199254740993")
	f.Add("0.1", "0.10000000000000001")
	f.Add("1e16", "10000000000000001")
	f.Add("4503599627370496.5", "4503599627370497")
	f.Add("0", "1e-400")
	f.Fuzz(func(t *testing.T, a, b string) {
		if len(a) > 400 || len(b) > 400 || !json.Valid([]byte(a)) || !json.Valid([]byte(b)) {
			return
		}
		va, okA := strictjson.Number(a)
		vb, okB := strictjson.Number(b)
		if !okA || !okB || va != vb {
			return
		}
		ra, okA := new(big.Rat).SetString(a)
		rb, okB := new(big.Rat).SetString(b)
		if okA && okB && ra.Cmp(rb) != 0 {
			t.Errorf("%s and %s are both %#v", a, b, va)
		}
	})
}
