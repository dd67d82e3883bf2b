package strictjson_test

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"policyengine.dev/policies/jwt-validation/internal/strictjson"
)

func TestObject(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       map[string]any
	}{
		{"empty", `{}`, map[string]any{}},
		{"white space everywhere", " {\t\"a\" :\n1 , \"b\":[ ]\r} ", map[string]any{"a": 1.0, "b": []any{}}},
		{"every kind of value", `{"s":"x","n":-1.5e2,"t":true,"f":false,"z":null,"l":[1,"a",[]],"o":{"p":{}}}`, map[string]any{
			"s": "x", "n": -150.0, "t": true, "f": false, "z": nil, "l": []any{1.0, "a", []any{}}, "o": map[string]any{"p": map[string]any{}}}},
		{"every escape", `{"a":"\"\\\/\b\f\n\r\tA\u00e9\ud83d\ude00z"}`, map[string]any{"a": "\"\\/\b\f\n\r\tA\u00e9\U0001f600z"}},
		{"an escaped name", `{"is\u0073":1}`, map[string]any{"iss": 1.0}},
		{"UTF-8", `{"é":"ü"}`, map[string]any{"é": "ü"}},
		{"zero and a large integer", `{"a":0,"b":12345678901234567890,"c":-0}`, map[string]any{"a": 0.0, "b": json.Number("12345678901234567890"), "c": 0.0}},
		{"the same name at two levels", `{"a":{"a":1}}`, map[string]any{"a": map[string]any{"a": 1.0}}},
		{"as deep as may be", deep(strictjson.MaxDepth), nest(strictjson.MaxDepth)},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, _, err := strictjson.Object(c.text)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
}

func TestObjectRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":                     ``,
		"white space":                 ` `,
		"an array":                    `[]`,
		"a string":                    `"a"`,
		"two values":                  `{}{}`,
		"a NUL after the end":         "{}\x00",
		"a NUL inside":                "{\x00}",
		"a name twice":                `{"iss":"a","iss":"b"}`,
		"a name twice, once escaped":  `{"iss":"a","is\u0073":"b"}`,
		"a name twice, deeper":        `{"a":[{"b":1,"b":1}]}`,
		"a comma at the end":          `{"a":1,}`,
		"a comma in an array's end":   `{"a":[1,]}`,
		"no colon":                    `{"a" 1}`,
		"no comma":                    `{"a":1 "b":2}`,
		"no comma in an array":        `{"a":[1 2]}`,
		"a name without quotes":       `{a:1}`,
		"no value":                    `{"a":}`,
		"an open object":              `{"a":1`,
		"an open array":               `{"a":[1`,
		"an open string":              `{"a":"b`,
		"an open escape":              `{"a":"b\`,
		"an unknown escape":           `{"a":"\x"}`,
		"a short unicode escape":      `{"a":"\u12`,
		"a unicode escape of letters": `{"a":"\uzzzz"}`,
		"half a surrogate pair":       `{"a":"\ud83d"}`,
		"a pair the wrong way round":  `{"a":"\ude00\ud83d"}`,
		"a control character":         "{\"a\":\"\n\"}",
		"a control after an escape":   "{\"a\":\"\\n\n\"}",
		"invalid UTF-8":               "{\"a\":\"\xff\"}",
		"invalid UTF-8 and an escape": "{\"a\":\"\\n\xff\"}",
		"a leading zero":              `{"a":01}`,
		"a plus":                      `{"a":+1}`,
		"a point without digits":      `{"a":1.}`,
		"no digits before the point":  `{"a":.5}`,
		"an exponent without digits":  `{"a":1e}`,
		"a lone minus":                `{"a":-}`,
		"too large a number":          `{"a":1e999}`,
		"NaN":                         `{"a":NaN}`,
		"a word cut short":            `{"a":tru}`,
		"a word too long":             `{"a":truee}`,
		"a comment":                   `{/**/}`,
		"a byte order mark":           "\ufeff{}",
		"too deep":                    deep(strictjson.MaxDepth + 1),
	} {
		t.Run(name, func(t *testing.T) {
			want := strictjson.ErrSyntax
			switch {
			case strings.Contains(name, "twice"):
				want = strictjson.ErrTwice
			case strings.Contains(name, "UTF-8"), strings.Contains(name, "pair"):
				want = strictjson.ErrUTF8
			case name == "too deep":
				want = strictjson.ErrDepth
			case name == "too large a number":
				want = strictjson.ErrNumber
			}
			if got, _, err := strictjson.Object(text); err != want {
				t.Errorf("Object(%q) = %v, %v; want %v", text, got, err, want)
			}
		})
	}
}

func TestString(t *testing.T) {
	for _, c := range []struct {
		name, text, want string
		ok               bool
	}{
		{"the first member", `{"iss":"a","x":1}`, "a", true},
		{"the last member", `{"x":{"iss":"b","y":[1,{"iss":"c"},[]]},"z":{},"w":"iss", "iss" : "a" }`, "a", true},
		{"an escaped name and value", `{"is\u0073":"\u0061"}`, "a", true},
		{"an empty value", `{"iss":""}`, "", true},
		{"twice", `{"iss":"a","iss":"b"}`, "a", true},
		{"what follows does not matter", `{"iss":"a"!`, "a", true},
		{"no such member", `{"x":"a"}`, "", false},
		{"nothing", `{}`, "", false},
		{"a number", `{"iss":1}`, "", false},
		{"null", `{"iss":null}`, "", false},
		{"a list", `{"iss":["a"]}`, "", false},
		{"broken before it", `{"x":01,"iss":"a"}`, "", false},
		{"no colon before it", `{"x" 1,"iss":"a"}`, "", false},
		{"an open list before it", `{"x":[1,"iss":"a"}`, "", false},
		{"a number for a name, deeper", `{"x":{1:2},"iss":"a"}`, "", false},
		{"no array's end", `{"x":[1},"iss":"a"}`, "", false},
		{"too deep before it", `{"x":` + deep(strictjson.MaxDepth) + `,"iss":"a"}`, "", false},
		{"deep before it", `{"x":` + deep(strictjson.MaxDepth-1) + `,"iss":"a"}`, "a", true},
		{"an array", `["iss","a"]`, "", false},
		{"empty", ``, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, ok := strictjson.String(c.text, "iss"); got != c.want || ok != c.ok {
				t.Errorf("%q, %v; want %q, %v", got, ok, c.want, c.ok)
			}
		})
	}
}

// The size that is told is about what the garbage collector sees, whatever the
// object is made of: a cache that goes by it stays within its bound.
func TestObjectSize(t *testing.T) {
	list := func(n int, element string) string {
		return `{"a":[` + strings.TrimSuffix(strings.Repeat(element+",", n), ",") + `]}`
	}
	members := func(n int, value string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"%d":%s`, i, value)
		}
		return "{" + b.String()[1:] + "}"
	}
	for name, text := range map[string]string{
		"usual claims": claims, "numbers": list(1000, "1"), "strings": list(1000, `"a"`), "empty lists": list(1000, "[]"), "lists": list(500, "[1]"),
		"empty objects": list(1000, "{}"), "objects": list(500, `{"a":1}`), "members": members(1000, "1"), "few members": members(3, `"x"`),
		"escapes": list(300, `"\\u0061aaaaaaaaaaaaaaaaaaaaaaaaa"`), "deep": deep(strictjson.MaxDepth), "nulls": list(1000, "null"),
	} {
		const copies = 200
		kept := make([]map[string]any, copies)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		size := 0
		for i := range kept {
			m, n, err := strictjson.Object(strings.Clone(text))
			if err != nil {
				t.Fatal(err)
			}
			kept[i], size = m, n
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		runtime.KeepAlive(kept)
		got := int(after.HeapAlloc-before.HeapAlloc) / copies
		if t.Logf("%s: %d bytes, and %d were told", name, got, size); got > size*5/4+64 || size > 5*got {
			t.Errorf("%s: %d bytes, and %d were told", name, got, size)
		}
	}
}

// deep is an object in an object, depth in all.
func deep(depth int) string {
	return strings.Repeat(`{"a":`, depth-1) + `{}` + strings.Repeat(`}`, depth-1)
}

func nest(depth int) map[string]any {
	m := map[string]any{}
	for range depth - 1 {
		m = map[string]any{"a": m}
	}
	return m
}

// asDoubles has a json.Number compared as what encoding/json makes of it.
var asDoubles = cmp.FilterValues(func(a, b any) bool {
	_, isNumberA := a.(json.Number)
	_, isNumberB := b.(json.Number)
	return isNumberA != isNumberB
}, cmp.Comparer(func(a, b any) bool {
	double := func(v any) any {
		if n, ok := v.(json.Number); ok {
			f, err := n.Float64()
			if err != nil {
				return err
			}
			return f
		}
		return v
	}
	return double(a) == double(b)
}))

// What this package accepts, encoding/json accepts and understands in the same way.
func FuzzObject(f *testing.F) {
	f.Add(`{"iss":"https://issuer.example","aud":["a","b"],"exp":1300819380.5,"x":{"y":null}}`)
	f.Add(`{"a":"\"\\\/\b\f\n\r\tA\u00e9\ud83d\ude00z","b":-12.5e-3,"c":true,"d":false}`)
	f.Add(`{"a":1,"a":2}`)
	f.Add(`{"a":1e999}`)
	f.Fuzz(func(t *testing.T, text string) {
		iss, found := strictjson.String(text, "iss")
		got, _, err := strictjson.Object(text)
		if err != nil {
			return
		}
		if want, ok := got["iss"].(string); ok != found || want != iss {
			t.Fatalf("%q: String gives %q, %v; want %q, %v", text, iss, found, want, ok)
		}
		if !utf8.ValidString(text) {
			t.Fatalf("accepted %q, which is not UTF-8", text)
		}
		var want map[string]any
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatalf("accepted %q, which encoding/json refuses: %v", text, err)
		}
		if d := cmp.Diff(want, got, asDoubles); d != "" {
			t.Fatalf("%q (-encoding/json +strictjson)\n%s", text, d)
		}
	})
}

var claims = `{"iss":"https://issuer.example.com/","sub":"auth0|123456789","aud":["https://api.example.com","x"],"exp":1795354000,"iat":1795350400,"nbf":1795350400,"jti":"abcdefghijklmnop","scope":"openid profile email payments:write","azp":"client","email":"a@b.example","roles":["admin","user"]}`

func BenchmarkObject(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := strictjson.Object(claims); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodingJSON(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		var m map[string]any
		if err := json.Unmarshal([]byte(claims), &m); err != nil {
			b.Fatal(err)
		}
	}
}
