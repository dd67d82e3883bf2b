package expr_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"policyengine.dev/sdk/expr"
)

func mustCompile(t testing.TB, source string) *expr.Program {
	t.Helper()
	p, err := expr.Compile(source)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// An error is an error: it is never false, and never absorbed by more than what
// CEL's && and || absorb.
func TestErrorsAreNotFalse(t *testing.T) {
	const missing = `request.headers["x-none"] == "a"`
	tests := []struct {
		source, err string
		want        bool
	}{
		{source: missing, err: "evaluating expression at 1:16: no such key"},
		{source: "!(" + missing + ")", err: "evaluating expression at 1:18: no such key"},
		{source: missing + " && true", err: "evaluating expression at 1:16: no such key"},
		{source: missing + " || false", err: "evaluating expression at 1:16: no such key"},
		{source: "true && " + missing, err: "evaluating expression at 1:24: no such key"},
		{source: missing + " && false", want: false},
		{source: missing + " || true", want: true},
		{source: "(" + missing + ") == true || true", want: true},
		{source: missing + " ? true : true", err: "evaluating expression at 1:16: no such key"},
		{source: `auth.scopes.all(s, ` + missing + `)`, err: "evaluating expression at 1:35: no such key"},
		{source: `auth.claims.tier > 1`, err: "evaluating expression at 1:18: a value of a type that does not fit"},
		{source: `auth.claims.roles.startsWith("a")`, err: "evaluating expression at 1:29: a value of a type that does not fit"},
		// The interpreter has one error value for these, which tells no place.
		{source: `metadata.risk.matches("a")`, err: "evaluating expression: a value of a type that does not fit"},
		{source: `true && metadata.risk.matches("b")`, err: "evaluating expression: a value of a type that does not fit"},
		{source: `auth.scopes[7] == ""`, err: "evaluating expression at 1:12: index out of range"},
		{source: `1 / (response.status - 502) == 1`, err: "evaluating expression at 1:3: division by zero"},
		{source: `response.status + 9223372036854775807 == 1`, err: "evaluating expression at 1:17: number out of range"},
		{source: `int(request.method) == 1`, err: "evaluating expression at 1:4: a value that cannot be converted"},
		{source: `timestamp(response.status * 9000000000000000) == request.time`, err: "evaluating expression: number out of range"},
		{source: `request.headers[?"x-none"].value() == ""`, err: "evaluating expression at 1:33: an optional value that is absent"},
		{source: `request.path.substring(1000) == ""`, err: "evaluating expression at 1:23: index out of range"},
	}
	for _, tt := range tests {
		t.Run(tt.source, func(t *testing.T) {
			got, err := mustCompile(t, tt.source).Eval(charge())
			if message(err) != tt.err || got != tt.want {
				t.Errorf("got %v, %v; want %v, %v", got, err, tt.want, tt.err)
			}
		})
	}
}

// What an expression reads is held to the limits in both ways of evaluation.
func TestLimits(t *testing.T) {
	long := strings.Repeat("a", expr.MaxString+1)
	half := long[:expr.MaxString/2+1]
	many := make([]string, expr.MaxElements+1)
	manyValues := make([]any, expr.MaxElements+1)
	manyEntries := map[string]any{}
	var manyFields expr.Fields
	for i := range many {
		many[i] = fmt.Sprint(i)
		manyValues[i] = "a"
		manyEntries[many[i]] = "a"
		manyFields = append(manyFields, expr.Field{Name: "h" + many[i], Value: "a"})
	}
	const tooLong, tooMany = "a string longer than 16 KiB", "a list or map of more than 256 elements"
	tests := []struct {
		name, source string
		in           expr.Static
		want         string
	}{
		{"a path", `request.path == "/"`, expr.Static{RequestTarget: "/" + long}, tooLong},
		{"a path with a long query", `request.path == "/"`, expr.Static{RequestTarget: "/?" + long}, ""},
		{"a header", `request.headers["a"] == ""`, expr.Static{RequestFields: expr.Fields{{Name: "a", Value: long}}}, tooLong},
		{"a joined header", `request.headers["a"] == ""`, expr.Static{RequestFields: expr.Fields{{Name: "a", Value: half}, {Name: "a", Value: half}}}, tooLong},
		{"a header that is not read", `request.headers["b"] == "b"`, expr.Static{RequestFields: expr.Fields{{Name: "a", Value: long}, {Name: "b", Value: "b"}}}, ""},
		{"a header's presence", `"a" in request.headers`, expr.Static{RequestFields: expr.Fields{{Name: "a", Value: long}}}, ""},
		{"the names of headers", `request.headers.all(h, h == "a") && size(request.headers) == 1`, expr.Static{RequestFields: expr.Fields{{Name: "a", Value: long}}}, ""},
		{"the values of headers", `request.headers == {"a": "a"}`, expr.Static{RequestFields: expr.Fields{{Name: "a", Value: long}}}, tooLong},
		{"headers", `size(request.headers) > 1`, expr.Static{RequestFields: manyFields}, tooMany},
		{"headers gone through", `request.headers.exists(h, h == "h1")`, expr.Static{RequestFields: manyFields}, tooMany},
		{"one of too many headers", `request.headers["h1"] == "a"`, expr.Static{RequestFields: manyFields}, ""},
		{"a query", `"a" in request.params`, expr.Static{RequestTarget: "/?a=" + long}, tooLong},
		{"parameters", `"a" in request.params`, expr.Static{RequestTarget: "/?" + strings.Repeat("a&", expr.MaxElements+1)}, tooMany},
		{"scopes", `"a" in auth.scopes`, expr.Static{Principal: &expr.Principal{Scopes: many}}, tooMany},
		{"a scope", `"a" in auth.scopes`, expr.Static{Principal: &expr.Principal{Scopes: []string{"a", long}}}, tooLong},
		{"claims", `has(auth.claims.a)`, expr.Static{Principal: &expr.Principal{Claims: manyEntries}}, tooMany},
		{"a claim", `auth.claims.a == "a"`, expr.Static{Principal: &expr.Principal{Claims: map[string]any{"a": long}}}, tooLong},
		{"a list in a claim", `"a" in auth.claims.a`, expr.Static{Principal: &expr.Principal{Claims: map[string]any{"a": manyValues}}}, tooMany},
		{"a map in a claim", `auth.claims.a.exists(k, k == "1")`, expr.Static{Principal: &expr.Principal{Claims: map[string]any{"a": manyEntries}}}, tooMany},
		{"an entry of a map in a claim", `auth.claims.a["1"] == "a"`, expr.Static{Principal: &expr.Principal{Claims: map[string]any{"a": manyEntries}}}, tooMany},
		{"an entry of a list in a claim", `auth.claims.a[0] == "a"`, expr.Static{Principal: &expr.Principal{Claims: map[string]any{"a": []any{long}}}}, tooLong},
		{"a metadata value", `metadata.a == "a"`, expr.Static{Entries: map[string]any{"a": long}}, tooLong},
		{"an attribute", `attributes["a"] == "a"`, expr.Static{EnvoyAttributes: map[string]any{"a": []byte(long)}}, tooLong},
		{"a value of a Go type", `metadata.a == 1`, expr.Static{Entries: map[string]any{"a": struct{}{}}}, "a value of a type that expressions do not know"},
		{"no time", `request.time == timestamp(0)`, expr.Static{}, "the time of the request is not known"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := mustCompile(t, tt.source).Eval(&tt.in)
			if got := message(err); !strings.HasSuffix(got, tt.want) || (tt.want == "") != (got == "") {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

// Errors go to logs: they have nothing of what was read in them.
func TestErrorsKeepSecrets(t *testing.T) {
	const secret = "s3cr3t"
	in := &expr.Static{
		RequestFields: expr.Fields{{Name: "authorization", Value: secret}},
		Entries:       map[string]any{"a": secret, "b": []any{secret}, "c": map[string]any{secret: secret}},
	}
	for _, source := range []string{
		`request.headers[request.headers["authorization"]] == ""`, `int(request.headers["authorization"]) == 1`,
		`duration(request.headers["authorization"]) == duration("1s")`, `timestamp(request.headers["authorization"]) == request.time`,
		`metadata.a > 1`, `metadata.b > 1`, `metadata.c > 1`, `metadata.c.d == 1`, `metadata[metadata.a] == 1`, `metadata.b[metadata.a] == 1`,
		`metadata.a.all(x, x)`, `metadata.b.all(x, x)`, `double(metadata.a) == 1.0`, `bool(metadata.a)`, `-metadata.a == 1`, `metadata.a[0] == 1`,
		`metadata.a ? true : false`, `!metadata.a`, `metadata.a || false`,
	} {
		_, err := mustCompile(t, source).Eval(in)
		if err == nil || strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), secret) {
			t.Errorf("%s: got %#v", source, err)
		}
	}
}

// The same input gives the same result every time, whatever order Go's maps have.
func TestEvaluationIsDeterministic(t *testing.T) {
	claims := map[string]any{}
	for i := range 50 {
		claims[fmt.Sprint("k", i)] = map[string]any{"a": 1.0, "b": 2.0}
	}
	in := &expr.Static{RequestTarget: "/?b=1&a=2&c=3", Principal: &expr.Principal{Claims: claims},
		RequestFields: expr.Fields{{Name: "b"}, {Name: "a"}, {Name: "c"}}}
	for source, want := range map[string]string{
		`auth.claims.map(k, k)[7]`:                       "k15",
		`string(auth.claims.k1.map(k, k)[0])`:            "a",
		`request.params.map(k, k)[0]`:                    "a",
		`request.headers.map(k, k)[2]`:                   "c",
		`auth.claims.filter(k, k.startsWith("k4"))[10]`:  "k49",
		`request.headers.exists(h, h == "c") ? "1" : ""`: "1",
	} {
		p, err := expr.CompileString(source)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			if got, err := p.Eval(in); got != want || err != nil {
				t.Fatalf("%s: got %q, %v", source, got, err)
			}
		}
	}
}

// Programs are shared by concurrent requests. Run under the race detector.
func TestConcurrentUse(t *testing.T) {
	type result struct {
		source, want string
	}
	var results []result
	programs := map[string]*expr.Program{}
	for _, source := range []string{
		`request.method == "POST" && request.path.startsWith("/v1/")`, `request.headers["x-none"] == ""`, `metadata.risk > "a"`, `metadata.risk.matches("a")`,
		`timestamp(response.status * 9000000000000000) == request.time`, `request.headers.exists(h, h == "accept")`, `auth.claims.roles.exists(r, r == "lead")`,
		`request.path.split("/").map(s, s + s).exists(s, s == "v1v1")`, `auth.claims.tier + 1 == 2`,
	} {
		programs[source] = mustCompile(t, source)
		got, err := programs[source].Eval(charge())
		results = append(results, result{source, fmt.Sprint(got, err)})
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			in := charge()
			for j := range 200 {
				r := results[(i+j)%len(results)]
				if got, err := programs[r.source].Eval(in); fmt.Sprint(got, err) != r.want {
					t.Errorf("%s: got %v, %v, want %s", r.source, got, err, r.want)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestStringProgram(t *testing.T) {
	tests := []struct{ source, want, err string }{
		{source: `auth.subject + ":" + request.method`, want: "svc-billing:POST"},
		{source: `request.headers[?"x-key"].orValue(auth.subject)`, want: "svc-billing"},
		{source: `auth.authenticated ? auth.subject : attributes["source.address"] + ""`, want: "svc-billing"},
		{source: `string(auth.claims.org.id)`, want: "o-1"},
		{source: `request.host.lowerAscii()`, want: "api.example.com"},
		{source: `request.path.split("/")[1]`, want: "v1"},
		{source: `request.headers["x-none"]`, err: "evaluating expression at 1:16: no such key"},
	}
	for _, tt := range tests {
		t.Run(tt.source, func(t *testing.T) {
			p, err := expr.CompileString(tt.source)
			if err != nil {
				t.Fatal(err)
			}
			got, err := p.Eval(charge())
			if got != tt.want || message(err) != tt.err {
				t.Errorf("got %q, %v", got, err)
			}
			again, err := p.Interpret(charge())
			if again != tt.want || message(err) != tt.err {
				t.Errorf("the interpreter: got %q, %v", again, err)
			}
		})
	}
	_, err := expr.CompileString(`auth.claims.tier`)
	if err == nil || !strings.HasPrefix(err.Error(), "1:1: the expression has the type dyn and not string; convert it, as in string(...)\n") {
		t.Errorf("a dyn value: got %v", err)
	}
}

func TestValueProgram(t *testing.T) {
	tests := []struct {
		source string
		want   any
		err    string
	}{
		{source: `auth.claims.roles`, want: []any{"clerk", "lead"}},
		{source: `auth.claims.org`, want: map[string]any{"id": "o-1"}},
		{source: `auth.claims.none`, want: nil},
		{source: `auth.claims.level`, want: 3.0},
		{source: `response.status`, want: int64(502)},
		{source: `2u`, want: uint64(2)},
		{source: `b"ab"`, want: []byte("ab")},
		{source: `auth.authenticated`, want: true},
		{source: `request.time`, want: charge().RequestTime},
		{source: `duration("2s")`, want: 2 * time.Second},
		{source: `{"a": [request.method]}`, want: map[string]any{"a": []any{"POST"}}},
		{source: `response.headers`, want: map[string]any{"server": "up"}},
		{source: `request.params["tag"]`, want: []any{"a", "b/c d"}},
		{source: `request.headers[?"x-none"]`, want: nil},
		{source: `request.headers[?"x-debug"]`, want: "on"},
		{source: `auth.scopes`, want: []any{"payments:read", "payments:write"}},
		{source: `type(1)`, err: "evaluating expression: a value of a type that expressions do not know"},
		{source: `{1: 2}`, err: "evaluating expression: a value of a type that expressions do not know"},
		{source: `auth.claims.nope`, err: "evaluating expression at 1:12: no such key"},
	}
	for _, tt := range tests {
		t.Run(tt.source, func(t *testing.T) {
			p, err := expr.CompileValue(tt.source)
			if err != nil {
				t.Fatal(err)
			}
			got, err := p.Eval(charge())
			if !reflect.DeepEqual(got, tt.want) || message(err) != tt.err {
				t.Errorf("got %#v, %v", got, err)
			}
		})
	}
}

// Numbers of a document keep their value however they were decoded.
func TestNumbers(t *testing.T) {
	in := &expr.Static{Entries: map[string]any{
		"exact": json.Number("9007199254740993"), "float": 3.0, "int": 3, "int64": int64(3), "number": json.Number("3"), "big": int64(9007199254740993), "fraction": json.Number("2.5"),
	}}
	for _, source := range []string{
		`metadata.float == 3`, `metadata.int == 3`, `metadata.int64 == 3.0`, `metadata.number == 3`, `metadata.big == 9007199254740993`,
		`metadata.exact != 9007199254740992`, `metadata.exact == 9007199254740993`, `metadata.big != 9007199254740992`, `metadata.fraction > 2`, `metadata.float >= 3 && metadata.int <= 3.5`, `2 < metadata.int`, `metadata.float != "3"`,
	} {
		p := mustCompile(t, source)
		for way, eval := range map[string]func(expr.Input) (bool, error){"Eval": p.Eval, "interpreter": p.Interpret} {
			if got, err := eval(in); !got || err != nil {
				t.Errorf("%s by %s: got %v, %v", source, way, got, err)
			}
		}
	}
}

func TestHost(t *testing.T) {
	p, err := expr.CompileString(`request.host`)
	if err != nil {
		t.Fatal(err)
	}
	for authority, want := range map[string]string{
		"": "", "a": "a", "A.example": "a.example", "a:80": "a", "a:": "a", "[::1]": "[::1]", "[::1]:80": "[::1]", "[FE80::1]:80": "[fe80::1]",
		"10.0.0.1:80": "10.0.0.1", "user:secret@a:80": "a",
	} {
		if got, err := p.Eval(&expr.Static{RequestAuthority: authority}); got != want || err != nil {
			t.Errorf("%q: got %q, %v", authority, got, err)
		}
	}
}

// Fields that are not headers are not in the maps, whoever put them there.
func TestPseudoHeadersAreNotHeaders(t *testing.T) {
	in := &expr.Static{RequestFields: expr.Fields{{Name: ":path", Value: "/"}, {Name: "", Value: "a"}}, RouteName: ":path"}
	for _, source := range []string{
		`size(request.headers) == 0`, `!(route.name in request.headers)`, `!request.headers[?route.name].hasValue()`, `!request.headers.exists(h, h == "")`,
	} {
		if got, err := mustCompile(t, source).Eval(in); !got || err != nil {
			t.Errorf("%s: got %v, %v", source, got, err)
		}
	}
	if _, err := mustCompile(t, `request.headers[route.name] == "/"`).Eval(in); err == nil {
		t.Error("the path is a header")
	}
}

// Bytes that are no UTF-8 are the same in both ways.
func TestInvalidUTF8(t *testing.T) {
	in := &expr.Static{RequestFields: expr.Fields{{Name: "a", Value: "A\xffB"}}}
	for _, source := range []string{
		`request.headers["a"].lowerAscii() == "a\uFFFDb"`, `size(request.headers["a"]) == 3`, `request.headers["a"] != "A\uFFFDB"`,
		`request.headers["a"].endsWith("B")`, `request.headers["a"].matches("^A.B$")`,
	} {
		p := mustCompile(t, source)
		for way, eval := range map[string]func(expr.Input) (bool, error){"Eval": p.Eval, "interpreter": p.Interpret} {
			if got, err := eval(in); !got || err != nil {
				t.Errorf("%s by %s: got %v, %v", source, way, got, err)
			}
		}
	}
}
