package expr_test

import (
	"strings"
	"time"

	"policyengine.dev/sdk/expr"
)

// generator makes expressions and inputs of bytes: the same bytes give the same
// ones, and any bytes give some.
type generator struct{ rest []byte }

func (g *generator) below(n int) int {
	if len(g.rest) == 0 {
		return 0
	}
	b := g.rest[0]
	g.rest = g.rest[1:]
	return int(b) % n
}

func pick[T any](g *generator, of ...T) T { return of[g.below(len(of))] }

// boolean is an expression of type bool.
func (g *generator) boolean(depth int) string {
	if depth == 0 {
		return pick(g, "true", "false", "auth.authenticated", `request.method == "GET"`)
	}
	switch g.below(20) {
	case 0, 1:
		return "(" + g.boolean(depth-1) + " && " + g.boolean(depth-1) + ")"
	case 2, 3:
		return "(" + g.boolean(depth-1) + " || " + g.boolean(depth-1) + ")"
	case 4:
		return "!" + g.boolean(depth-1)
	case 5:
		return "(" + g.boolean(depth-1) + " ? " + g.boolean(depth-1) + " : " + g.boolean(depth-1) + ")"
	case 6, 7:
		return g.text(depth-1) + pick(g, " == ", " != ", " < ", " <= ", " > ", " >= ") + g.text(depth-1)
	case 8:
		return g.text(depth-1) + "." + pick(g, "startsWith", "endsWith", "contains") + "(" + g.text(depth-1) + ")"
	case 9:
		return g.text(depth-1) + `.matches("` + pick(g, "^a", "b+$", "[a-c]", "", "x|y") + `")`
	case 10:
		return g.text(depth-1) + " in [" + strings.Join([]string{g.constant(), g.constant(), g.constant()}, ", ") + "]"
	case 11:
		return g.text(depth-1) + " in " + pick(g, "request.headers", "response.headers", "auth.scopes", "auth.claims", "metadata", "request.params", "metadata.list", "auth.claims.list")
	case 12:
		return pick(g, `has(request.headers.a)`, `has(auth.claims.a)`, `has(metadata.m.a)`, `has(metadata.m.m.a)`, `"b" in attributes`, `has(auth.claims.m)`)
	case 13:
		return g.whole(depth-1) + pick(g, " == ", " != ", " < ", " <= ", " > ", " >= ") + g.whole(depth-1)
	case 14:
		return g.whole(depth-1) + " in [200, 404, 3]"
	case 15, 16:
		return g.dyn() + pick(g, " == ", " != ", " < ", " <= ", " > ", " >= ") + pick(g, "1", "3", "2.5", "-1.0")
	case 17:
		return pick(g, g.dyn()+pick(g, " == ", " != ")+g.text(depth-1), g.text(depth-1)+" == "+g.dyn(), g.dyn()+" == "+g.boolean(depth-1), g.dyn()+" == "+g.dyn(), g.dyn()+" == null", "auth.claims == "+g.dyn(), "[1].map(x, "+g.text(depth-1)+") == auth.scopes")
	case 18:
		return pick(g, "request.headers", "response.headers", "auth.scopes", "auth.claims", "request.params", "metadata.m", "metadata.list") +
			pick(g, ".exists(v, ", ".all(v, ") + pick(g, `v == "a"`, `v.startsWith("b")`, `v > "c"`, g.boolean(depth-1)) + ")"
	default:
		return g.boolean(depth-1) + pick(g, " == ", " != ") + g.boolean(depth-1)
	}
}

func (g *generator) constant() string {
	return pick(g, `"a"`, `"b"`, `"c"`, `"GET"`, `""`, `"/a/b"`, `"aé"`, `"abc"`)
}

// text is an expression of type string.
func (g *generator) text(depth int) string {
	n := 9
	if depth > 0 {
		n = 18
	}
	switch g.below(n) {
	default:
		return g.constant()
	case 1, 2:
		return pick(g, "request.method", "request.path", "request.query", "request.host", "request.authority", "request.scheme",
			"request.url_path", "request.id", "auth.subject", "auth.issuer", "route.name")
	case 3, 4, 5:
		return pick(g, "request.headers", "response.headers") + `["` + pick(g, "a", "b", "c", "B", "cookie") + `"]`
	case 6:
		return pick(g, "request.headers.a", "request.headers.b", "response.headers.c")
	case 7, 8:
		return pick(g, "request.headers", "response.headers") + `[?"` + pick(g, "a", "b", "C") + `"].orValue(` + g.constant() + ")"
	case 9:
		return "(" + g.text(depth-1) + " + " + g.text(depth-1) + ")"
	case 10:
		return "(" + g.boolean(depth-1) + " ? " + g.text(depth-1) + " : " + g.text(depth-1) + ")"
	case 11:
		return "string(" + g.text(depth-1) + ")"
	case 12:
		return g.text(depth-1) + ".lowerAscii()"
	case 13:
		return `request.headers[` + g.text(depth-1) + "]"
	case 14:
		return g.text(depth-1) + ".replace(" + g.constant() + ", " + g.text(depth-1) + ")"
	case 15:
		return g.text(depth-1) + ".split(" + g.constant() + ")[" + pick(g, "0", "1") + "]"
	case 16:
		return g.text(depth-1) + pick(g, ".trim()", ".substring(1)", ".substring(0, 2)", ".charAt(1)")
	case 17:
		return "string(" + g.text(depth-1) + pick(g, ".indexOf(", ".lastIndexOf(") + g.text(depth-1) + "))"
	}
}

// whole is an expression of type int.
func (g *generator) whole(depth int) string {
	return pick(g, "response.status", "200", "3", "-1", "size("+g.text(depth)+")", g.text(depth)+".size()", "size(request.headers)",
		"size(auth.scopes)", "size(auth.claims)")
}

// dyn is an entry of a document.
func (g *generator) dyn() string {
	base := pick(g, "auth.claims", "metadata")
	key := pick(g, "a", "b", "c", "m", "list", "n")
	if base == "attributes" || g.below(3) == 0 {
		return pick(g, `attributes["a"]`, `attributes["b"]`, base+`["`+key+`"]`)
	}
	if g.below(3) == 0 {
		return base + "." + key + "." + pick(g, "a", "b", "m")
	}
	return base + "." + key
}

// input is something for expressions to read.
func (g *generator) input() *expr.Static {
	in := &expr.Static{
		RequestMethod:    pick(g, "GET", "POST", "a", ""),
		RequestScheme:    pick(g, "https", "a"),
		RequestAuthority: pick(g, "a", "A:80", "[::1]:80", "u@B", ""),
		RequestTarget:    pick(g, "/a/b?a=1&b=c&a=2", "/abc", "", "/a?%61=%zz&+=+", "?"),
		RequestFields:    g.fields(),
		RequestTime:      time.Unix(1_700_000_000, 0),
		ResponseStatus:   pick(g, 200, 404, 0),
		ResponseFields:   g.fields(),
		RouteName:        pick(g, "a", "b", ""),
		Entries:          g.document(2),
		EnvoyAttributes:  g.document(1),
	}
	if g.below(4) > 0 {
		in.Principal = &expr.Principal{
			Subject: pick(g, "a", "b", ""), Issuer: pick(g, "c", ""),
			Scopes: pick(g, nil, []string{"a"}, []string{"b", "c"}),
			Claims: g.document(2),
		}
	}
	return in
}

func (g *generator) fields() expr.Fields {
	var fields expr.Fields
	for range g.below(6) {
		fields = append(fields, expr.Field{Name: pick(g, "a", "b", "c", "cookie", "x-request-id"), Value: pick(g, "a", "b", "", "abc", "a\xff")})
	}
	return fields
}

func (g *generator) document(depth int) map[string]any {
	if g.below(5) == 0 {
		return nil
	}
	doc := map[string]any{}
	for range g.below(6) {
		doc[pick(g, "a", "b", "c", "m", "list", "n")] = g.value(depth)
	}
	return doc
}

func (g *generator) value(depth int) any {
	if depth > 0 {
		switch g.below(6) {
		case 0, 1:
			return g.document(depth - 1)
		case 2:
			return []any{g.value(depth - 1), "a"}
		}
	}
	return pick[any](g, "a", "b", "", 1.0, 2.5, true, false, nil, int64(3), 3, []any{"a", "b"}, 0.0)
}
