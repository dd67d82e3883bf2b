package expr_test

import (
	"fmt"
	"strings"
)

// generator makes expressions and inputs of bytes: the same bytes give the same
// ones, and any bytes give some.
//
// An expression is made for two readers. In ⟦key⟧ stands a key that is looked up in
// a map of headers, in ⟪Name⟫ such a key that is selected: here they match whatever
// their case; a plain Go map has them in lower case (see [hereText] and [plainText]).
type generator struct {
	rest []byte
	// composite says that the expression compares values that may be lists or
	// maps.
	composite bool
}

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
	if depth <= 0 {
		return pick(g, "true", "false", "auth.authenticated", `(request.method == "GET")`)
	}
	return "(" + g.condition(depth) + ")"
}

func (g *generator) condition(depth int) string {
	switch g.below(24) {
	case 0, 1:
		return g.boolean(depth-1) + " && " + g.boolean(depth-1)
	case 2, 3:
		return g.boolean(depth-1) + " || " + g.boolean(depth-1)
	case 4:
		return "!" + g.boolean(depth-1)
	case 5:
		return g.boolean(depth-1) + " ? " + g.boolean(depth-1) + " : " + g.boolean(depth-1)
	case 6, 7:
		return g.text(depth-1) + g.operator() + g.text(depth-1)
	case 8:
		return g.text(depth-1) + "." + pick(g, "startsWith", "endsWith", "contains") + "(" + g.text(depth-1) + ")"
	case 9:
		return g.text(depth-1) + `.matches("` + pick(g, "^a", "b+$", "[a-c]", "", "x|y") + `")`
	case 10:
		return g.text(depth-1) + " in [" + strings.Join([]string{g.constant(), g.constant(), g.constant()}, ", ") + "]"
	case 11, 12:
		return g.membership(depth - 1)
	case 13:
		return g.presence(depth - 1)
	case 14:
		return g.whole(depth-1) + g.operator() + g.whole(depth-1)
	case 15:
		return g.whole(depth-1) + " in [200, 404, 3]"
	case 16:
		return g.dyn(depth-1) + g.operator() + pick(g, "1", "3", "2.5", "-1.0", "9007199254740993", "9007199254740991", "18446744073709551615u", "2u")
	case 17:
		g.composite = true
		return g.dyn(depth-1) + pick(g, " == ", " != ") + pick(g, g.text, g.boolean, g.dyn, g.whole)(depth-1)
	case 18:
		g.composite = true
		return pick(g, g.text, g.boolean)(depth-1) + pick(g, " == ", " != ") + g.dyn(depth-1)
	case 19:
		return g.loop(depth - 1)
	case 20:
		g.composite = true
		return g.maps(depth-1) + pick(g, " == ", " != ") + g.maps(depth-1)
	case 21:
		g.composite = true
		return g.list(depth-1) + pick(g, " == ", " != ") + g.list(depth-1)
	case 22:
		return g.converted(depth - 1)
	default:
		return g.boolean(depth-1) + pick(g, " == ", " != ") + g.boolean(depth-1)
	}
}

func (g *generator) operator() string {
	return pick(g, " == ", " != ", " < ", " <= ", " > ", " >= ")
}

// membership uses the operator in over everything that it takes.
func (g *generator) membership(depth int) string {
	switch g.below(8) {
	case 0, 1:
		return pick(g, "⟦"+g.text(depth)+"⟧", "⟦~"+g.dyn(depth)+"⟧") + " in " + pick(g, "request.headers", "response.headers")
	case 2:
		return pick(g, g.text, g.dyn)(depth) + " in " + pick(g, "auth.claims", "metadata", "request.params")
	case 3:
		return `"` + pick(g, "a", "b") + `" in attributes`
	case 4:
		g.composite = true
		return g.dyn(depth) + ` in ` + pick(g, `["a", "b"]`, `[1, 2, 3]`, `[2.5, 1.0]`, `[true, false]`, `[null]`, `[b"a"]`, `[1u, 3u]`,
			`[9007199254740993, 9007199254740991]`, `[dyn("a"), dyn(1), dyn(null)]`, `[dyn([1.0]), dyn(["a", "b"])]`, `[dyn({"a": 1}), dyn({})]`, `[]`, `{"a": 1}`, `{1: 1, 2: 1}`)
	case 5:
		g.composite = true
		return pick(g, g.dyn, g.maps, g.list)(depth) + " in [dyn(" + pick(g, g.dyn, g.maps, g.list)(depth) + "), dyn(" + g.text(depth) + ")]"
	case 6:
		g.composite = true
		return pick(g, g.text, g.dyn)(depth) + " in " + g.list(depth)
	default:
		g.composite = true
		return pick(g, g.text, g.dyn, g.whole)(depth) + " in " + g.dyn(depth)
	}
}

// presence asks whether there is an entry.
func (g *generator) presence(depth int) string {
	return pick(g,
		`has(request.headers.⟪a⟫)`, `has(request.headers.⟪Cookie⟫)`, `has(response.headers.⟪B⟫)`, `has(request.params.a)`,
		`has(auth.claims.a)`, `has(metadata.a)`, `has(metadata.m.a)`, `has(metadata.m.m.a)`, `has(auth.claims.m)`, `has(auth.claims.m.list)`, `has(auth.claims.list.a)`,
		"has("+g.dyn(depth)+".a)", "has("+g.maps(depth)+".a)",
		g.optional(depth)+".hasValue()",
	)
}

// loop goes through a list or a map.
func (g *generator) loop(depth int) string {
	over := pick(g, "request.headers", "response.headers", "auth.scopes", "auth.claims", "request.params", "metadata.m", "metadata.list",
		"auth.claims.list", "["+g.text(depth)+", "+g.text(depth)+"]", g.list(depth))
	switch g.below(6) {
	case 0:
		return "size(" + over + ".map(v, " + pick(g, "v", "1", g.text(depth)) + "))" + g.operator() + pick(g, "0", "1", "2", "257")
	case 1:
		return over + ".filter(v, " + g.body(depth) + ").size()" + g.operator() + pick(g, "0", "1", "2")
	default:
		return over + pick(g, ".exists(v, ", ".all(v, ", ".exists_one(v, ") + g.body(depth) + ")"
	}
}

func (g *generator) body(depth int) string {
	return pick(g, `v == "a"`, `dyn(v) in ["a", "b"]`, `string(v).startsWith("b")`, `v > "c"`, `true`, g.boolean(depth))
}

// converted compares numbers, bytes and times that are computed.
func (g *generator) converted(depth int) string {
	switch g.below(9) {
	case 0:
		return "int(" + pick(g, g.text(depth), g.dyn(depth), "request.time") + ")" + g.operator() + g.whole(depth)
	case 1:
		return "double(" + pick(g, g.text, g.dyn, g.whole)(depth) + ")" + g.operator() + pick(g, "1.0", "2.5")
	case 2:
		return "uint(" + pick(g, g.dyn, g.whole)(depth) + ")" + g.operator() + pick(g, "1u", "200u")
	case 3:
		return "bytes(" + g.text(depth) + ")" + g.operator() + pick(g, `b"a"`, "bytes("+g.text(depth)+")")
	case 4:
		return "bool(" + pick(g, g.text, g.dyn)(depth) + ")"
	case 5:
		return "request.time" + pick(g, ".getHours()", `.getHours("+02:00")`, ".getFullYear()", ".getDayOfWeek()", ".getMilliseconds()") + g.operator() + g.whole(depth)
	case 6:
		return pick(g, "request.time", "timestamp("+g.text(depth)+")", "timestamp("+g.whole(depth)+")") + pick(g, "", ` + duration("1s")`) + g.operator() + "request.time"
	case 7:
		return "type(" + pick(g, g.dyn, g.text, g.maps, g.list)(depth) + ") == " + pick(g, "string", "map", "list", "double", "int", "null_type", "bool")
	default:
		return "dyn(" + g.dyn(depth) + pick(g, " + ", " - ", " * ", " / ") + pick(g, "1.0", "2") + ")" + g.operator() + pick(g, "1.0", "3")
	}
}

func (g *generator) constant() string {
	return pick(g, `"a"`, `"b"`, `"c"`, `"GET"`, `""`, `"/a/b"`, `"aé"`, `"abc"`, `"1"`, `"B"`)
}

// text is an expression of type string.
func (g *generator) text(depth int) string {
	n := 9
	if depth > 0 {
		n = 19
	}
	headers := pick(g, "request.headers", "response.headers")
	switch g.below(n) {
	default:
		return g.constant()
	case 1, 2:
		return pick(g, "request.method", "request.path", "request.query", "request.host", "request.authority", "request.scheme",
			"request.url_path", "request.id", "auth.subject", "auth.issuer", "route.name")
	case 3, 4, 5:
		return headers + `[⟦"` + pick(g, "a", "b", "c", "B", "cookie") + `"⟧]`
	case 6:
		return headers + ".⟪" + pick(g, "a", "b", "c", "Cookie") + "⟫"
	case 7, 8:
		return headers + `[?⟦"` + pick(g, "a", "b", "C", "cookie") + `"⟧].orValue(` + g.constant() + ")"
	case 9:
		return "(" + g.text(depth-1) + " + " + g.text(depth-1) + ")"
	case 10:
		return "(" + g.boolean(depth-1) + " ? " + g.text(depth-1) + " : " + g.text(depth-1) + ")"
	case 11:
		return "string(" + pick(g, g.text, g.dyn, g.whole)(depth-1) + ")"
	case 12:
		return g.text(depth-1) + pick(g, ".lowerAscii()", ".upperAscii()")
	case 13:
		return headers + `[` + pick(g, "⟦"+g.text(depth-1)+"⟧", "⟦~"+g.dyn(depth-1)+"⟧") + "]"
	case 14:
		return g.text(depth-1) + ".replace(" + g.constant() + ", " + g.text(depth-1) + pick(g, ")", ", 1)")
	case 15:
		return g.text(depth-1) + ".split(" + g.constant() + ")[" + pick(g, "0", "1") + "]"
	case 16:
		return g.text(depth-1) + pick(g, ".trim()", ".substring(1)", ".substring(0, 2)", ".charAt(1)")
	case 17:
		return "string(" + g.text(depth-1) + pick(g, ".indexOf(", ".lastIndexOf(") + g.text(depth-1) + "))"
	case 18:
		return "request.params[" + g.text(depth-1) + "][" + pick(g, "0", "1") + "]"
	}
}

// whole is an expression of type int.
func (g *generator) whole(depth int) string {
	return pick(g, "response.status", "200", "3", "-1", "size("+g.text(depth)+")", g.text(depth)+".size()", "size(request.headers)",
		"size(auth.scopes)", "size(auth.claims)", "size(request.params)", "9007199254740993")
}

// dyn is an entry of a document, or another value of which the type is not known.
func (g *generator) dyn(depth int) string {
	base := pick(g, "auth.claims", "auth.claims", "metadata")
	key := pick(g, keys...)
	switch g.below(9) {
	case 0:
		return pick(g, `attributes["a"]`, `attributes["b"]`, base+`["`+key+`"]`)
	case 1, 2:
		return base + "." + key + "." + pick(g, keys...)
	case 3:
		return base + "." + key + "[" + pick(g, "0", "1", `"a"`, "1.0", "7") + "]"
	case 4:
		if depth > 0 {
			return "(" + g.boolean(depth-1) + " ? " + g.dyn(depth-1) + " : " + g.dyn(depth-1) + ")"
		}
	case 5:
		if depth > 0 {
			return g.optional(depth-1) + pick(g, ".value()", ".orValue(dyn(1))")
		}
	}
	return base + "." + key
}

// optional is an optional value of any type.
func (g *generator) optional(depth int) string {
	base := pick(g, "auth.claims", "metadata")
	switch g.below(5) {
	case 0:
		return base + "[?" + pick(g, g.text, g.dyn)(depth) + "]"
	case 1:
		return base + ".?" + pick(g, keys...) + ".?" + pick(g, keys...)
	case 2:
		return "optional.ofNonZeroValue(dyn(" + pick(g, g.dyn, g.maps, g.text)(depth) + "))"
	case 3:
		return "auth.claims.?" + pick(g, keys...) + pick(g, ".optMap(v, dyn([v]))", ".optFlatMap(v, optional.of(v))")
	default:
		return base + ".?" + pick(g, keys...)
	}
}

// maps is an expression of which the value is a map.
func (g *generator) maps(depth int) string {
	choices := []string{"request.headers", "response.headers", "auth.claims", "request.params", "auth.claims.m", "metadata.m", `{"a": "b"}`, `{"A": "b"}`, `{}`,
		fmt.Sprintf(`{%s: dyn(%s)}`, g.constant(), g.text(depth))}
	if depth > 0 {
		choices = append(choices, "("+g.boolean(depth-1)+" ? dyn(request.headers) : "+g.dyn(depth-1)+")", "[request.headers, response.headers]["+pick(g, "0", "1")+"]")
	}
	return "dyn(" + pick(g, choices...) + ")"
}

// list is an expression of which the value is a list.
func (g *generator) list(depth int) string {
	choices := []string{"auth.scopes", "auth.claims.list", "metadata.list", "[]", `["a", "b"]`, `[dyn(1), dyn("a")]`, "[dyn(" + g.text(depth) + ")]"}
	if depth > 0 {
		choices = append(choices, g.text(depth-1)+".split("+g.constant()+")", "["+g.maps(depth-1)+"]", "(auth.scopes + ["+g.text(depth-1)+"])",
			"[dyn("+g.dyn(depth-1)+"), dyn("+g.dyn(depth-1)+")]", `auth.claims.map(v, "a")`, `request.headers.filter(v, v == "a").map(v, request.headers[⟦v⟧])`)
	}
	return "dyn(" + pick(g, choices...) + ")"
}

// hereText is the expression as this package reads it.
func hereText(marked string) string {
	return strings.NewReplacer("⟦~", "", "⟦", "", "⟧", "", "⟪", "", "⟫", "").Replace(marked)
}

// plainText is the expression over maps whose keys match as they are written.
func plainText(marked string) string {
	var open []string
	current := ""
	for _, r := range marked {
		switch r {
		case '⟦', '⟪':
			open, current = append(open, current), ""
		case '⟧', '⟫':
			key := current
			switch untyped := strings.HasPrefix(key, "~"); {
			case r == '⟫':
				key = strings.ToLower(key)
			case untyped:
				key = fmt.Sprintf("(type(%[1]s) == string ? dyn(string(%[1]s).lowerAscii()) : dyn(%[1]s))", key[1:])
			default:
				key = "(" + key + ").lowerAscii()"
			}
			current, open = open[len(open)-1]+key, open[:len(open)-1]
		default:
			current += string(r)
		}
	}
	return current
}
