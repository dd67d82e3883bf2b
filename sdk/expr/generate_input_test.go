package expr_test

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"policyengine.dev/sdk/expr"
)

// keys are the names that documents and expressions have in common.
var keys = []string{"a", "b", "c", "m", "list", "n"}

// Values over the limits.
var (
	long     = strings.Repeat("a", expr.MaxString+1)
	half     = strings.Repeat("a", expr.MaxString/2+1)
	manyList = func() []any {
		list := make([]any, expr.MaxElements+1)
		for i := range list {
			list[i] = "a"
		}
		return list
	}()
	manyStrings = func() []string {
		list := make([]string, expr.MaxElements+1)
		for i := range list {
			list[i] = fmt.Sprint("s", i)
		}
		return list
	}()
	manyFields = func() expr.Fields {
		var fields expr.Fields
		for _, s := range manyStrings {
			fields = append(fields, expr.Field{Name: s, Value: "a"})
		}
		return fields
	}()
	manyEntries = func() map[string]any {
		m := map[string]any{}
		for _, s := range manyStrings {
			m[s] = "a"
		}
		return m
	}()
)

// input is something for expressions to read. Every fourth has values that are over
// the limits or missing.
func (g *generator) input() *expr.Static {
	large := g.below(4) == 0
	in := &expr.Static{
		RequestMethod:    pick(g, "GET", "POST", "a", ""),
		RequestScheme:    pick(g, "https", "a"),
		RequestAuthority: pick(g, "a", "A:80", "[::1]:80", "u@B", ""),
		RequestTarget:    pick(g, "/a/b?a=1&b=c&a=2", "/abc", "", "/a?%61=%zz&+=+", "?"),
		RequestFields:    g.fields(large),
		RequestTime:      pick(g, time.Unix(1_700_000_000, 5_000_000), time.Unix(0, 0)),
		ResponseStatus:   pick(g, 200, 404, 0),
		ResponseFields:   g.fields(large),
		RouteName:        pick(g, "a", "b", ""),
		Entries:          g.document(2, large),
		EnvoyAttributes:  g.document(1, large),
	}
	if g.below(4) > 0 {
		in.Principal = &expr.Principal{
			Subject: pick(g, "a", "b", "é", ""), Issuer: pick(g, "c", ""),
			Scopes: pick(g, nil, []string{"a"}, []string{"b", "c"}),
			Claims: g.document(2, large),
		}
	}
	if !large {
		return in
	}
	switch g.below(12) {
	case 0:
		in.RequestTarget = "/" + long
	case 1:
		in.RequestTarget = "/a?a=" + long
	case 2:
		in.RequestTarget = "/a?" + strings.Repeat("a=1&", expr.MaxElements+1)
	case 3:
		in.RequestMethod = long
	case 4:
		in.RouteName = long
	case 5:
		in.RequestTime = time.Time{}
	}
	if in.Principal != nil {
		switch g.below(8) {
		case 0:
			in.Principal.Scopes = manyStrings
		case 1:
			in.Principal.Scopes = []string{"a", long}
		case 2:
			in.Principal.Subject = long
		case 3:
			in.Principal.Claims = manyEntries
		}
	}
	return in
}

func (g *generator) fields(large bool) expr.Fields {
	var fields expr.Fields
	for range g.below(6) {
		fields = append(fields, expr.Field{Name: pick(g, "a", "b", "c", "cookie", "x-request-id"), Value: pick(g, "a", "b", "", "abc", "a\xff")})
	}
	if !large {
		return fields
	}
	switch g.below(5) {
	case 0:
		fields = append(fields, expr.Field{Name: pick(g, "a", "b", "cookie"), Value: long})
	case 1:
		fields = append(fields, expr.Field{Name: "a", Value: half}, expr.Field{Name: "a", Value: half})
	case 2:
		fields = append(fields, manyFields...)
	}
	return fields
}

func (g *generator) document(depth int, large bool) map[string]any {
	if g.below(6) == 0 {
		return nil
	}
	doc := map[string]any{}
	for range g.below(8) {
		doc[pick(g, keys...)] = g.value(depth, large)
	}
	return doc
}

func (g *generator) value(depth int, large bool) any {
	if large && g.below(3) == 0 {
		return pick[any](g, long, manyList, manyEntries, manyStrings, 9007199254740992.0, json.Number("1e17"), json.Number("18446744073709551616"), struct{}{},
			[]any{"b", long}, map[string]any{"a": long, "b": "b"}, []any{long, 1.0}, map[string]string{"a": long}, []byte(long))
	}
	if depth > 0 {
		switch g.below(6) {
		case 0, 1:
			return g.document(depth-1, large)
		case 2:
			return []any{g.value(depth-1, large), "a"}
		}
	}
	return pick[any](g, "a", "b", "", "1", "true", 1.0, 2.5, true, false, nil, int64(3), 3, []any{"a", "b"}, 0.0, []any{}, map[string]any{},
		json.Number("3"), json.Number("2.5"), json.Number("9007199254740993"), json.Number("9007199254740992"), json.Number("18446744073709551615"), int64(9007199254740993),
		9007199254740991.0, math.NaN(), math.Inf(1), 1e300, []string{"a", "b"}, map[string]string{"a": "b"}, []byte("a"), uint64(3), time.Unix(1_700_000_000, 0), time.Second,
		map[string]any{"a": map[string]any{"b": 1.0}}, []any{nil, []any{"a"}}, []any{1.0})
}

// overLimits reports whether an input has anything that expressions refuse to read.
func overLimits(in *expr.Static) bool {
	if in.RequestTime.IsZero() || len(in.RequestTarget) > expr.MaxString || strings.Count(in.RequestTarget, "&") > expr.MaxElements ||
		over(in.RequestMethod) || over(in.RouteName) || over(in.Entries) || over(in.EnvoyAttributes) {
		return true
	}
	if p := in.Principal; p != nil && (over(p.Subject) || over(p.Scopes) || over(p.Claims)) {
		return true
	}
	for _, fields := range []expr.Fields{in.RequestFields, in.ResponseFields} {
		headers := plainHeaders(fields)
		if len(headers) > expr.MaxElements {
			return true
		}
		for _, v := range headers {
			if over(v) {
				return true
			}
		}
	}
	return false
}

// over reports whether a value, or any value in it, is one that expressions refuse
// to read.
func over(v any) bool {
	switch v := v.(type) {
	case string:
		return len(v) > expr.MaxString
	case []byte:
		return len(v) > expr.MaxString
	case float64:
		return 1<<53 <= math.Abs(v) && math.Abs(v) <= 1<<64
	case json.Number:
		f, _ := v.Float64()
		_, whole := plainNumber(v).(float64)
		return whole && over(f)
	case struct{}:
		return true
	case []string:
		for _, e := range v {
			if over(e) {
				return true
			}
		}
		return len(v) > expr.MaxElements
	case []any:
		for _, e := range v {
			if over(e) {
				return true
			}
		}
		return len(v) > expr.MaxElements
	case map[string]string:
		for _, e := range v {
			if over(e) {
				return true
			}
		}
		return len(v) > expr.MaxElements
	case map[string]any:
		for _, e := range v {
			if over(e) {
				return true
			}
		}
		return len(v) > expr.MaxElements
	}
	return false
}
