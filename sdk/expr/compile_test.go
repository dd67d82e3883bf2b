package expr_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"policyengine.dev/sdk/expr"
)

func TestCompileRefuses(t *testing.T) {
	tests := []struct{ name, source, want string }{
		{"a variable that is misspelt", `request.metod == "GET"`, `1:1: there is no request.metod; did you mean "request.method"?`},
		{"a scope that is misspelt", `requst.path == "/"`, `1:1: requst is not known; did you mean "request"?`},
		{"a scope as a value", `auth == "me"`, `1:1: auth has no value of its own; known are auth.authenticated, auth.claims, auth.issuer, auth.scopes and auth.subject`},
		{"a function that is misspelt", `request.path.startswith("/")`, `1:24: there is no function startswith; did you mean "startsWith"?`},
		{"has() of what is always there", `has(request.method)`, `1:5: request.method is always there, so that has() does not apply to it; compare it with a value`},
		{"operands of different types", `request.method == 1`, `1:16: no == for operands of type string, int`},
		{"an index of a wrong type", `request.headers[1] == ""`, `1:16: no [] for operands of type map(string, string), int`},
		{"another type than bool", `request.path`, `1:1: the expression has the type string and not bool`},
		{"a dyn value as a condition", `metadata.beta`, `1:1: the expression has the type dyn and not bool; compare it, as in ... == true`},
		{"an assignment", `request.method = "GET"`, `1:16: = assigns nothing here; values are compared by ==`},
		{"and for &&", `true and false`, `1:6: there is no operator and; it is written &&`},
		{"an expression cut off", `request.path ==`, `1:16: the expression ends before it is complete`},
		{"an empty expression", " \n", `1:1: the expression is empty`},
		{"a source that is no text", "\xff", `1:1: the expression is not valid UTF-8`},
		{"a source over its limit", strings.Repeat("a", expr.MaxSource+1), `1:1: the expression has 4097 bytes, at most 4096 are allowed`},
		{"nesting over its limit", strings.Repeat("(", 40) + "true" + strings.Repeat(")", 40), `1:1: the expression is nested too deep: more than 32 parentheses, brackets or operators within each other`},
		{"nodes over their limit", "1 in [" + strings.Repeat("1,", 2000) + "1]", `1:1: the expression is too large: it has more than 2000 parts`},
		{"loops over their limit", `[1].all(a, [1].all(b, [1].all(c, [1].all(d, a == d))))`, `1:41: loops are nested more than 3 deep`},
		{"a computed regular expression", `request.path.matches(request.query)`, `1:29: a regular expression has to be a constant, so that it is compiled at load`},
		{"a wrong regular expression", `request.path.matches("(")`, "1:22: the regular expression does not compile: missing closing ): `(`"},
		{"a large regular expression", `request.path.matches("a{1000}b{999}")`, `1:22: the regular expression compiles to about 2001 instructions, at most 1000 are allowed`},
		{"a regular expression too large to compile", `request.path.matches("a{0,1000}b{0,1000}c{0,1000}")`, `1:22: the regular expression compiles to about 3000 instructions, at most 1000 are allowed`},
		{"a time zone by name", `request.time.getHours("Europe/Berlin") == 1`, `1:23: a time zone has to be "UTC" or a constant offset such as "+02:00"`},
		{"a function that is left out", `strings.quote(request.path) == ""`, `1:14: the function strings.quote is not part of this language`},
		{"formatting", `"%s".format([request.path]) == ""`, `1:12: the function format is not part of this language`},
		{"a message", `google.protobuf.Duration{} == duration("1s")`, `1:25: messages cannot be made in an expression`},
		{"a loop variable that hides a scope", `[1].all(request, true)`, `1:8: request is the name of what expressions read; choose another name for what the loop goes through`},
		{"a loop over a map literal", `{"b": 1, "a": 2}.all(k, k == "a")`, `1:1: an expression with a map literal can only loop over lists: the order of a map literal is not defined`},
		{"a pseudo-header", `request.headers[":path"] == "/"`, `1:16: request.headers has no ":path"; it is request.path with request.query`},
		{"a pseudo-header's presence", `":status" in response.headers`, `1:11: response.headers has no ":status"; it is response.status`},
		{"metadata as a whole", `size(metadata) == 1`, `1:6: metadata can only be read by key, as in metadata["risk"] or has(metadata.risk)`},
		{"attributes by a computed name", `attributes[request.path] == ""`, `1:1: attributes can only be read by constant names, as in attributes["source.address"]`},
		{"attributes as a whole", `attributes.all(a, a == "")`, `1:1: attributes can only be read by constant names, as in attributes["source.address"]`},
		{"a wrong timestamp", `request.time < timestamp("tomorrow")`, `1:26: invalid timestamp argument`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := expr.Compile(tt.source)
			var refused *expr.CompileError
			if !errors.As(err, &refused) {
				t.Fatalf("got %v", err)
			}
			if got, _, _ := strings.Cut(err.Error(), "\n"); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// All problems come at once, in the order of their places, each with the line that
// it is in and a caret under the column.
func TestCompileErrorShowsPlaces(t *testing.T) {
	_, err := expr.Compile("request.metod == \"GET\" &&\n\t\"é\" == auht.subject &&\n  request.path.matches(request.query)")
	want := strings.Join([]string{
		`1:1: there is no request.metod; did you mean "request.method"?`,
		` | request.metod == "GET" &&`,
		` | ^`,
		`2:9: auht is not known; did you mean "auth"?`,
		` |  "é" == auht.subject &&`,
		` |         ^`,
	}, "\n")
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}

	_, err = expr.Compile(`request.path.matches(request.query) || attributes == {}` + strings.Repeat(" ", 200) + `|| metadata == {}`)
	var refused *expr.CompileError
	if !errors.As(err, &refused) || len(refused.Problems) != 3 {
		t.Fatalf("got %v", err)
	}
	if last := refused.Problems[2]; last.Line != 1 || last.Column != 259 {
		t.Errorf("got %+v", last)
	}
	for _, line := range strings.Split(err.Error(), "\n") {
		if len(line) > 160 {
			t.Errorf("an excerpt is too long: %q", line)
		}
	}
}

// However much is wrong, the message stays readable.
func TestCompileErrorIsBounded(t *testing.T) {
	_, err := expr.Compile(strings.Repeat("a == 1 || ", 300) + "b")
	var refused *expr.CompileError
	if !errors.As(err, &refused) {
		t.Fatal(err)
	}
	if n := len(refused.Problems); n != 21 {
		t.Errorf("%d problems", n)
	}
	if last := refused.Problems[len(refused.Problems)-1].Message; !strings.HasPrefix(last, "and ") {
		t.Errorf("the last problem is %q", last)
	}
}

func TestCost(t *testing.T) {
	tests := []struct {
		name, source string
		known        bool
		refused      string
	}{
		{name: "a comparison", source: `request.method == "GET"`, known: true},
		{name: "every header's value", source: `request.headers.exists(h, request.headers[h].contains("x"))`, known: true},
		{name: "a loop within a loop", source: `auth.claims.a.exists(x, x.b.exists(y, y == "c"))`, known: true},
		{
			name: "pairs of long strings", source: `auth.claims.a.exists(x, auth.claims.b.exists(y, x == y))`,
			refused: "1:1: the expression may cost 1074136835 units, at most 500000 are allowed; " +
				"what costs most is loops within loops and regular expressions over long strings",
		},
		{
			name: "a string that grows by its length", source: `request.path.replace("", request.query) == ""`,
			refused: "1:1: the expression may cost 268469867 units, at most 500000 are allowed; " +
				"what costs most is loops within loops and regular expressions over long strings",
		},
		{name: "the parts of a string", source: `request.path.split("/").map(s, s + s).size() == 1`, known: false},
		{name: "a part of a string that is named", source: `optional.of(request.path).optMap(p, p + p).orValue("") == ""`, known: false},
		{name: "a default for a header", source: `request.headers[?"a"].orValue("").contains("b")`, known: true},
		{name: "the type of a value", source: `type(auth.claims.a) == string`, known: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := expr.Compile(tt.source)
			if tt.refused != "" {
				if err == nil || !strings.HasPrefix(err.Error(), tt.refused+"\n") {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			most, known := p.Cost()
			if known != tt.known || most == 0 || most > expr.MaxCost {
				t.Errorf("got %d, %v", most, known)
			}
		})
	}
}

// Where no bound is known at load, evaluation ends at the limit.
func TestMeteredCost(t *testing.T) {
	p, err := expr.Compile(`request.path.split("").map(s, s + s).size() > 1`)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := p.Eval(&expr.Static{RequestTarget: "/abc"}); !got || err != nil {
		t.Errorf("a short path: got %v, %v", got, err)
	}
	_, err = p.Eval(&expr.Static{RequestTarget: strings.Repeat("a", 10_000)})
	if err == nil || err.Error() != "evaluating expression: cost over the limit" {
		t.Errorf("a long path: got %v", err)
	}
}

func TestDeny(t *testing.T) {
	deny := expr.Deny(expr.ScopeResponse, "the response has not come yet")
	for _, source := range []string{
		`response.status == 200`, `response.headers["a"] == ""`, `"a" in response.headers`, `has(response.headers.a)`,
		`response.headers[?"a"].hasValue()`, `response.headers.all(h, h == "a")`, `[1].all(x, response.status == x)`,
	} {
		_, err := expr.Compile(source, deny)
		if err == nil || !strings.Contains(err.Error(), " cannot be read here: the response has not come yet\n") {
			t.Errorf("%s: got %v", source, err)
		}
		if _, err := expr.Compile(source); err != nil {
			t.Errorf("%s, where it is allowed: %v", source, err)
		}
	}
	if _, err := expr.Compile(`request.method == "response.status"`, deny); err != nil {
		t.Error(err)
	}
}

func TestReads(t *testing.T) {
	tests := []struct {
		source string
		want   expr.Reads
	}{
		{`true`, expr.Reads{}},
		{`request.method == "A" || request.method == "B"`, expr.Reads{Variables: []string{"request.method"}}},
		{
			`request.headers["X-B"] == "" && has(request.headers.a) && "c" in request.headers && request.headers[?"d"].hasValue()`,
			expr.Reads{Variables: []string{"request.headers"}, RequestHeaders: []string{"a", "c", "d", "x-b"}},
		},
		{
			`request.headers[request.method] == "" && response.headers.all(h, h != "b")`,
			expr.Reads{Variables: []string{"request.headers", "request.method", "response.headers"}, AllRequestHeaders: true, AllResponseHeaders: true},
		},
		{`request.id == ""`, expr.Reads{Variables: []string{"request.id"}, RequestHeaders: []string{"x-request-id"}}},
		{
			`response.headers["a"] == "" && attributes["b"] == 1 && "c" in attributes && has(attributes.d) && metadata[auth.subject] == 1`,
			expr.Reads{
				Variables:       []string{"attributes", "auth.subject", "metadata", "response.headers"},
				ResponseHeaders: []string{"a"}, Attributes: []string{"b", "c", "d"},
			},
		},
		{`auth.scopes.exists(s, s == route.name)`, expr.Reads{Variables: []string{"auth.scopes", "route.name"}}},
	}
	for _, tt := range tests {
		t.Run(tt.source, func(t *testing.T) {
			p, err := expr.Compile(tt.source)
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Reads(); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
	p, err := expr.Compile(`auth.subject == "" && metadata.a == 1`)
	if err != nil {
		t.Fatal(err)
	}
	for scope, want := range map[expr.Scope]bool{
		expr.ScopeAuth: true, expr.ScopeMetadata: true, expr.ScopeRequest: false, expr.ScopeResponse: false,
		expr.ScopeRoute: false, expr.ScopeAttributes: false,
	} {
		if got := p.Reads().Scope(scope); got != want {
			t.Errorf("scope %s: got %v", scope, got)
		}
	}
	if !p.Reads().Variable("auth.subject") || p.Reads().Variable("auth.issuer") {
		t.Error("Variable does not tell what is read")
	}
}
