package extproc_test

import (
	"context"
	"testing"

	"policyengine.dev/runtime/extproc/negotiate"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

// TestHeaderLimits proves that a result that Envoy would refuse is refused here, and
// that a connection manager's limit counts for requests alone.
func TestHeaderLimits(t *testing.T) {
	for name, c := range map[string]struct {
		limit             int
		request, response int // headers that come, of which one is set again
		refused           int
	}{
		"a request of as many as by default":          {request: 96, response: 1},
		"a request of more":                           {request: 97, refused: 431},
		"a request of as many as the limit":           {limit: 20, request: 16, response: 1},
		"a request over the limit":                    {limit: 20, request: 17, refused: 431},
		"a response of as many as by default":         {request: 1, response: 99},
		"a response of more":                          {request: 1, response: 100, refused: 502},
		"a response over a limit of requests":         {limit: 20, request: 1, response: 99},
		"a response below a limit that is raised":     {limit: 200, request: 1, response: 199},
		"a response over a limit that is raised more": {limit: 200, request: 1, response: 200, refused: 502},
	} {
		t.Run(name, func(t *testing.T) {
			e := serve(t, oneChain(&chain{steps: map[policy.Phase]step{
				policy.RequestHeaders: setsRequest("x-0", "new"), policy.ResponseHeaders: setsResponse("x-0", "new"),
			}}), options{Filter: negotiate.Settings{MaxHeaders: c.limit}})
			s := e.open(t, "r")
			r := s.call(requestHeaders(true, numbered(c.request)...))
			if c.response > 0 {
				r = s.call(responseHeaders(true, numbered(c.response)...))
			}
			if c.refused != 0 {
				immediate(t, r, c.refused, "policy_engine.HEADERS_TOO_LARGE")
			} else if r.GetImmediateResponse() != nil {
				t.Errorf("the reply is %v", r)
			}
		})
	}
}

// numbered are n headers.
func numbered(n int) (pairs []string) {
	for i := range n {
		pairs = append(pairs, "x-"+itoa(i), "old")
	}
	return pairs
}

// TestMutationRules proves that a change that the filter's rules forbid is refused,
// never sent to be dropped.
func TestMutationRules(t *testing.T) {
	expressions, err := negotiate.NewExpressions("x-open|:authority", "x-closed|:path")
	if err != nil {
		t.Fatal(err)
	}
	method := func(x *exchange.Exchange) { x.Request.SetMethod("PUT") }
	authority := func(x *exchange.Exchange) { x.Request.SetAuthority("other") }
	path := func(x *exchange.Exchange) { x.Request.SetPath("/other") }
	header := func(name string) func(*exchange.Exchange) {
		return func(x *exchange.Exchange) { x.Request.Headers.Set(name, "1") }
	}
	for name, c := range map[string]struct {
		filter      negotiate.Settings
		expressions negotiate.Expressions
		stamp       string
		change      func(*exchange.Exchange)
		refused     bool
	}{
		"any header by default":             {change: header("x-a")},
		"a path by default":                 {change: path},
		"no method by default":              {change: method, refused: true},
		"a method with routing":             {filter: negotiate.Settings{Routing: true}, change: method},
		"no method without pseudo-headers":  {filter: negotiate.Settings{Routing: true, NoSystem: true}, change: method, refused: true},
		"no path without pseudo-headers":    {filter: negotiate.Settings{NoSystem: true}, change: path, refused: true},
		"a header without pseudo-headers":   {filter: negotiate.Settings{NoSystem: true}, change: header("x-a")},
		"no header with all disallowed":     {filter: negotiate.Settings{NoHeaders: true}, change: header("x-a"), refused: true},
		"no path with all disallowed":       {filter: negotiate.Settings{NoHeaders: true}, change: path, refused: true},
		"a header that is disallowed":       {expressions: expressions, change: header("X-Closed"), refused: true},
		"a path that is disallowed":         {expressions: expressions, change: path, refused: true},
		"a header of which nothing is said": {expressions: expressions, change: header("x-closed-not")},
		"an authority that is allowed":      {expressions: expressions, change: authority},
		"a header that is allowed where all are not": {
			filter: negotiate.Settings{NoHeaders: true}, expressions: expressions, change: header("x-open"),
		},
		"a stamp knows no expressions": {expressions: expressions, stamp: negotiate.Settings{}.Stamp(), change: header("x-closed")},
	} {
		t.Run(name, func(t *testing.T) {
			steps := map[policy.Phase]step{policy.RequestHeaders: func(_ context.Context, x *exchange.Exchange) *policy.ImmediateResponse {
				c.change(x)
				return nil
			}}
			e := serve(t, oneChain(&chain{steps: steps}), options{Filter: c.filter, FilterExpressions: c.expressions})
			s := e.open(t, "r")
			if c.stamp != "" {
				s = e.withMetadata(t, "r", negotiate.StampKey, c.stamp)
			}
			r := s.call(requestHeaders(true))
			if c.refused {
				immediate(t, r, 500, "policy_engine.FILTER_CANNOT_SERVE_CHAIN")
			} else if requestMutation(r) == nil {
				t.Errorf("the reply is %v", r)
			}
		})
	}
}
