package policy_test

import (
	"encoding/json"
	"iter"
	"maps"
	"slices"
	"testing"

	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

func request(target string) policy.RequestContext {
	x := &exchange.Exchange{}
	x.Request.Path = target
	return policy.NewRequestContext(x, false)
}

func TestTarget(t *testing.T) {
	for _, tt := range []struct{ target, path, query string }{
		{"/a/b?x=1", "/a/b", "x=1"},
		{"/a", "/a", ""},
		{"/a?", "/a", ""},
		{"/%61?x=?y", "/%61", "x=?y"},
		{"*", "*", ""},
		{"", "", ""},
	} {
		c := request(tt.target)
		if c.Path() != tt.path || c.RawQuery() != tt.query || c.Target() != tt.target {
			t.Errorf("%q: path %q, query %q, target %q", tt.target, c.Path(), c.RawQuery(), c.Target())
		}
	}
}

func TestQuery(t *testing.T) {
	c := request("/?a=1&b=%zz&a=2+3&%61=4&a&b=5&=6")
	if v, ok := c.Query("a"); v != "1" || !ok {
		t.Errorf("a is %q, %v", v, ok)
	}
	if got := slices.Collect(c.QueryValues("a")); !slices.Equal(got, []string{"1", "2 3", "4", ""}) {
		t.Errorf("all of a are %q", got)
	}
	// What cannot be decoded is not a value, but there is a parameter.
	if v, ok := c.Query("b"); v != "5" || !ok || c.QueryCount("b") != 2 {
		t.Errorf("b is %q, %v, of %d", v, ok, c.QueryCount("b"))
	}
	if _, ok := c.Query("c"); ok || c.QueryCount("c") != 0 {
		t.Error("c is there")
	}
	for range c.QueryValues("a") {
		break
	}
	if n := testing.AllocsPerRun(100, func() {
		if v, _ := c.Query("a"); v != "1" {
			t.Fatal(v)
		}
		c.QueryCount("b")
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

type attributes map[string]any

func (a attributes) Lookup(name string) (any, bool) { v, ok := a[name]; return v, ok }

func (a attributes) All() iter.Seq2[string, any] { return maps.All(a) }

func TestRequestContext(t *testing.T) {
	x := &exchange.Exchange{Route: "charge", Principal: &policy.Principal{Subject: "me"}}
	x.Request.Method, x.Request.Scheme, x.Request.Authority = "PUT", "https", "h:1"
	x.Request.Headers.Reset([]exchange.Field{{Name: "a", Value: "1"}, {Name: "b", Value: "2"}, {Name: "a", Value: "3"}})
	x.Request.Trailers.Reset([]exchange.Field{{Name: "t", Value: "4"}})
	x.Metadata.Set("k", 5)
	c := policy.NewRequestContext(x, true)
	if c.Method() != "PUT" || c.Scheme() != "https" || c.Authority() != "h:1" || c.Route() != "charge" || !c.Shadow() || c.Principal().Subject != "me" {
		t.Errorf("%+v", c)
	}
	h := c.Headers()
	if v, ok := h.Lookup("A"); v != "1" || !ok || h.Get("b") != "2" || c.Header("B") != "2" || !h.Has("a") || h.Has("c") || h.Count("a") != 2 || h.Len() != 3 {
		t.Error("the headers are not as they came")
	}
	if got := slices.Collect(h.Values("a")); !slices.Equal(got, []string{"1", "3"}) {
		t.Errorf("all of a are %q", got)
	}
	var names []string
	for name := range h.All() {
		names = append(names, name)
	}
	if !slices.Equal(names, []string{"a", "b", "a"}) || c.Trailers().Get("t") != "4" {
		t.Errorf("the names are %q", names)
	}
	if v, ok := c.Metadata("k"); v != 5 || !ok {
		t.Errorf("metadata is %v", v)
	}
	if _, ok := c.Attribute("source.address"); ok {
		t.Error("an attribute where there are none")
	}
	x.Attributes = attributes{"source.address": "192.0.2.1"}
	if v, ok := c.Attribute("source.address"); v != "192.0.2.1" || !ok {
		t.Errorf("the attribute is %v", v)
	}
	if c.Body() != nil {
		t.Error("a body before it has arrived")
	}
	// The view follows the exchange.
	x.Request.Headers.Set("A", "9")
	x.Request.Body.Replace([]byte("new"))
	if h.Get("a") != "9" || string(c.Body()) != "new" {
		t.Error("the view is not of the exchange")
	}
}

func TestResponseContext(t *testing.T) {
	x := &exchange.Exchange{Route: "charge", Principal: &policy.Principal{Subject: "me"}, Attributes: attributes{"a": 1.5}}
	x.Request.Method = "GET"
	x.Response.Status = 404
	x.Response.Headers.Reset([]exchange.Field{{Name: "a", Value: "1"}})
	x.Response.Trailers.Reset([]exchange.Field{{Name: "t", Value: "2"}})
	x.Response.Body.Replace([]byte("b"))
	x.Metadata.Set("k", "v")
	c := policy.NewResponseContext(x, true)
	req := c.Request()
	if c.Status() != 404 || c.Header("A") != "1" || c.Trailers().Get("T") != "2" || string(c.Body()) != "b" || c.Route() != "charge" ||
		!c.Shadow() || c.Principal().Subject != "me" || req.Method() != "GET" || !req.Shadow() || c.Headers().Len() != 1 {
		t.Errorf("%+v", c)
	}
	if v, ok := c.Metadata("k"); v != "v" || !ok {
		t.Errorf("metadata is %v", v)
	}
	if v, ok := c.Attribute("a"); v != 1.5 || !ok {
		t.Errorf("the attribute is %v", v)
	}
}

func TestReadingCostsNoAllocation(t *testing.T) {
	x := &exchange.Exchange{}
	x.Request.Path = "/v1/charge?a=1"
	x.Request.Headers.Reset([]exchange.Field{{Name: "a", Value: "1"}, {Name: "b", Value: "2"}})
	c := policy.NewRequestContext(x, false)
	if n := testing.AllocsPerRun(100, func() {
		if c.Path() == "" || c.RawQuery() == "" || c.Header("B") == "" || c.Headers().Count("a") != 1 {
			t.Fatal("wrong")
		}
		for range c.Headers().Values("a") {
		}
		for range c.Headers().All() {
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestProblem proves the shape of RFC 9457 and that no input breaks out of it.
func TestProblem(t *testing.T) {
	if got, want := string(policy.Problem(429, "SLOW_DOWN", "")), `{"title":"Too Many Requests","status":429,"reason":"SLOW_DOWN"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	detail := "\"}\x00<&\xff\u2028"
	var back struct{ Detail, Reason string }
	if err := json.Unmarshal(policy.Problem(400, "R", detail), &back); err != nil || back.Reason != "R" || back.Detail != "\"}\x00<&\ufffd\u2028" {
		t.Errorf("got %+v, %v", back, err)
	}
	extra := []policy.Header{{Name: "a", Value: "1"}}
	ir := policy.Reject(401, "NO", "detail", extra...)
	if ir.Status != 401 || ir.Reason != "NO" || len(ir.Headers) != 2 ||
		ir.Headers[0] != (policy.Header{Name: "content-type", Value: policy.ProblemContentType}) || ir.Headers[1] != extra[0] {
		t.Errorf("got %+v", ir)
	}
	ir.Headers[1].Value = "2"
	if extra[0].Value != "1" {
		t.Error("the caller's headers are shared")
	}
}

func TestActions(t *testing.T) {
	if _, ok := (policy.Body{}).Bytes(); ok {
		t.Error("the zero body is a new body")
	}
	if b, ok := policy.NewBody(nil).Bytes(); !ok || b != nil {
		t.Error("an empty new body is none")
	}
	if data, ok := policy.ChunkReplacement(policy.ReplaceChunk([]byte("x"))); !ok || string(data) != "x" {
		t.Errorf("a replacement is %q, %v", data, ok)
	}
	for _, a := range []policy.ChunkAction{nil, policy.Hold(), &policy.ImmediateResponse{}} {
		if _, ok := policy.ChunkReplacement(a); ok {
			t.Errorf("%v is a replacement", a)
		}
	}
	if !policy.IsHold(policy.Hold()) || policy.IsHold(nil) || policy.IsHold(policy.ReplaceChunk(nil)) {
		t.Error("what holds is told wrongly")
	}
	one := []policy.Header{{Name: "a"}}
	for i, m := range []policy.HeaderMutation{{Remove: []string{"a"}}, {Set: one}, {OverwriteIfExists: one}, {Append: one}, {AddIfAbsent: one}} {
		if m.IsZero() {
			t.Errorf("mutation %d counts as none", i)
		}
	}
	p := []policy.Param{{Name: "a"}}
	for i, m := range []policy.QueryMutation{{Remove: []string{"a"}}, {Set: p}, {Append: p}} {
		if m.IsZero() {
			t.Errorf("query mutation %d counts as none", i)
		}
	}
	if !(&policy.HeaderMutation{}).IsZero() || !(&policy.QueryMutation{}).IsZero() {
		t.Error("nothing counts as something")
	}
}
