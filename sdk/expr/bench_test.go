package expr_test

import (
	"testing"

	"policyengine.dev/sdk/expr"
)

// conditions are what conditions look like, from the commonest on. Those after
// "interpreted" take the interpreter.
var conditions = []struct{ name, source string }{
	{"method", `request.method == "POST"`},
	{"method-and-prefix", `request.method == "POST" && request.path.startsWith("/v1/")`},
	{"method-in", `request.method in ["GET", "HEAD", "POST"]`},
	{"header", `"x-debug" in request.headers && request.headers["x-debug"] == "on"`},
	{"header-default", `request.headers[?"x-none"].orValue("off") == "off"`},
	{"scope", `auth.authenticated && "payments:write" in auth.scopes`},
	{"claim", `auth.claims.tier == "gold"`},
	{"metadata", `has(metadata.risk) && metadata.risk > 0.8`},
	{"status", `response.status >= 500`},
	{"regex", `request.path.matches("^/v[0-9]+/")`},
	{"interpreted-loop", `auth.scopes.exists(s, s.startsWith("payments:"))`},
	{"interpreted-headers-loop", `request.headers.exists(h, h.startsWith("x-"))`},
	{"interpreted-params", `request.params["dry"] == ["1"]`},
	{"interpreted-metered", `request.path.split("/").map(s, s + s).size() == 3`},
}

func BenchmarkEval(b *testing.B) {
	for _, c := range conditions {
		b.Run(c.name, func(b *testing.B) {
			p := mustCompile(b, c.source)
			var in expr.Input = charge()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Eval(in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkInterpret is what the quick conditions would cost without the quick way.
func BenchmarkInterpret(b *testing.B) {
	for _, c := range conditions[:10] {
		b.Run(c.name, func(b *testing.B) {
			p := mustCompile(b, c.source)
			var in expr.Input = charge()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Interpret(in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	for _, c := range conditions[:2] {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				mustCompile(b, c.source)
			}
		})
	}
}
