package config_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"policyengine.dev/runtime/config"
	"policyengine.dev/runtime/worker"
)

func parse(srcs ...string) (worker.Spec, config.Positions, error) {
	var files []config.File
	for i, src := range srcs {
		files = append(files, config.File{Name: string(rune('a'+i)) + ".yaml", Src: []byte(src)})
	}
	return config.ParseChains(files)
}

func TestEveryFieldOfAChainIsRead(t *testing.T) {
	got, _, err := parse(`
chains:
- name: payments
  bodyLimit: 1MiB
  requestBody: never
  responseBody: never
  reroute: true
  rerouteHeaders: [X-Tenant]
  policies:
  - name: jwt-validation
    version: v2.0.0
    id: first
    params: {issuers: [{name: "a", leeway: 1.50}]}
    when: request.path.startsWith("/v1/")
    mode: shadow
    onError: continue
    timeout: 200ms
    required: true
    enabled: false
  - {name: set-header, version: v1}
  onReject:
  - {name: set-header, version: v1.0, enabled: true, mode: enforce, onError: deny}
- {name: open, policies: [], requestBody: auto}
routes:
- {name: charge, chain: payments}
onUnknownRoute: continue
`)
	if err != nil {
		t.Fatal(err)
	}
	want := worker.Spec{
		Version: got.Version, // has its own test
		Chains: []worker.ChainSpec{
			{
				Name: "payments", BodyLimit: 1 << 20, NoRequestBody: true, NoResponseBody: true, Reroute: true, RerouteHeaders: []string{"x-tenant"},
				Policies: []worker.PolicySpec{
					{
						Name: "jwt-validation", Version: "v2.0.0", ID: "first",
						Params: json.RawMessage(`{"issuers":[{"name":"a","leeway":1.50}]}`),
						When:   `request.path.startsWith("/v1/")`, Mode: worker.Shadow, OnError: worker.ContinueOnError,
						Timeout: 200 * time.Millisecond, Required: true, Disabled: true,
					},
					{Name: "set-header", Version: "v1"},
				},
				OnReject: []worker.PolicySpec{{Name: "set-header", Version: "v1.0"}},
			},
			{Name: "open"},
		},
		Routes:         []worker.RouteSpec{{Name: "charge", Chain: "payments"}},
		OnUnknownRoute: worker.ContinueUnknownRoute,
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(worker.ChainSpec{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAFileWithoutDefaultDeniesUnknownRoutes(t *testing.T) {
	spec, _, err := parse("chains: []\n")
	if err != nil || spec.OnUnknownRoute != worker.DenyUnknownRoute {
		t.Errorf("got %v, %v", spec.OnUnknownRoute, err)
	}
}

func TestProblemsOfChains(t *testing.T) {
	cases := []struct {
		name string
		srcs []string
		want []string
	}{
		{"a misspelt list of policies does not become an empty chain", []string{"chains:\n- name: a\n  polices: []\n"}, []string{
			"a.yaml:2:3: chains[0].policies: missing; this field is required",
			`a.yaml:3:3: chains[0].polices: unknown field; did you mean "policies"?`,
		}},
		{"several files, all their problems", []string{"chains: [{policies: []}]", "routes: [{name: r}]\nonUnknownRoute: allow"}, []string{
			"a.yaml:1:10: chains[0].name: missing; this field is required",
			"b.yaml:1:10: routes[0].chain: missing; this field is required",
			"b.yaml:2:17: onUnknownRoute: not what can be done with an unknown route; write deny or continue",
		}},
		{"one file that is no YAML does not hide another's problems", []string{"chains: [", "routes: {}"}, []string{
			"a.yaml:1:1: ...", "b.yaml:1:9: routes: expected a list, found a mapping",
		}},
		{"a chain twice, over files", []string{"chains: [{name: x, policies: []}]", "chains:\n- {name: x, policies: []}"}, []string{
			"b.yaml:2:10: chains[0].name: a second chain of this name, the first is in a.yaml:1; ...",
		}},
		{"a route twice", []string{"routes: [{name: x, chain: a}, {name: x, chain: b}]"}, []string{
			"a.yaml:1:38: routes[1].name: a second route of this name, the first is in a.yaml:1; ...",
		}},
		{"names that are empty", []string{"chains: [{name: '', policies: []}]\nroutes: [{name: '', chain: a}]"}, []string{
			"a.yaml:1:17: chains[0].name: is empty; give it a value", "a.yaml:2:17: routes[0].name: is empty; give it a value",
		}},
		{"what becomes of unknown routes said twice, even if the same", []string{"onUnknownRoute: deny", "onUnknownRoute: deny"}, []string{
			"b.yaml:1:1: onUnknownRoute: given twice, first in a.yaml:1; ...",
		}},
		{"words and numbers that a policy's use cannot have", []string{"chains: [{name: a, policies: [{name: p, version: 2, mode: on, onError: allow, timeout: 0s, params: [], enabled: maybe}]}]"}, []string{
			"a.yaml:1:50: chains[0].policies[0].version: expected a string, found a number; put it in quotes",
			"a.yaml:1:59: chains[0].policies[0].mode: not a mode; write enforce or shadow",
			"a.yaml:1:72: chains[0].policies[0].onError: not what an error can mean; write deny or continue",
			"a.yaml:1:88: chains[0].policies[0].timeout: a length of time that is too short; ...",
			"a.yaml:1:100: chains[0].policies[0].params: parameters are a mapping; ...",
			"a.yaml:1:113: chains[0].policies[0].enabled: expected a boolean, found a string; write true or false",
		}},
		{"parameters without a value, which may be a slip", []string{"chains: [{name: a, policies: [{name: p, version: v1, params: }]}]"}, []string{
			"a.yaml:1:62: chains[0].policies[0].params: parameters are a mapping; ...",
		}},
		{"a rule for a body that is none", []string{"chains: [{name: a, policies: [], requestBody: no, responseBody: false}]"}, []string{
			"a.yaml:1:47: chains[0].requestBody: not a rule for a body; write auto or never", "a.yaml:1:65: chains[0].responseBody: not a rule for a body; write auto or never",
		}},
		{"a header that is none", []string{"chains: [{name: a, policies: [], rerouteHeaders: [':path', 1]}]"}, []string{
			"a.yaml:1:51: chains[0].rerouteHeaders[0]: not a header name; ...", "a.yaml:1:60: chains[0].rerouteHeaders[1]: not a header name; ...",
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := parse(c.srcs...)
			wantLines(t, err, c.want)
		})
	}
}

func TestProblemsDoNotQuoteParameters(t *testing.T) {
	_, _, err := parse("chains: [{name: a, policies: [{name: p, version: v1, params: hunter2}]}]")
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}

func TestPositionsLeadBackToTheFile(t *testing.T) {
	_, at, err := parse(`
chains:
- name: one
  policies: []
`, `
chains:
- name: two
  policies:
  - {name: p, version: v1}
  - name: q
    version: v1
    params:
      list: [{"x.y": 1}, {"x.y": 2}]
  onReject:
  - {name: r, version: v1}
routes:
- {name: r, chain: none}
onUnknownRoute: deny
`)
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct{ name, path, want string }{
		{"a chain of the first file", "chains[0].name", "a.yaml:3:9: chains[0].name: bad"},
		{"a chain of the second file, as that file counts", "chains[1].policies[1].version", "b.yaml:7:14: chains[0].policies[1].version: bad"},
		{"inside of parameters, with a quoted key", `chains[1].policies[1].params.list[1]["x.y"]`, `b.yaml:9:34: chains[0].policies[1].params.list[1]["x.y"]: bad`},
		{"a missing parameter is at the nearest value", "chains[1].policies[1].params.issuers", "b.yaml:9:7: chains[0].policies[1].params.issuers: bad"},
		{"an onReject step", "chains[1].onReject[0].name", "b.yaml:11:12: chains[0].onReject[0].name: bad"},
		{"a route", "routes[0].chain", "b.yaml:13:20: routes[0].chain: bad"},
		{"what is in one file only", "onUnknownRoute", "b.yaml:14:17: onUnknownRoute: bad"},
		{"a chain that no file has", "chains[7].name", "chains[7].name: bad"},
		{"a path that cannot be read", "chains[x", "chains[x: bad"},
		{"what no file has", "onUnknown", "onUnknown: bad"},
		{"no path at all", "", "a.yaml:2:1: bad"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := config.Update{Positions: at}.Problems(worker.Problems{{Path: c.path, Message: "bad"}})
			wantLines(t, got, []string{c.want})
		})
	}
}

func TestProblemsOfFileAndWorkerComeTogether(t *testing.T) {
	const src = `
chains:
- name: a
  policies:
  - {name: p, version: v9}
  - {name: q, version: 1}
  - {name: r, version: v1, params: {a: 1, b: 2}, typo: 1}
routes:
- {name: x, chain: b}
`
	spec, at, err := parse(src)
	u := config.Update{Spec: spec, Positions: at, Err: err}
	got := u.Problems(worker.Problems{
		{Path: "chains[0].policies[0].version", Message: "no such version"},
		{Path: "chains[0].policies[1].version", Message: "missing"}, // only since it could not be decoded
		{Path: "chains[0].policies[2].params.b", Message: "not a string"},
		{Path: "routes[0].chain", Message: "no such chain"},
	})
	wantLines(t, got, []string{
		"a.yaml:5:24: chains[0].policies[0].version: no such version",
		"a.yaml:6:24: chains[0].policies[1].version: expected a string, found a number; put it in quotes",
		"a.yaml:7:46: chains[0].policies[2].params.b: not a string",
		"a.yaml:7:50: chains[0].policies[2].typo: unknown field; ...",
		"a.yaml:9:20: routes[0].chain: no such chain",
	})
}

func TestAReferenceToAChainThatWasLostIsNoProblemOfItsOwn(t *testing.T) {
	for name, src := range map[string]string{
		"its name could not be read":  "chains: [{name: 1, policies: []}]\nroutes: [{name: x, chain: '1'}]",
		"the list could not be read":  "chains: {}\nroutes: [{name: x, chain: b}]",
		"its whole file is no YAML":   "chains: [",
		"the file is another mapping": "chain: []\nroutes: [{name: x, chain: b}]",
	} {
		t.Run(name, func(t *testing.T) {
			spec, at, err := parse(src, "routes: [{name: y, chain: b}]")
			u := config.Update{Spec: spec, Positions: at, Err: err}
			var found worker.Problems
			for i := range spec.Routes {
				found = append(found, worker.Problem{Path: "routes[" + string(rune('0'+i)) + "].chain", Message: "no such chain"})
			}
			if got := u.Problems(found); got == nil || strings.Contains(got.Error(), "no such chain") {
				t.Errorf("got %v", got)
			}
		})
	}
}

func FuzzParseChains(f *testing.F) {
	f.Add([]byte("chains: [{name: a, policies: [{name: p, version: v1, params: {a: [1]}}]}]\nroutes: [{name: r, chain: a}]"), []byte("onUnknownRoute: deny"), "chains[0].policies[0].params.a[0]")
	f.Add([]byte("chains: &a [*a]"), []byte("routes: ["), `chains[0]["x"]`)
	f.Fuzz(func(t *testing.T, a, b []byte, path string) {
		files := []config.File{{Name: "a.yaml", Src: a}, {Name: "b.yaml", Src: b}}
		spec, at, err := config.ParseChains(files)
		if err != nil && err.Error() == "" {
			t.Error("an error that says nothing")
		}
		for _, c := range spec.Chains {
			for _, p := range c.Policies {
				if len(p.Params) > 0 && !json.Valid(p.Params) {
					t.Errorf("parameters are no JSON: %s", p.Params)
				}
			}
		}
		_ = config.Update{Positions: at}.Problems(worker.Problems{{Path: path, Message: "x"}}).Error()
		if err != nil {
			return
		}
		names := map[string]bool{}
		for _, c := range spec.Chains {
			if c.Name == "" || names[c.Name] {
				t.Errorf("accepted a chain named %q", c.Name)
			}
			names[c.Name] = true
		}
	})
}
