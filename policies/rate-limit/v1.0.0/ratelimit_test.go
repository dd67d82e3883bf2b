package ratelimit_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"

	ratelimit "policyengine.dev/policies/rate-limit/v1.0.0"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policytest"
)

func TestCases(t *testing.T) {
	policytest.Cases(t, ratelimit.Policy, "testdata/cases.yaml")
}

func client(id string) policytest.Request {
	return policytest.Request{Headers: policytest.Headers("x-client", id)}
}

func address(a string) policytest.Request {
	return policytest.Request{Attributes: map[string]any{"source.address": a}}
}

func forwarded(list string) policytest.Request {
	return policytest.Request{Headers: policytest.Headers("x-forwarded-for", list)}
}

const perClient = `{limits: [{name: caller, rate: 2, window: 1m, key: [{header: x-client}]}]}`

// TestALimitRefusesAndRecovers proves that the advice in Retry-After is right, and that
// one client's requests are not charged to another.
func TestALimitRefusesAndRecovers(t *testing.T) {
	p := policytest.New(t, ratelimit.Policy, perClient)
	p.Send(t, client("a")).WantPassed(t)
	p.Host.Clock.Advance(time.Second)
	p.Send(t, client("a")).WantPassed(t)
	x := p.Send(t, client("a"))
	x.WantRejected(t, 429, ratelimit.ReasonLimited)
	if got := headers(x.Immediate.Headers, "retry-after"); got != "29" {
		t.Errorf("Retry-After is %q", got)
	}
	p.Send(t, client("b")).WantPassed(t)
	p.Host.Clock.Advance(29*time.Second - 1)
	p.Send(t, client("a")).WantRejected(t, 429, ratelimit.ReasonLimited)
	p.Host.Clock.Advance(1)
	p.Send(t, client("a")).WantPassed(t)
	if got := p.Host.Metrics.Value("refused_total", policy.Label{Name: "limit", Value: "caller"}); got != 2 {
		t.Errorf("%v refused requests are counted", got)
	}
}

func headers(all []policy.Header, name string) string {
	for _, h := range all {
		if h.Name == name {
			return h.Value
		}
	}
	return ""
}

// TestKeys proves for each kind of part that requests which differ in it are counted
// apart, and those that do not together.
func TestKeys(t *testing.T) {
	subject := func(issuer, sub string) policytest.Request {
		return policytest.Request{Principal: &policy.Principal{Issuer: issuer, Subject: sub}}
	}
	for _, tt := range []struct {
		key    string
		same   [2]policytest.Request
		others []policytest.Request
	}{
		{`[]`, [2]policytest.Request{client("a"), client("b")}, nil},
		{`[route: true]`, [2]policytest.Request{{Route: "x"}, {Route: "x", Target: "/other"}}, []policytest.Request{{Route: "y"}}},
		{`[principal: true]`, [2]policytest.Request{subject("i", "s"), subject("i", "s")}, []policytest.Request{subject("i", "t"), subject("j", "s"), subject("is", ""), {}}},
		{`[{header: X-Client}]`, [2]policytest.Request{client("a"), client("a")}, []policytest.Request{
			client("b"), {Headers: policytest.Headers("x-client", "a", "x-client", "b")}, {},
		}},
		{`[{query: tenant}]`, [2]policytest.Request{{Target: "/?tenant=a%20b"}, {Target: "/x?y&tenant=a+b"}}, []policytest.Request{{Target: "/?tenant=a"}, {Target: "/?tenant=a+b&tenant="}, {}}},
		{`[{expression: "request.method"}]`, [2]policytest.Request{{Method: "PUT"}, {Method: "PUT", Target: "/x"}}, []policytest.Request{{Method: "GET"}}},
		{`[{expression: "request.headers['x-client']"}]`, [2]policytest.Request{{}, {Target: "/without"}}, []policytest.Request{client("a")}},
		{`[{client: {}}]`, [2]policytest.Request{address("192.0.2.1:1"), address("[::ffff:192.0.2.1]:2")}, []policytest.Request{address("192.0.2.2:1"), address("[2001:db8::1]:1"), {}}},
		{`[{client: {}}]`, [2]policytest.Request{address("[2001:db8::1]:1"), address("[2001:db8::ffff:1]:1")}, []policytest.Request{address("[2001:db8:0:1::1]:1")}},
		{`[{client: {trustedHops: 1}}]`, [2]policytest.Request{forwarded("1.1.1.1, 192.0.2.1, 10.0.0.1"), forwarded("2.2.2.2, 192.0.2.1, 10.0.0.9")}, []policytest.Request{forwarded("192.0.2.1, 192.0.2.2, 10.0.0.1"), forwarded("192.0.2.1")}},
		// No two keys run into each other.
		{`[{header: a}, {header: b}]`, [2]policytest.Request{{Headers: policytest.Headers("a", "xy")}, {Headers: policytest.Headers("a", "xy")}}, []policytest.Request{
			{Headers: policytest.Headers("a", "x", "b", "y")}, {Headers: policytest.Headers("b", "xy")}, {Headers: policytest.Headers("a", "x", "a", "y")},
		}},
	} {
		p := policytest.New(t, ratelimit.Policy, fmt.Sprintf(`{limits: [{name: l, rate: 1, window: 1h, key: %s}]}`, tt.key))
		p.Send(t, tt.same[0]).WantPassed(t)
		p.Send(t, tt.same[1]).WantRejected(t, 429, ratelimit.ReasonLimited)
		for i, other := range tt.others {
			if x := p.Send(t, other); x.Immediate != nil {
				t.Errorf("%s: other request %d is counted together with the first", tt.key, i)
			}
		}
	}
}

// TestAllOrNone proves that a request which one limit refuses is charged to no other.
func TestAllOrNone(t *testing.T) {
	p := policytest.New(t, ratelimit.Policy, `{limits: [{name: all, rate: 10, window: 1h}, {name: one, rate: 1, window: 1h, key: [{header: x-client}]}]}`)
	p.Send(t, client("a")).WantPassed(t)
	for range 20 {
		p.Send(t, client("a")).WantRejected(t, 429, ratelimit.ReasonLimited)
	}
	x := p.Send(t, client("b"))
	x.Respond(t, policytest.Response{})
	if got := x.Response.Header("ratelimit"); !strings.HasPrefix(got, `"all";r=8;`) {
		t.Errorf("RateLimit is %s", got)
	}
}

// TestCosts proves that a request takes what its expression says.
func TestCosts(t *testing.T) {
	p := policytest.New(t, ratelimit.Policy, `{limits: [{name: l, rate: 10, window: 1h, costExpression: "request.method == 'POST' ? 6 : 0"}]}`)
	for range 20 {
		p.Send(t, policytest.Request{}).WantPassed(t)
	}
	p.Send(t, policytest.Request{Method: "POST"}).WantPassed(t)
	p.Send(t, policytest.Request{Method: "POST"}).WantRejected(t, 429, ratelimit.ReasonLimited)
	p.Send(t, policytest.Request{}).WantPassed(t)
}

// TestShadowChargesNothing proves that a step on trial counts for itself alone.
func TestShadowChargesNothing(t *testing.T) {
	h := policytest.NewHost()
	trial := policytest.New(t, ratelimit.Policy, perClient, policytest.InShadow(), policytest.WithHost(h))
	for i := range 5 {
		x := trial.Send(t, client("a"))
		if _, refuses := x.Steps[0].Action.(*policy.ImmediateResponse); refuses != (i >= 2) {
			t.Errorf("request %d: the trial refuses: %t", i, refuses)
		}
	}
	enforced := policytest.New(t, ratelimit.Policy, perClient, policytest.WithHost(h))
	enforced.Send(t, client("a")).WantPassed(t)
	enforced.Send(t, client("a")).WantPassed(t)
	enforced.Send(t, client("a")).WantRejected(t, 429, ratelimit.ReasonLimited)
}

// TestCountsSurviveAReload proves that a change of parameters gives nobody a new burst.
func TestCountsSurviveAReload(t *testing.T) {
	h := policytest.NewHost()
	before := policytest.New(t, ratelimit.Policy, perClient, policytest.WithHost(h))
	before.Send(t, client("a")).WantPassed(t)
	before.Send(t, client("a")).WantPassed(t)
	after := policytest.New(t, ratelimit.Policy, strings.Replace(perClient, "rate: 2", "rate: 1", 1), policytest.WithHost(h))
	if err := before.Close(); err != nil {
		t.Fatal(err)
	}
	after.Send(t, client("a")).WantRejected(t, 429, ratelimit.ReasonLimited)
	after.Send(t, client("b")).WantPassed(t)
}

// TestChainsShareALimit proves that instances which name a limit alike count together,
// and others apart.
func TestChainsShareALimit(t *testing.T) {
	h := policytest.NewHost()
	one := policytest.New(t, ratelimit.Policy, perClient, policytest.WithHost(h))
	two := policytest.New(t, ratelimit.Policy, perClient, policytest.WithHost(h))
	other := policytest.New(t, ratelimit.Policy, strings.Replace(perClient, "caller", "other", 1), policytest.WithHost(h))
	one.Send(t, client("a")).WantPassed(t)
	two.Send(t, client("a")).WantPassed(t)
	one.Send(t, client("a")).WantRejected(t, 429, ratelimit.ReasonLimited)
	two.Send(t, client("a")).WantRejected(t, 429, ratelimit.ReasonLimited)
	other.Send(t, client("a")).WantPassed(t)
}

// TestFull proves that a client cannot fill the memory, and what happens to new keys.
func TestFull(t *testing.T) {
	for mode, want := range map[string]int{"share": 1, "refuse": 0, "allow": 100} {
		p := policytest.New(t, ratelimit.Policy, fmt.Sprintf(`{limits: [{name: l, rate: 1, window: 1h, key: [{header: x-client}], maxKeys: 10, whenFull: %s}]}`, mode))
		passed := 0
		for i := range 110 {
			if p.Send(t, client(fmt.Sprint(i))).Immediate == nil {
				passed++
			}
		}
		if passed != 10+want {
			t.Errorf("%s: %d passed, want %d", mode, passed, 10+want)
		}
		if got := p.Host.Metrics.Value("overflow_total", policy.Label{Name: "limit", Value: "l"}); got != 100 {
			t.Errorf("%s: %v requests are counted as overflow", mode, got)
		}
	}
}

// TestFieldsAreStructuredFields proves, by another implementation's parser, that what
// clients are told is well-formed (RFC 9651).
func TestFieldsAreStructuredFields(t *testing.T) {
	p := policytest.New(t, ratelimit.Policy, `{limits: [{name: a, rate: 5, window: 1m, burst: 2}, {name: b.c-d_e, rate: 7, window: 1500ms}]}`)
	x := p.Send(t, policytest.Request{})
	x.Respond(t, policytest.Response{})
	for name, want := range map[string][]string{"ratelimit": {"r", "t"}, "ratelimit-policy": {"q"}} {
		list, err := httpsfv.UnmarshalList([]string{x.Response.Header(name)})
		if err != nil || len(list) != 2 {
			t.Fatalf("%s: %v, %d items", name, err, len(list))
		}
		for i, limit := range []string{"a", "b.c-d_e"} {
			item, ok := list[i].(httpsfv.Item)
			if !ok || item.Value != limit {
				t.Errorf("%s: item %d is %v", name, i, list[i])
			}
			for _, param := range want {
				if v, _ := item.Params.Get(param); fmt.Sprintf("%T", v) != "int64" {
					t.Errorf("%s: %s of %s is %v", name, param, limit, v)
				}
			}
		}
	}
}

// TestOnlyWhatIsNeededIsAskedFor proves that the response is shown only where it gets
// the fields.
func TestOnlyWhatIsNeededIsAskedFor(t *testing.T) {
	request := policy.Phases(policy.RequestHeaders)
	for params, want := range map[string]policy.PhaseSet{
		`{limits: [{name: a, rate: 1, window: 1s}]}`:                           request.With(policy.ResponseHeaders),
		`{limits: [{name: a, rate: 1, window: 1s}], responseHeaders: refused}`: request,
		`{limits: [{name: a, rate: 1, window: 1s}], responseHeaders: never}`:   request,
		`{limits: [{name: a, rate: 1, window: 1s, hidden: true}]}`:             request,
	} {
		if got := policy.ActivePhases(policytest.New(t, ratelimit.Policy, params).Instance); got != want {
			t.Errorf("%s: phases are %v, want %v", params, got, want)
		}
	}
}

// TestARequestCostsNoAllocation proves that counting alone allocates nothing.
func TestARequestCostsNoAllocation(t *testing.T) {
	p := policytest.New(t, ratelimit.Policy, `{limits: [{name: a, rate: 1000000, window: 1s, key: [{header: x-client}, route: true]}, {name: b, rate: 1000000, window: 1s}], responseHeaders: refused}`)
	instance := p.Instance.(*ratelimit.RateLimit)
	x := p.Send(t, client("a"))
	if n := testing.AllocsPerRun(100, func() {
		if a, err := instance.OnRequestHeaders(t.Context(), &x.Request); a != nil || err != nil {
			t.Fatal(a, err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkOnRequestHeaders(b *testing.B) {
	for name, params := range map[string]string{
		"one limit":                   `{limits: [{name: a, rate: 2000000000, window: 1s, key: [{header: x-client}]}], responseHeaders: refused}`,
		"two limits":                  `{limits: [{name: a, rate: 2000000000, window: 1s, key: [{header: x-client}]}, {name: b, rate: 2000000000, window: 1s}], responseHeaders: refused}`,
		"one limit with fields":       `{limits: [{name: a, rate: 2000000000, window: 1s, key: [{header: x-client}]}]}`,
		"one limit, by an expression": `{limits: [{name: a, rate: 2000000000, window: 1s, key: [{expression: "request.headers['x-client']"}]}], responseHeaders: refused}`,
	} {
		p := policytest.New(b, ratelimit.Policy, params)
		instance := p.Instance.(*ratelimit.RateLimit)
		x := p.Send(b, client("a"))
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := instance.OnRequestHeaders(b.Context(), &x.Request); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
