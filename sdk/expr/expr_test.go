package expr_test

import (
	"errors"
	"testing"
	"time"

	"policyengine.dev/sdk/expr"
)

// charge is the request that most tests look at.
func charge() *expr.Static {
	return &expr.Static{
		RequestMethod: "POST", RequestScheme: "https", RequestAuthority: "API.Example.com:8443",
		RequestTarget: "/v1/charges?dry=1&tag=a&tag=b%2Fc+d&empty",
		RequestFields: expr.Fields{
			{Name: "content-type", Value: "application/json"},
			{Name: "x-debug", Value: "on"},
			{Name: "accept", Value: "text/html"},
			{Name: "accept", Value: "*/*"},
			{Name: "cookie", Value: "a=1"},
			{Name: "cookie", Value: "b=2"},
			{Name: "x-request-id", Value: "7f3a"},
		},
		RequestTime:    time.Date(2026, 3, 1, 4, 30, 0, 0, time.UTC),
		ResponseStatus: 502,
		ResponseFields: expr.Fields{{Name: "server", Value: "up"}},
		Principal: &expr.Principal{
			Subject: "svc-billing", Issuer: "https://login.example.com/",
			Scopes: []string{"payments:read", "payments:write"},
			Claims: map[string]any{
				"tier": "gold", "level": 3.0, "admin": true, "none": nil,
				"roles": []any{"clerk", "lead"}, "org": map[string]any{"id": "o-1"},
			},
		},
		RouteName:       "charge",
		Entries:         map[string]any{"risk": 0.9, "labels": []string{"b", "a"}, "tenant": map[string]string{"id": "t-1"}},
		EnvoyAttributes: map[string]any{"source.address": "10.0.0.7:5000", "connection.mtls": true, "source.port": 5000.0},
	}
}

func TestEval(t *testing.T) {
	tests := []struct {
		source string
		want   bool
	}{
		{`request.method == "POST" && request.path.startsWith("/v1/")`, true},
		{`request.method == "post"`, false},
		{`request.path == "/v1/charges"`, true},
		{`request.url_path == request.path`, true},
		{`request.query == "dry=1&tag=a&tag=b%2Fc+d&empty"`, true},
		{`request.params["tag"] == ["a", "b/c d"]`, true},
		{`"empty" in request.params && request.params["empty"][0] == ""`, true},
		{`"nope" in request.params`, false},
		{`request.authority == "API.Example.com:8443"`, true},
		{`request.host == "api.example.com"`, true},
		{`request.headers["X-Debug"] == "on"`, true},
		{`"X-Debug" in request.headers`, true},
		{`request.headers["accept"] == "text/html,*/*"`, true},
		{`request.headers["cookie"] == "a=1; b=2"`, true},
		{`size(request.headers) == 5`, true},
		{`request.headers.exists(h, h.startsWith("x-"))`, true},
		{`request.headers[?"x-none"].orValue("") == ""`, true},
		{`has(request.headers.accept)`, true},
		{`request.id == "7f3a"`, true},
		{`request.time.getHours() == 4`, true},
		{`request.time.getHours("+02:00") == 6`, true},
		{`response.status >= 500`, true},
		{`response.headers["server"] == "up"`, true},
		{`auth.authenticated && auth.subject == "svc-billing"`, true},
		{`"payments:write" in auth.scopes`, true},
		{`auth.scopes.all(s, s.startsWith("payments:"))`, true},
		{`auth.claims.tier == "gold"`, true},
		{`auth.claims.level >= 3`, true},
		{`auth.claims.org.id == "o-1"`, true},
		{`"lead" in auth.claims.roles`, true},
		{`has(auth.claims.nope)`, false},
		{`route.name == "charge"`, true},
		{`metadata.risk > 0.8`, true},
		{`metadata["tenant"].id == "t-1"`, true},
		{`attributes["source.address"].startsWith("10.")`, true},
		{`attributes["connection.mtls"] == true`, true},
		{`"x.y" in attributes`, false},
		{`request.path.matches("^/v[0-9]+/")`, true},
		{`request.headers["x-none"] == "a" || true`, true},
		{`false && request.headers["x-none"] == "a"`, false},
		{`request.headers["x-none"] == "a" && false`, false},
	}
	for _, tt := range tests {
		t.Run(tt.source, func(t *testing.T) {
			p, err := expr.Compile(tt.source)
			if err != nil {
				t.Fatal(err)
			}
			got, err := p.Eval(charge())
			if err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			cost, known := p.Cost()
			t.Logf("cost %d, known %v", cost, known)
		})
	}
}

func TestEvalErrors(t *testing.T) {
	tests := []struct{ source, want string }{
		{`request.headers["x-none"] == "a"`, "evaluating expression at 1:16: no such key"},
		{`auth.claims.nope == 1`, "evaluating expression at 1:12: no such key"},
		{`auth.claims.tier > 1`, "evaluating expression at 1:18: a value of a type that does not fit"},
	}
	for _, tt := range tests {
		t.Run(tt.source, func(t *testing.T) {
			p, err := expr.Compile(tt.source)
			if err != nil {
				t.Fatal(err)
			}
			_, err = p.Eval(charge())
			var e *expr.EvalError
			if !errors.As(err, &e) || err.Error() != tt.want {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}
