package apply_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policy/apply"
)

func newExchange() *exchange.Exchange {
	x := &exchange.Exchange{Route: "charge"}
	x.Request.Method, x.Request.Scheme = "GET", "https"
	x.Request.Authority, x.Request.Path = "api.example.com", "/v1/charge?a=1&k=2"
	x.Request.Headers.Reset([]exchange.Field{{Name: "a", Value: "1"}, {Name: "b", Value: "2"}, {Name: "a", Value: "3"}})
	x.Response.Status = 200
	x.Response.Headers.Reset([]exchange.Field{{Name: "server", Value: "origin"}})
	return x
}

func list(h *exchange.Headers) string {
	var b strings.Builder
	for name, value := range h.All() {
		fmt.Fprintf(&b, "%s=%s ", name, value)
	}
	return strings.TrimSpace(b.String())
}

func TestHeadersInTheOrderOfTheFields(t *testing.T) {
	x := newExchange()
	err := apply.Request(x, policy.RequestHeaders, &policy.RequestMutation{Headers: policy.HeaderMutation{
		AddIfAbsent:       []policy.Header{{Name: "b", Value: "absent"}, {Name: "e", Value: "6"}},
		Append:            []policy.Header{{Name: "A", Value: "5"}, {Name: "b", Value: "8"}},
		OverwriteIfExists: []policy.Header{{Name: "d", Value: "no"}, {Name: "a", Value: "4b"}},
		Set:               []policy.Header{{Name: "a", Value: "4"}},
		Remove:            []string{"A", "b"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := list(&x.Request.Headers), "a=4b a=5 b=8 e=6"; got != want {
		t.Errorf("headers are %q, want %q", got, want)
	}
}

func TestTarget(t *testing.T) {
	q := func(m policy.QueryMutation) policy.RequestMutation { return policy.RequestMutation{Query: m} }
	for _, tt := range []struct {
		name, in string
		m        policy.RequestMutation
		want     string
	}{
		{"a path keeps the query", "/a?k=%7e", policy.RequestMutation{Path: "/b"}, "/b?k=%7e"},
		{"a path keeps an empty query", "/a?", policy.RequestMutation{Path: "/b"}, "/b?"},
		{"a path with a query replaces both", "/a?k=1", policy.RequestMutation{Path: "/b?c=2"}, "/b?c=2"},
		{"the query is changed after the path", "/a?k=1", policy.RequestMutation{Path: "/b?c=2",
			Query: policy.QueryMutation{Set: []policy.Param{{Name: "c", Value: "3"}}}}, "/b?c=3"},
		{"remove, set, append", "/a?x=1&y=2&z=3", q(policy.QueryMutation{
			Append: []policy.Param{{Name: "x", Value: "6"}},
			Set:    []policy.Param{{Name: "y", Value: "5"}},
			Remove: []string{"x"},
		}), "/a?y=5&z=3&x=6"},
		{"only the first question mark begins the query", "/a?k=1?&b=/?", q(policy.QueryMutation{Remove: []string{"k"}}), "/a?b=/?"},
		{"nothing to remove", "/a?b", q(policy.QueryMutation{Remove: []string{"k"}}), "/a?b"},
		{"nothing to remove from the asterisk", "*", q(policy.QueryMutation{Remove: []string{"k"}}), "*"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newExchange()
			x.Request.Path = tt.in
			if err := apply.Request(x, policy.RequestHeaders, &tt.m); err != nil {
				t.Fatal(err)
			}
			if x.Request.Path != tt.want {
				t.Errorf("%q became %q, want %q", tt.in, x.Request.Path, tt.want)
			}
			if x.Request.PathChanged() != (tt.in != tt.want) {
				t.Errorf("PathChanged is %v", x.Request.PathChanged())
			}
		})
	}
}

func TestRequestPartsOtherThanHeaders(t *testing.T) {
	x := newExchange()
	me := &policy.Principal{Subject: "me"}
	m := &policy.RequestMutation{
		Method: "PUT", Authority: "other.example.com:8443", Body: policy.NewBody([]byte("new")),
		Principal:       me,
		Metadata:        []policy.Entry{{Key: "m", Value: 1}},
		DynamicMetadata: []policy.Entry{{Key: "d", Value: map[string]any{"x": []any{true, nil, 1.5, "s"}}}},
	}
	if err := apply.Request(x, policy.RequestBody, m); err != nil {
		t.Fatal(err)
	}
	r := &x.Request
	if r.Method != "PUT" || !r.MethodChanged() || r.Authority != "other.example.com:8443" || !r.AuthorityChanged() {
		t.Errorf("method %q, authority %q", r.Method, r.Authority)
	}
	if string(r.Body.Bytes) != "new" || !r.Body.Changed {
		t.Errorf("body %q, changed %v", r.Body.Bytes, r.Body.Changed)
	}
	if v, _ := x.Metadata.Get("m"); x.Principal != me || v != 1 || x.Dynamic.Len() != 1 {
		t.Errorf("principal %v, metadata %v, dynamic %d", x.Principal, v, x.Dynamic.Len())
	}
	if r.PathChanged() || r.Headers.Changed() {
		t.Error("what was not named has changed")
	}
}

func TestResponse(t *testing.T) {
	x := newExchange()
	m := &policy.ResponseMutation{Status: 502, Body: policy.NewBody(nil),
		Headers:  policy.HeaderMutation{Remove: []string{"Server"}},
		Metadata: []policy.Entry{{Key: "m", Value: "v"}}}
	if err := apply.Response(x, policy.ResponseBody, m); err != nil {
		t.Fatal(err)
	}
	if x.Response.Status != 502 || !x.Response.StatusChanged() || !x.Response.Body.Changed || x.Response.Headers.Len() != 0 {
		t.Errorf("the response is %+v", x.Response)
	}
	m = &policy.ResponseMutation{Trailers: policy.HeaderMutation{Set: []policy.Header{{Name: "grpc-status", Value: "0"}}}}
	if err := apply.Response(x, policy.ResponseTrailers, m); err != nil {
		t.Fatal(err)
	}
	if got := list(&x.Response.Trailers); got != "grpc-status=0" {
		t.Errorf("trailers are %q", got)
	}
}

func TestNilChangesNothing(t *testing.T) {
	x, want := newExchange(), newExchange()
	if err := apply.Request(x, policy.RequestHeaders, nil); err != nil {
		t.Error(err)
	}
	if err := apply.Response(x, policy.ResponseHeaders, nil); err != nil {
		t.Error(err)
	}
	if !reflect.DeepEqual(x, want) {
		t.Errorf("the exchange became %+v", x)
	}
}

func set(name, value string) policy.HeaderMutation {
	return policy.HeaderMutation{Set: []policy.Header{{Name: name, Value: value}}}
}

func deep(levels int) any {
	var v any = "x"
	for range levels {
		v = []any{v}
	}
	return v
}

// TestRefusedRequest proves that each is refused by a message that names it, and
// that nothing of the mutation was applied.
func TestRefusedRequest(t *testing.T) {
	type m = policy.RequestMutation
	for _, tt := range []struct {
		name  string
		phase policy.Phase
		m     m
		want  string
	}{
		{"an empty name", policy.RequestHeaders, m{Headers: set("", "v")}, `headers.set[0]: "" is not a header name`},
		{"a name with a line break", policy.RequestHeaders, m{Headers: set("a\r\nb", "v")}, `headers.set[0]: "a\r\nb" is not a header name`},
		{"a value with a line break", policy.RequestHeaders, m{Headers: set("a", "s3cret\r\nx: y")}, `headers.set[0]: the value of "a" has control`},
		{"a pseudo-header", policy.RequestHeaders, m{Headers: set(":path", "/")}, `":path" is a pseudo-header`},
		{"host", policy.RequestHeaders, m{Headers: set("Host", "x")}, `"Host" is the authority`},
		{"content-length", policy.RequestHeaders, m{Headers: set("Content-Length", "1")}, "frames the message"},
		{"transfer-encoding", policy.RequestHeaders, m{Headers: set("transfer-encoding", "chunked")}, "frames the message"},
		{"connection", policy.RequestHeaders, m{Headers: set("connection", "x-a")}, "belongs to one connection"},
		{"te", policy.RequestHeaders, m{Headers: set("TE", "gzip")}, "belongs to one connection"},
		{"Envoy's own", policy.RequestHeaders, m{Headers: set("X-Envoy-Retry-On", "5xx")}, "is Envoy's own"},
		{"removing host", policy.RequestHeaders, m{Headers: policy.HeaderMutation{Remove: []string{"host"}}}, `headers.remove[0]: "host"`},
		{"appending upgrade", policy.RequestHeaders, m{Headers: policy.HeaderMutation{Append: []policy.Header{{Name: "upgrade", Value: "h2c"}}}}, `headers.append[0]: "upgrade"`},
		{"adding keep-alive", policy.RequestHeaders, m{Headers: policy.HeaderMutation{AddIfAbsent: []policy.Header{{Name: "keep-alive", Value: "1"}}}}, `headers.addIfAbsent[0]: "keep-alive"`},
		{"overwriting proxy-connection", policy.RequestHeaders, m{Headers: policy.HeaderMutation{OverwriteIfExists: []policy.Header{{Name: "proxy-connection", Value: "1"}}}}, `headers.overwriteIfExists[0]: "proxy-connection"`},
		{"a body in the headers phase", policy.RequestHeaders, m{Body: policy.NewBody(nil)}, "body: it can be replaced in the body phase only"},
		{"a body in the trailers phase", policy.RequestTrailers, m{Body: policy.NewBody(nil)}, "body: it can be replaced in the body phase only"},
		{"trailers in the headers phase", policy.RequestHeaders, m{Trailers: set("a", "b")}, "trailers: they can be changed in the trailers phase only"},
		{"headers in the trailers phase", policy.RequestTrailers, m{Headers: set("a", "b")}, "headers: they cannot be changed in the trailers phase"},
		{"a path in the trailers phase", policy.RequestTrailers, m{Path: "/"}, "request_trailers: the headers have been sent"},
		{"a mutation in the chunks phase", policy.RequestBodyChunks, m{}, "cannot be changed in the phase request_body_chunks"},
		{"a request in a response phase", policy.ResponseHeaders, m{}, "cannot be changed in the phase response_headers"},
		{"a method with a space", policy.RequestHeaders, m{Method: "GET /x"}, "method: not a token"},
		{"a relative path", policy.RequestHeaders, m{Path: "x"}, "path: it begins with"},
		{"a path with a space", policy.RequestHeaders, m{Path: "/a b"}, "path: it has the byte 0x20 at position 2"},
		{"a path with a fragment", policy.RequestHeaders, m{Path: "/a#b"}, "path: it has the byte 0x23 at position 2"},
		{"a path with a line break", policy.RequestHeaders, m{Path: "/\n"}, "path: it has the byte 0x0a at position 1"},
		{"a path beyond ASCII", policy.RequestHeaders, m{Path: "/ü"}, "path: it has the byte 0xc3 at position 1"},
		{"an authority with user information", policy.RequestHeaders, m{Authority: "me@host"}, `authority: not a host: it has the byte 0x40 at position 2`},
		{"an authority with a path", policy.RequestHeaders, m{Authority: "host/x"}, "authority:"},
		{"an authority with a bad port", policy.RequestHeaders, m{Authority: "host:http"}, "no port of digits"},
		{"an authority with a word for a port", policy.RequestHeaders, m{Authority: "host:s3cret"}, "authority: it has no port"},
		{"an authority with a word for an address", policy.RequestHeaders, m{Authority: "[s3cret]"}, "authority: it has no IPv6 address"},
		{"an authority with white space", policy.RequestHeaders, m{Authority: "Bearer s3cret"}, "authority: not a host"},
		{"an authority without host", policy.RequestHeaders, m{Authority: ":80"}, "no host"},
		{"an open bracket", policy.RequestHeaders, m{Authority: "[::1"}, "authority:"},
		{"a query on the asterisk", policy.RequestHeaders, m{Path: "*?", Query: policy.QueryMutation{Set: []policy.Param{{Name: "a"}}}}, "path: it begins with"},
		{"a parameter without name", policy.RequestHeaders, m{Query: policy.QueryMutation{Append: []policy.Param{{Value: "v"}}}}, "query.append[0]: the name is empty"},
		{"metadata without key", policy.RequestHeaders, m{Metadata: []policy.Entry{{}}}, "metadata[0]: the key is empty"},
		{"a dynamic value that is no JSON", policy.RequestHeaders, m{DynamicMetadata: []policy.Entry{{Key: "n", Value: 7}}}, `dynamic metadata "n": it holds a int`},
		{"a dynamic value that is no UTF-8", policy.RequestHeaders, m{DynamicMetadata: []policy.Entry{{Key: "n", Value: []any{"\xff"}}}}, "not UTF-8"},
		{"a dynamic value that is too deep", policy.RequestHeaders, m{DynamicMetadata: []policy.Entry{{Key: "n", Value: deep(33)}}}, "nested deeper than 32"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x, want := newExchange(), newExchange()
			// A part that would be valid, to show that it is not applied.
			tt.m.Principal = &policy.Principal{Subject: "me"}
			tt.m.Metadata = append(tt.m.Metadata, policy.Entry{Key: "k", Value: "v"})
			if tt.phase == policy.RequestHeaders {
				tt.m.Headers.Append = append(tt.m.Headers.Append, policy.Header{Name: "x", Value: "y"})
			}
			err := apply.Request(x, tt.phase, &tt.m)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error is %v, want %q in it", err, tt.want)
			}
			if strings.Contains(err.Error(), "s3cret") {
				t.Errorf("the error tells a header's value: %v", err)
			}
			if !reflect.DeepEqual(x, want) {
				t.Errorf("something was applied: %+v", x)
			}
		})
	}
}

func TestQueryNeedsAPath(t *testing.T) {
	for _, target := range []string{"*", ""} {
		x := newExchange()
		x.Request.Path = target
		m := &policy.RequestMutation{Method: "PUT", Query: policy.QueryMutation{Set: []policy.Param{{Name: "a", Value: "b"}}}}
		if err := apply.Request(x, policy.RequestHeaders, m); err == nil || x.Request.Path != target || x.Request.Method != "GET" {
			t.Errorf("target %q: error %v, became %q", target, err, x.Request.Path)
		}
	}
}

func TestRefusedResponse(t *testing.T) {
	type m = policy.ResponseMutation
	for _, tt := range []struct {
		name  string
		phase policy.Phase
		m     m
		want  string
	}{
		{"an informational status", policy.ResponseHeaders, m{Status: 101}, "status: 101 is not between"},
		{"a status that does not exist", policy.ResponseHeaders, m{Status: 600}, "status: 600 is not between"},
		{"a negative status", policy.ResponseHeaders, m{Status: -1}, "status: -1 is not between"},
		{"a status in the trailers phase", policy.ResponseTrailers, m{Status: 200}, "status cannot be changed in the phase"},
		{"a header", policy.ResponseHeaders, m{Headers: set(":status", "200")}, `":status" is a pseudo-header`},
		{"a trailer", policy.ResponseTrailers, m{Trailers: set("content-length", "1")}, `trailers.set[0]: "content-length"`},
		{"a response in a request phase", policy.RequestHeaders, m{}, "cannot be changed in the phase request_headers"},
		{"a response in the chunks phase", policy.ResponseBodyChunks, m{}, "cannot be changed in the phase response_body_chunks"},
		{"no phase at all", policy.PhaseCount, m{}, "cannot be changed in the phase unknown_phase"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x, want := newExchange(), newExchange()
			tt.m.Metadata = []policy.Entry{{Key: "k", Value: "v"}}
			err := apply.Response(x, tt.phase, &tt.m)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error is %v, want %q in it", err, tt.want)
			}
			if !reflect.DeepEqual(x, want) {
				t.Errorf("something was applied: %+v", x)
			}
		})
	}
}

func TestEveryProblemIsToldUpToABound(t *testing.T) {
	m := &policy.RequestMutation{Method: " ", Path: "x", Headers: set("a b", "\n")}
	err := apply.CheckRequest(policy.RequestHeaders, m)
	for _, want := range []string{"method:", "path:", `"a b"`, "control characters"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	m = &policy.RequestMutation{}
	for range 1000 {
		m.Headers.Remove = append(m.Headers.Remove, strings.Repeat(" ", 1000))
	}
	if err := apply.CheckRequest(policy.RequestHeaders, m); err == nil || len(err.Error()) > 8192 {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
}

func TestImmediate(t *testing.T) {
	code := func(c int) *int { return &c }
	type ir = policy.ImmediateResponse
	for _, tt := range []struct {
		name string
		ir   *ir
		// want is empty where the response is good.
		want string
	}{
		{"what Reject makes", policy.Reject(401, "API_KEY_MISSING", "detail", policy.Header{Name: "www-authenticate", Value: "ApiKey"}), ""},
		{"a response with nothing but its status", &ir{Status: 204}, ""},
		{"the highest status and gRPC status", &ir{Status: 599, GRPCStatus: code(16)}, ""},
		{"nil", nil, "is nil"},
		{"no status", &ir{}, "status: 0"},
		{"an informational status", &ir{Status: 100}, "status: 100"},
		{"a status too high", &ir{Status: 600}, "status: 600"},
		{"a body that cannot be", &ir{Status: 304, Body: []byte("x")}, "status 304 has none"},
		{"a header's name", &ir{Status: 200, Headers: []policy.Header{{Name: "a b"}}}, `headers[0]: "a b"`},
		{"a header's value", &ir{Status: 200, Headers: []policy.Header{{Name: "a", Value: "\x00"}}}, `the value of "a"`},
		{"content-length", &ir{Status: 200, Headers: []policy.Header{{Name: "content-length", Value: "1"}}}, "frames the message"},
		{"a gRPC status too high", &ir{Status: 200, GRPCStatus: code(17)}, "gRPC status: 17"},
		{"a gRPC status too low", &ir{Status: 200, GRPCStatus: code(-1)}, "gRPC status: -1"},
		{"a reason in lower case", &ir{Status: 400, Reason: "Bad"}, `reason: it has other characters`},
		{"a reason with a line break", &ir{Status: 400, Reason: "A\nB"}, "reason:"},
		{"a reason too long", &ir{Status: 400, Reason: strings.Repeat("A", 65)}, "longer than 64"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := apply.Immediate(tt.ir)
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v, want %q in it", err, tt.want)
			}
		})
	}
}

func TestAuthority(t *testing.T) {
	for _, good := range []string{"a", "a.example", "a:1", "a.b:65535", "[::1]", "[::1]:443", "192.0.2.1:80", "a_b.c~d"} {
		if err := apply.CheckRequest(policy.RequestHeaders, &policy.RequestMutation{Authority: good}); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
}

// plainMutation is what most policies answer.
var plainMutation = &policy.RequestMutation{Headers: policy.HeaderMutation{
	Remove: []string{"cookie", "x-absent"},
	Set:    []policy.Header{{Name: "x-tenant", Value: "payments"}, {Name: "accept", Value: "application/json"}},
	Append: []policy.Header{{Name: "x-forwarded-by", Value: "gateway"}},
}}

func requestHeaders(into []exchange.Field) []exchange.Field {
	return append(into, exchange.Field{Name: "user-agent", Value: "curl/8.5.0"}, exchange.Field{Name: "accept", Value: "*/*"},
		exchange.Field{Name: "x-request-id", Value: "6b1e3c0a-0d5f-4a63-9f2e-2f0f5b8a1c11"}, exchange.Field{Name: "cookie", Value: "a=b"},
		exchange.Field{Name: "x-forwarded-for", Value: "203.0.113.7"}, exchange.Field{Name: "x-forwarded-proto", Value: "https"},
		exchange.Field{Name: "accept-encoding", Value: "gzip, br"}, exchange.Field{Name: "accept-language", Value: "en"},
		exchange.Field{Name: "content-type", Value: "application/json"}, exchange.Field{Name: "authorization", Value: "Bearer abc"})
}

func TestAPlainMutationAllocatesNothing(t *testing.T) {
	x := newExchange()
	run := func() {
		x.Request.Headers.Reset(requestHeaders(x.Request.Headers.Storage()))
		if err := apply.Request(x, policy.RequestHeaders, plainMutation); err != nil {
			t.Fatal(err)
		}
	}
	run() // the lists grow once
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%v allocations", n)
	}
	ir := policy.Reject(401, "NO", "")
	if n := testing.AllocsPerRun(100, func() {
		if err := apply.Immediate(ir); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations to check an immediate response", n)
	}
}

func BenchmarkRequest(b *testing.B) {
	x := newExchange()
	b.ReportAllocs()
	for b.Loop() {
		x.Request.Headers.Reset(requestHeaders(x.Request.Headers.Storage()))
		if err := apply.Request(x, policy.RequestHeaders, plainMutation); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheckRequest(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if err := apply.CheckRequest(policy.RequestHeaders, plainMutation); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzRequest holds that whatever is applied could be sent, and that what is refused
// has changed nothing.
func FuzzRequest(f *testing.F) {
	f.Add("x-a", "v", "GET", "host:1", "/p?q", "k", "v w")
	f.Add("a b", "\n", " ", "[::1]:443", "*", "", "")
	f.Add("Host", "\xff", "M", "a@b", "/%zz#", "%", "\x00")
	f.Fuzz(func(t *testing.T, name, value, method, authority, path, param, paramValue string) {
		m := &policy.RequestMutation{
			Method: method, Authority: authority, Path: path,
			Headers: policy.HeaderMutation{
				Remove: []string{name}, Set: []policy.Header{{Name: name, Value: value}}, Append: []policy.Header{{Name: name, Value: value}},
			},
			Query: policy.QueryMutation{Set: []policy.Param{{Name: param, Value: paramValue}}},
		}
		x, before := newExchange(), newExchange()
		if err := apply.Request(x, policy.RequestHeaders, m); err != nil {
			if !reflect.DeepEqual(x, before) {
				t.Fatalf("refused by %v, and changed to %+v", err, x)
			}
			return
		}
		r := &x.Request
		for what, s := range map[string]string{"method": r.Method, "authority": r.Authority, "target": r.Path} {
			for i := range len(s) {
				if s[i] <= ' ' || s[i] >= 0x7f && what != "authority" {
					t.Errorf("the %s %q has the byte 0x%02x", what, s, s[i])
				}
			}
		}
		if r.Method == "" || r.Authority == "" || !strings.HasPrefix(r.Path, "/") {
			t.Errorf("the request became %q %q %q", r.Method, r.Authority, r.Path)
		}
		for name, value := range r.Headers.All() {
			if name == "host" || name == "content-length" || !policy.ValidHeaderName(name) || !policy.ValidHeaderValue(value) || name != strings.ToLower(name) {
				t.Errorf("a header became %q: %q", name, value)
			}
		}
		c := policy.NewRequestContext(x, false)
		if got, ok := c.Query(param); !ok || got != paramValue || c.QueryCount(param) != 1 {
			t.Errorf("the parameter %q reads %q in %q", param, got, r.Path)
		}
	})
}

// TestEndlessMetadata proves that a value that holds itself, or one value again and
// again, is refused, and soon: what would be sent of the latter is 2^30 values.
func TestEndlessMetadata(t *testing.T) {
	circle := map[string]any{}
	circle["a"], circle["b"] = circle, circle
	list := make([]any, 2)
	list[0], list[1] = list, list
	var doubled any = "x"
	for range 30 {
		doubled = []any{doubled, doubled}
	}
	wide := []any{make([]any, 20_000)}
	for name, v := range map[string]any{"a map": circle, "a list": list, "one that doubles": doubled, "a large one": wide} {
		m := &policy.RequestMutation{DynamicMetadata: []policy.Entry{{Key: "k", Value: v}}}
		done := make(chan error, 1)
		go func() { done <- apply.CheckRequest(policy.RequestHeaders, m) }()
		select {
		case err := <-done:
			if err == nil {
				t.Errorf("%s was accepted", name)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s is still being checked", name)
		}
	}
	m := &policy.RequestMutation{DynamicMetadata: []policy.Entry{{Key: "k", Value: make([]any, 5000)}}}
	if err := apply.CheckRequest(policy.RequestHeaders, m); err != nil {
		t.Error(err)
	}
}
