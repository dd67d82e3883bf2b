package input_test

import (
	"iter"
	"maps"
	"testing"
	"time"

	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/expr"
	"policyengine.dev/sdk/expr/input"
	"policyengine.dev/sdk/policy"
)

type attributes map[string]any

func (a attributes) Lookup(name string) (any, bool) {
	v, ok := a[name]
	return v, ok
}

func (a attributes) All() iter.Seq2[string, any] { return maps.All(a) }

func charge() *exchange.Exchange {
	x := &exchange.Exchange{Route: "charge", Attributes: attributes{"source.address": "10.0.0.7:5000"}}
	x.Request.Method, x.Request.Scheme = "POST", "https"
	x.Request.Authority, x.Request.Path = "api.example.com", "/v1/charges?dry=1"
	x.Request.Headers.Append("x-debug", "on")
	x.Request.Headers.Append("accept", "a/b")
	x.Request.Headers.Append("Accept", "c/d")
	x.Response.Status = 502
	x.Response.Headers.Append("server", "up")
	x.Principal = &exchange.Principal{
		Subject: "svc", Issuer: "us", Scopes: []string{"write"}, Claims: map[string]any{"tier": "gold"},
	}
	x.Metadata.Set("risk", 0.9)
	return x
}

// Every variable is read through every way to an exchange: a condition that holds
// only if each getter gives its own value.
const all = `request.method == "POST" && request.scheme == "https" && request.authority == "api.example.com" &&
	request.path == "/v1/charges" && request.query == "dry=1" && request.headers["x-debug"] == "on" &&
	request.headers["accept"] == "a/b,c/d" && size(request.headers) == 2 && request.time.getFullYear() == 2026 &&
	auth.authenticated && auth.subject == "svc" && auth.issuer == "us" && auth.scopes == ["write"] &&
	auth.claims.tier == "gold" && route.name == "charge" && metadata.risk > 0.8 &&
	attributes["source.address"] == "10.0.0.7:5000"`

const allWithResponse = all + ` && response.status == 502 && response.headers["server"] == "up"`

func TestInputs(t *testing.T) {
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	x := charge()
	anonymous := charge()
	anonymous.Principal, anonymous.Attributes = nil, nil
	request, response := policy.NewRequestContext(x, false), policy.NewResponseContext(x, false)
	nobody := policy.NewRequestContext(anonymous, false)
	const noOne = `!auth.authenticated && auth.subject == "" && auth.issuer == "" && auth.scopes == [] && auth.claims == {}`
	tests := []struct {
		name, condition string
		in              expr.Input
	}{
		{"an exchange", allWithResponse, &input.Exchange{X: x, Received: at}},
		{"a request context", all, input.Request(&request, at)},
		{"a request context has no response", `response.status == 0 && response.headers == {}`, input.Request(&request, at)},
		{"a response context", allWithResponse, input.Response(&response, at)},
		{"an exchange without a caller", noOne + ` && !("source.address" in attributes)`, &input.Exchange{X: anonymous}},
		{"a context without a caller", noOne + ` && !("source.address" in attributes)`, input.Request(&nobody, at)},
		{"another caller", `auth.subject == "me" && auth.issuer == "them" && auth.scopes == ["read"] && auth.claims == {"a": 1} && request.method == "POST"`,
			input.WithPrincipal(input.Request(&request, at), &policy.Principal{
				Subject: "me", Issuer: "them", Scopes: []string{"read"}, Claims: map[string]any{"a": 1.0},
			})},
		{"no caller instead of one", noOne, input.WithPrincipal(input.Request(&request, at), nil)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := expr.Compile(tt.condition)
			if err != nil {
				t.Fatal(err)
			}
			if holds, err := p.Eval(tt.in); !holds || err != nil {
				t.Errorf("got %v, %v", holds, err)
			}
		})
	}
}

// A runtime evaluates conditions over an exchange without allocating.
func TestExchangeDoesNotAllocate(t *testing.T) {
	p, err := expr.Compile(`request.method == "POST" && request.headers["x-debug"] == "on" && "write" in auth.scopes && metadata.risk > 0.8`)
	if err != nil {
		t.Fatal(err)
	}
	in := &input.Exchange{X: charge()}
	if n := testing.AllocsPerRun(100, func() {
		if holds, err := p.Eval(in); !holds || err != nil {
			t.Fatal(holds, err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkExchange(b *testing.B) {
	for _, bm := range []struct{ name, source string }{
		{"method-and-prefix", `request.method == "POST" && request.path.startsWith("/v1/")`},
		{"header", `"x-debug" in request.headers && request.headers["x-debug"] == "on"`},
		{"scope-and-claim", `"write" in auth.scopes && auth.claims.tier == "gold"`},
	} {
		b.Run(bm.name, func(b *testing.B) {
			p, err := expr.Compile(bm.source)
			if err != nil {
				b.Fatal(err)
			}
			in := &input.Exchange{X: charge()}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Eval(in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
