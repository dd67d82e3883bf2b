package expr_test

import (
	"testing"

	"policyengine.dev/sdk/expr"
)

// quickConditions are of the shapes that documentation promises to be quick. They
// hold for charge().
var quickConditions = []string{
	`true`,
	`request.method == "POST"`,
	`"POST" == request.method`,
	`request.method == "POST" && request.path.startsWith("/v1/")`,
	`request.method != "GET" && (request.path.endsWith("/charges") || request.scheme.contains("ftp")) && !(route.name == "a")`,
	`request.method in ["GET", "POST"]`,
	`request.method in ["A", "B", "C", "D", "E", "F", "G", "H", "I", "J", "POST"]`,
	`request.path.matches("^/v[0-9]+/")`,
	`matches(request.path, "^/v[0-9]+/")`,
	`request.headers["x-debug"] == "on"`,
	`request.headers["X-Debug"] == "on"`,
	`response.headers.server != ""`,
	`"x-debug" in request.headers && request.headers["x-debug"] == "on"`,
	`has(request.headers.accept)`,
	`!("x-none" in request.headers)`,
	`request.headers[?"x-none"].orValue("off") == "off"`,
	`size(request.path) > 4 && request.path.size() < 100`,
	`request.query < "e"`,
	`response.status >= 500 && response.status < 600`,
	`response.status in [502, 503]`,
	`response.headers["server"] == "up"`,
	`auth.authenticated`,
	`auth.authenticated == true`,
	`auth.authenticated ? auth.subject == "svc-billing" : false`,
	`(auth.authenticated ? auth.subject : "nobody") == "svc-billing"`,
	`"payments:write" in auth.scopes`,
	`auth.claims.tier == "gold"`,
	`auth.claims["tier"] != "free"`,
	`auth.claims.org.id == "o-1"`,
	`auth.claims.admin == true`,
	`auth.claims.level >= 3 && 2 < auth.claims.level && auth.claims.level == 3`,
	`"lead" in auth.claims.roles`,
	`has(auth.claims.org) && has(auth.claims.org.id) && "tier" in auth.claims && !has(auth.claims.nope)`,
	`has(metadata.risk) && metadata.risk > 0.8`,
	`attributes["source.address"] == "10.0.0.7:5000" && "source.port" in attributes`,
	`route.name == "charge"`,
}

func TestQuickWayDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("pools lose what they hold under the race detector")
	}
	for _, source := range quickConditions {
		t.Run(source, func(t *testing.T) {
			p := mustCompile(t, source)
			if !p.Quick() {
				t.Fatal("only the interpreter can evaluate it")
			}
			var in expr.Input = charge()
			if n := testing.AllocsPerRun(100, func() {
				if holds, err := p.Eval(in); !holds || err != nil {
					t.Fatal(holds, err)
				}
			}); n != 0 {
				t.Errorf("%v allocations", n)
			}
		})
	}
}

// The interpreter alone stays within what a condition may cost, so that one which
// the quick way cannot evaluate is no cliff.
func TestInterpreterAllocations(t *testing.T) {
	p := mustCompile(t, `request.method == "POST" && request.path.startsWith("/v1/")`)
	var in expr.Input = charge()
	if n := testing.AllocsPerRun(100, func() {
		if holds, err := p.Interpret(in); !holds || err != nil {
			t.Fatal(holds, err)
		}
	}); n > 2 {
		t.Errorf("%v allocations", n)
	}
}
