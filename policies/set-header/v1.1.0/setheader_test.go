package setheader_test

import (
	"strings"
	"testing"

	setheader "policyengine.dev/policies/set-header/v1.1.0"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policytest"
)

func TestCases(t *testing.T) {
	policytest.Cases(t, setheader.Policy, "testdata/cases.yaml")
}

// TestTheLongestValue proves that a template gives at most 8192 bytes.
func TestTheLongestValue(t *testing.T) {
	p := policytest.New(t, setheader.Policy, `request: {set: [{name: x-copy, template: "${request.headers['x-long']}"}]}`)
	for length, present := range map[int]bool{8192: true, 8193: false} {
		x := p.Send(t, policytest.Request{Headers: policytest.Headers("x-long", strings.Repeat("a", length), "x-copy", "forged")})
		if got := x.Request.Headers().Has("x-copy"); got != present {
			t.Errorf("%d bytes: the header is there: %t", length, got)
		}
	}
}

// TestAllocations proves that fixed values cost nothing, and that a template costs its
// value and its change.
func TestAllocations(t *testing.T) {
	for params, most := range map[string]float64{
		`request: {set: [{name: a, value: b}]}`:                      0,
		`request: {set: [{name: a, template: "u-${auth.subject}"}]}`: 6,
	} {
		p := policytest.New(t, setheader.Policy, params)
		instance := p.Instance.(*setheader.SetHeader)
		x := p.Send(t, policytest.Request{Principal: &policy.Principal{Subject: "alice"}})
		if n := testing.AllocsPerRun(100, func() {
			if a, err := instance.OnRequestHeaders(t.Context(), &x.Request); a == nil || err != nil {
				t.Fatal(a, err)
			}
		}); n > most {
			t.Errorf("%s: %v allocations, want at most %v", params, n, most)
		}
	}
}

// FuzzTemplate proves that no template panics, and that what it gives can be sent.
func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"a", "${auth.subject}", "$${", "${'}'}", "${{'a': 1}}", "${", "}${request.path}$"} {
		f.Add(s, "/x?y=%0a")
	}
	f.Fuzz(func(t *testing.T, template, target string) {
		instance, err := setheader.Policy.Build([]byte(`{"request":{"set":[{"name":"a","template":`+quote(template)+`,"missing":"empty"}]}}`), policytest.NewHost().Policy())
		if err != nil {
			return
		}
		if !strings.HasPrefix(target, "/") {
			return
		}
		x := policytest.New(t, setheader.Policy, `request: {remove: [z]}`).Send(t, policytest.Request{Target: target})
		action, err := instance.(*setheader.SetHeader).OnRequestHeaders(t.Context(), &x.Request)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range action.(*policy.RequestMutation).Headers.Set {
			if !policy.ValidHeaderValue(h.Value) {
				t.Errorf("%q gives %q", template, h.Value)
			}
		}
	})
}

func quote(s string) string {
	b := new(strings.Builder)
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ':
			b.WriteByte(' ')
		default:
			b.WriteRune(r)
		}
	}
	return b.String() + `"`
}

func BenchmarkOnRequestHeaders(b *testing.B) {
	for name, params := range map[string]string{
		"fixed":    `request: {set: [{name: a, value: b}]}`,
		"template": `request: {set: [{name: a, template: "u-${auth.subject}"}]}`,
	} {
		p := policytest.New(b, setheader.Policy, params)
		instance := p.Instance.(*setheader.SetHeader)
		x := p.Send(b, policytest.Request{Principal: &policy.Principal{Subject: "alice"}})
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
