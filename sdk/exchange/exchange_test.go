package exchange_test

import (
	"iter"
	"reflect"
	"testing"

	"policyengine.dev/sdk/exchange"
)

func full() *exchange.Exchange {
	x := &exchange.Exchange{Route: "r", Principal: &exchange.Principal{Subject: "s"}, TraceParent: "p", TraceState: "s"}
	x.Request.Method, x.Request.Scheme, x.Request.Path, x.Request.Authority = "GET", "https", "/", "h"
	x.Request.Headers.Reset([]exchange.Field{{Name: "a", Value: "1"}})
	x.Request.Trailers.Reset([]exchange.Field{{Name: "t", Value: "1"}})
	x.Response.Status = 200
	x.Response.Headers.Reset([]exchange.Field{{Name: "b", Value: "1"}})
	x.Response.Trailers.Reset([]exchange.Field{{Name: "u", Value: "1"}})
	x.Metadata.Set("m", "1")
	x.Dynamic.Set("d", "1")
	x.Request.Body = exchange.Body{Bytes: []byte("body"), Present: true}
	x.Response.Body = exchange.Body{Bytes: []byte("answer"), Present: true}
	return x
}

func TestPseudoHeadersCountOnlyRealChanges(t *testing.T) {
	x := full()
	x.Request.SetMethod("GET")
	x.Request.SetPath("/")
	x.Request.SetAuthority("h")
	x.Response.SetStatus(200)
	if x.Request.HeadersChanged() || x.Response.HeadersChanged() {
		t.Error("setting what was there counts as a change")
	}
	for name, change := range map[string]func(){
		"method":    func() { x.Request.SetMethod("PUT") },
		"path":      func() { x.Request.SetPath("/x") },
		"authority": func() { x.Request.SetAuthority("i") },
	} {
		change()
		got := map[string]bool{"method": x.Request.MethodChanged(), "path": x.Request.PathChanged(), "authority": x.Request.AuthorityChanged()}
		for other, changed := range got {
			if changed != (other == name) {
				t.Errorf("after a change of the %s, that of the %s is %v", name, other, changed)
			}
		}
		if !x.Request.HeadersChanged() {
			t.Errorf("the %s has changed, and the headers have not", name)
		}
		x.Request.SettleHeaders()
		if x.Request.HeadersChanged() {
			t.Errorf("the %s is settled and counts still", name)
		}
	}
	x.Response.SetStatus(404)
	if !x.Response.StatusChanged() || !x.Response.HeadersChanged() {
		t.Error("the status has changed")
	}
	x.Response.SettleHeaders()
	x.Response.Headers.Set("b", "2")
	if x.Response.StatusChanged() || !x.Response.HeadersChanged() {
		t.Error("only a header has changed")
	}
}

// TestResetLeavesNothing proves that the next request sees nothing of this one.
func TestResetLeavesNothing(t *testing.T) {
	x := full()
	x.Request.Headers.Set("a", "2")
	x.Request.SetPath("/secret")
	x.Response.SetStatus(500)
	x.Request.Body.Replace([]byte("other"))
	x.Attributes = nowhere{}
	x.Identity = exchange.Identity{Key: &[16]byte{1}, Run: 2, Use: 3}
	x.SetRequestID("id")
	for _, part := range []any{*x, x.Request, x.Response} {
		for v, i := reflect.ValueOf(part), 0; i < v.NumField(); i++ {
			if v.Field(i).IsZero() {
				t.Errorf("the test does not set %T.%s", part, v.Type().Field(i).Name)
			}
		}
	}
	x.Reset()
	y := x.Clone() // leaves the spare storage behind
	for _, h := range []*exchange.Headers{&y.Request.Headers, &y.Request.Trailers, &y.Response.Headers, &y.Response.Trailers} {
		if h.Len() != 0 || h.Changed() {
			t.Errorf("a list still holds %d fields", h.Len())
		}
		*h = exchange.Headers{}
	}
	if y.Metadata.Len() != 0 || y.Dynamic.Len() != 0 {
		t.Error("metadata is still there")
	}
	y.Metadata, y.Dynamic = exchange.Metadata{}, exchange.Metadata{}
	if !reflect.DeepEqual(y, &exchange.Exchange{}) {
		t.Errorf("left over: %+v", y)
	}
}

type nowhere struct{}

func (nowhere) Lookup(string) (any, bool)   { return nil, false }
func (nowhere) All() iter.Seq2[string, any] { return func(func(string, any) bool) {} }

func TestCloneSharesNothingMutable(t *testing.T) {
	x := full()
	c := x.Clone()
	c.Request.Headers.Set("a", "2")
	c.Request.Trailers.Set("t", "2")
	c.Response.Headers.Set("b", "2")
	c.Response.Trailers.Set("u", "2")
	c.Metadata.Set("m", "2")
	c.Dynamic.Set("d", "2")
	c.Request.SetPath("/c")
	c.Request.Body.Replace([]byte("c"))
	if !reflect.DeepEqual(x, full()) {
		t.Errorf("a change to the clone reached the original: %+v", x)
	}
}

func TestMetadata(t *testing.T) {
	var m exchange.Metadata
	if _, ok := m.Get("a"); ok {
		t.Error("the zero value holds something")
	}
	m.Set("a", 1)
	m.Set("b", nil)
	m.Set("a", 2)
	if v, ok := m.Get("a"); v != 2 || !ok || m.Len() != 2 {
		t.Errorf("a is %v, %v; %d entries", v, ok, m.Len())
	}
	if v, ok := m.Get("b"); v != nil || !ok {
		t.Errorf("b is %v, %v", v, ok)
	}
	keys := ""
	for k := range m.All() {
		keys += k
	}
	for range m.All() {
		break
	}
	if keys != "ab" {
		t.Errorf("the keys come as %s", keys)
	}
	m.Clear()
	if m.Len() != 0 {
		t.Error("Clear leaves something")
	}
}
