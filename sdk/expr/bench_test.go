package expr_test

import (
	"testing"

	"policyengine.dev/sdk/expr"
)

func BenchmarkEval(b *testing.B) {
	for _, bm := range []struct{ name, source string }{
		{"method", `request.method == "POST"`},
		{"method-and-prefix", `request.method == "POST" && request.path.startsWith("/v1/")`},
		{"header-equals", `"x-debug" in request.headers && request.headers["x-debug"] == "on"`},
		{"claim", `auth.claims.tier == "gold"`},
		{"regex", `request.path.matches("^/v[0-9]+/")`},
	} {
		b.Run(bm.name, func(b *testing.B) {
			p, err := expr.Compile(bm.source)
			if err != nil {
				b.Fatal(err)
			}
			in := charge()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Eval(in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
