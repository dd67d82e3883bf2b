package configdiff_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"policyengine.dev/runtime/configdiff"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
)

type nothing struct{}

func (nothing) OnRequestHeaders(context.Context, *policy.RequestContext) (policy.RequestAction, error) {
	return nil, nil
}

func registry(t *testing.T) *worker.Registry {
	t.Helper()
	var entries []worker.Entry
	for _, v := range []string{"limit v1.0.0", "limit v1.1.0", "key v1.0.0"} {
		name, version, _ := strings.Cut(v, " ")
		entries = append(entries, worker.Entry{
			Definition: fmt.Sprintf(`{"apiVersion":"policyengine/v1","name":%q,"version":%q,"description":"For tests.","phases":["request_headers"],
				"parameters":{"type":"object","properties":{"n":{"type":"integer"},"list":{"type":"array","items":{"type":"integer"}},"url":{"type":"string"},"secret":{"type":"string","x-secret":true}}}}`, name, version),
			Factory: policy.Define(func(struct {
				N      int    `json:"n"`
				List   []int  `json:"list"`
				URL    string `json:"url"`
				Secret string `json:"secret"`
			}, policy.Host) (*nothing, error) {
				return &nothing{}, nil
			}),
		})
	}
	r, err := worker.NewRegistry(entries...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// base is a configuration with two of everything.
func base() worker.Spec {
	step := func(id, name string) worker.PolicySpec {
		return worker.PolicySpec{ID: id, Name: name, Version: "v1", When: "true", Params: json.RawMessage(`{"n":1,"list":[1,2]}`), Timeout: time.Second}
	}
	chain := func(name string) worker.ChainSpec {
		return worker.ChainSpec{
			Name: name, Policies: []worker.PolicySpec{step("a", "limit"), step("", "key"), step("c", "limit")},
			OnReject: []worker.PolicySpec{step("r", "limit"), step("s", "key")}, RerouteHeaders: []string{"x-a", "x-b"},
		}
	}
	return worker.Spec{
		Version: "1", Chains: []worker.ChainSpec{chain("one"), chain("two")},
		Routes: []worker.RouteSpec{{Name: "charge", Chain: "one"}, {Name: "refund", Chain: "two"}, {Name: "http/*/x", Chain: "one"}, {Name: "http/**", Chain: "two"}},
	}
}

// mutation is one change of a configuration.
type mutation struct {
	name string
	// widens says that the change is on the closed list.
	widens bool
	apply  func(s *worker.Spec)
}

// mutations returns every single change that can be made of the configuration's fields:
// those of each struct by reflection, so that a field that is added is among them.
func mutations(t *testing.T) (all []mutation) {
	t.Helper()
	add := func(name string, widens bool, apply func(s *worker.Spec)) {
		all = append(all, mutation{name, widens, apply})
	}
	s := base()
	add("unknown routes allowed", true, func(s *worker.Spec) { s.OnUnknownRoute = worker.ContinueUnknownRoute })
	for i := range s.Routes {
		add(fmt.Sprintf("route %d removed", i), true, func(s *worker.Spec) { s.Routes = slices.Delete(s.Routes, i, i+1) })
		add(fmt.Sprintf("route %d to another chain", i), true, func(s *worker.Spec) {
			s.Routes[i].Chain = map[string]string{"one": "two", "two": "one"}[s.Routes[i].Chain]
		})
	}
	add("a route added", false, func(s *worker.Spec) { s.Routes = append(s.Routes, worker.RouteSpec{Name: "new", Chain: "one"}) })
	add("an exact name of another pattern's", true, func(s *worker.Spec) { s.Routes = append(s.Routes, worker.RouteSpec{Name: "http/a", Chain: "one"}) })
	add("a pattern in another one", true, func(s *worker.Spec) {
		s.Routes = append(s.Routes, worker.RouteSpec{Name: "http/a/**", Chain: "one"})
	})
	add("a chain added", false, func(s *worker.Spec) { s.Chains = append(s.Chains, worker.ChainSpec{Name: "three"}) })
	for i := range s.Chains {
		add(fmt.Sprintf("chain %d removed", i), false, func(s *worker.Spec) { s.Chains = slices.Delete(s.Chains, i, i+1) })
		each(t, s.Chains[i], func(field string, change func(v reflect.Value)) {
			add(fmt.Sprintf("chain %d %s", i, field), false, func(s *worker.Spec) {
				change(reflect.ValueOf(&s.Chains[i]).Elem().FieldByName(field))
			})
		})
		for _, list := range []func(c *worker.ChainSpec) *[]worker.PolicySpec{
			func(c *worker.ChainSpec) *[]worker.PolicySpec { return &c.Policies },
			func(c *worker.ChainSpec) *[]worker.PolicySpec { return &c.OnReject },
		} {
			of := func(s *worker.Spec) *[]worker.PolicySpec { return list(&s.Chains[i]) }
			add("a step added", false, func(s *worker.Spec) {
				*of(s) = append(*of(s), worker.PolicySpec{ID: "new", Name: "limit", Version: "v1"})
			})
			add("steps reordered", false, func(s *worker.Spec) { slices.Reverse(*of(s)) })
			for j := range *of(&s) {
				at := func(s *worker.Spec) *worker.PolicySpec { return &(*of(s))[j] }
				add(fmt.Sprintf("step %d removed", j), true, func(s *worker.Spec) { *of(s) = slices.Delete(*of(s), j, j+1) })
				each(t, *at(&s), func(field string, change func(v reflect.Value)) {
					widens := !slices.Contains([]string{"Required", "Timeout"}, field)
					add(fmt.Sprintf("step %d %s", j, field), widens, func(s *worker.Spec) {
						change(reflect.ValueOf(at(s)).Elem().FieldByName(field))
					})
				})
				add("a condition removed", true, func(s *worker.Spec) { at(s).When = "" })
				add("a parameter removed", true, func(s *worker.Spec) { at(s).Params = json.RawMessage(`{"n":1}`) })
				add("no parameters", true, func(s *worker.Spec) { at(s).Params = nil })
				add("an older version", true, func(s *worker.Spec) { at(s).Name, at(s).Version = "limit", "v1.0.0" })
			}
		}
	}
	return all
}

// each calls f with the name of each field, and with a change to one of its kind.
func each(t *testing.T, of any, f func(field string, change func(v reflect.Value))) {
	t.Helper()
	typ := reflect.TypeOf(of)
	for i := range typ.NumField() {
		field := typ.Field(i)
		if !field.IsExported() || field.Type == reflect.TypeFor[[]worker.PolicySpec]() {
			continue
		}
		var change func(v reflect.Value)
		switch {
		case field.Type == reflect.TypeFor[json.RawMessage]():
			change = func(v reflect.Value) { v.SetBytes([]byte(`{"n":9007199254740993,"list":[1,2]}`)) }
		case field.Type == reflect.TypeFor[[]string]():
			change = func(v reflect.Value) { v.Set(reflect.ValueOf([]string{"x-a"})) }
		case field.Type.Kind() == reflect.String:
			change = func(v reflect.Value) { v.SetString("other") }
		case field.Type.Kind() == reflect.Bool:
			change = func(v reflect.Value) { v.SetBool(!v.Bool()) }
		case field.Type.Kind() == reflect.Int64:
			change = func(v reflect.Value) { v.SetInt(v.Int() + 1) }
		case field.Type.Kind() == reflect.Uint8:
			change = func(v reflect.Value) { v.SetUint(1) }
		default:
			t.Fatalf("the test cannot change the field %s of the type %s", field.Name, field.Type)
		}
		f(field.Name, change)
	}
}

// TestEveryChangeIsReported proves that each single change is reported, and marked if it
// is on the closed list.
func TestEveryChangeIsReported(t *testing.T) {
	r := registry(t)
	if got := configdiff.Compare(r, base(), base()); len(got.Changes) != 0 || got.MayWiden {
		t.Errorf("without a change: %+v", got)
	}
	all := mutations(t)
	if len(all) < 100 {
		t.Errorf("only %d changes", len(all))
	}
	for _, m := range all {
		s := base()
		m.apply(&s)
		if reflect.DeepEqual(s, base()) {
			continue // such as a step that has that version already
		}
		got := configdiff.Compare(r, base(), s)
		widens := m.widens
		if m.name == "chain 0 Name" || m.name == "chain 1 Name" {
			widens = false // a chain removed and one added
		}
		if len(got.Changes) == 0 || got.MayWiden != widens {
			t.Errorf("%s: want marked %t, got %+v", m.name, widens, got)
		}
	}
}

// TestChangesAddUp proves that of several random changes none hides that there are any,
// and that the report of the same configurations is always the same.
func TestChangesAddUp(t *testing.T) {
	r, all := registry(t), mutations(t)
	random := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		s := base()
		var names []string
		for range 1 + random.IntN(4) {
			m := all[random.IntN(len(all))]
			func() {
				defer func() { _ = recover() }() // what it changes may be gone
				m.apply(&s)
				names = append(names, m.name)
			}()
		}
		if changed := !reflect.DeepEqual(s, base()); changed != (len(configdiff.Compare(r, base(), s).Changes) > 0) {
			t.Errorf("%v: changed is %t, and the report is not", names, changed)
		}
		if diff := cmp.Diff(configdiff.Compare(r, base(), s), configdiff.Compare(r, base(), s)); diff != "" {
			t.Errorf("%v: two reports differ:\n%s", names, diff)
		}
	}
}

// TestEachWideningIsReported proves that each reason of the closed list is given for a
// change that it is about, and that the opposite change is not marked where it narrows.
func TestEachWideningIsReported(t *testing.T) {
	step := func(change func(p *worker.PolicySpec)) func(*worker.Spec) {
		return func(s *worker.Spec) { change(&s.Chains[0].Policies[0]) }
	}
	seen := map[configdiff.Widening]bool{}
	for _, tt := range []struct {
		why     configdiff.Widening
		change  func(s *worker.Spec)
		narrows bool
	}{
		{configdiff.LosesStep, func(s *worker.Spec) { s.Chains[0].Policies = s.Chains[0].Policies[:2] }, true},
		{configdiff.DisablesStep, step(func(p *worker.PolicySpec) { p.Disabled = true }), true},
		{configdiff.ShadowsStep, step(func(p *worker.PolicySpec) { p.Mode = worker.Shadow }), true},
		{configdiff.ContinuesOnError, step(func(p *worker.PolicySpec) { p.OnError = worker.ContinueOnError }), true},
		{configdiff.BecomesSkippable, step(func(p *worker.PolicySpec) { p.Skippable = true }), true},
		{configdiff.ChangesCondition, step(func(p *worker.PolicySpec) { p.When = "false" }), false},
		{configdiff.ChangesParameters, step(func(p *worker.PolicySpec) { p.Params = json.RawMessage(`{"n":2,"list":[1,2]}`) }), false},
		{configdiff.ReplacesPolicy, step(func(p *worker.PolicySpec) { p.Version = "v1.0.0" }), false},
		{configdiff.AllowsUnknownRoutes, func(s *worker.Spec) { s.OnUnknownRoute = worker.ContinueUnknownRoute }, true},
		{configdiff.LosesRoute, func(s *worker.Spec) { s.Routes = s.Routes[1:] }, true},
		{configdiff.GoesToOtherChain, func(s *worker.Spec) { s.Routes[0].Chain = "two" }, false},
		{configdiff.IsCaptured, func(s *worker.Spec) {
			s.Routes = append(s.Routes, worker.RouteSpec{Name: "http/a/b/c", Chain: "one"})
		}, false},
	} {
		seen[tt.why] = true
		s := base()
		tt.change(&s)
		got := configdiff.Compare(registry(t), base(), s)
		if !slices.ContainsFunc(got.Changes, func(c configdiff.Change) bool { return c.MayWiden == tt.why }) {
			t.Errorf("%s: got %+v", tt.why, got)
		}
		if back := configdiff.Compare(registry(t), s, base()); tt.narrows == back.MayWiden {
			t.Errorf("the opposite of %q: got %+v", tt.why, back)
		}
	}
	old, new := base(), base()
	old.Chains[0].Policies[0].OnError, new.Chains[0].Policies[0].OnError = worker.ContinueOnError, worker.ContinueOnError
	new.Chains[0].Policies[0].Timeout = time.Millisecond
	if got := configdiff.Compare(registry(t), old, new); len(got.Changes) != 1 || got.Changes[0].MayWiden != configdiff.ShortensWithContinue {
		t.Errorf("a shorter time: got %+v", got)
	}
	seen[configdiff.ShortensWithContinue] = true
	for _, w := range configdiff.Widenings() {
		if !seen[w] {
			t.Errorf("no change for %q", w)
		}
	}
}

// TestRoutes proves what is said of entries that come and go beside others.
func TestRoutes(t *testing.T) {
	type change struct {
		kind        configdiff.Kind
		route, note string
		widens      configdiff.Widening
	}
	for _, tt := range []struct {
		name     string
		old, new []worker.RouteSpec
		want     []change
	}{
		{"a name that a pattern with the same chain has", []worker.RouteSpec{{Name: "a/b", Chain: "one"}, {Name: "a/**", Chain: "one"}}, []worker.RouteSpec{{Name: "a/**", Chain: "one"}},
			[]change{{configdiff.RouteRemoved, "a/b", `now served by "a/**" with chain "one"`, ""}}},
		{"a name that a pattern with another chain has", []worker.RouteSpec{{Name: "a/b", Chain: "one"}, {Name: "a/**", Chain: "two"}}, []worker.RouteSpec{{Name: "a/**", Chain: "two"}},
			[]change{{configdiff.RouteRemoved, "a/b", `now served by "a/**" with chain "two"`, configdiff.LosesRoute}}},
		{"a pattern within another one", []worker.RouteSpec{{Name: "a/b/**", Chain: "one"}, {Name: "a/**", Chain: "two"}}, []worker.RouteSpec{{Name: "a/**", Chain: "two"}},
			[]change{{configdiff.RouteRemoved, "a/b/**", `its names go to less specific patterns, such as "a/**" with chain "two"`, configdiff.LosesRoute}}},
		{"a name alone", []worker.RouteSpec{{Name: "a", Chain: "one"}}, nil,
			[]change{{configdiff.RouteRemoved, "a", "its names are unknown routes, which are denied", configdiff.LosesRoute}}},
		{"a pattern that takes names of two", []worker.RouteSpec{{Name: "*/b/**", Chain: "one"}, {Name: "**", Chain: "two"}}, []worker.RouteSpec{{Name: "*/b/**", Chain: "one"}, {Name: "**", Chain: "two"}, {Name: "a/b/**", Chain: "three"}},
			[]change{{configdiff.RouteAdded, "a/b/**", "", ""}, {configdiff.RouteCaptured, "a/b/**", `from "**"`, configdiff.IsCaptured}, {configdiff.RouteCaptured, "a/b/**", `from "*/b/**"`, configdiff.IsCaptured}}},
		{"a pattern with the chain of the other", []worker.RouteSpec{{Name: "a/**", Chain: "one"}}, []worker.RouteSpec{{Name: "a/**", Chain: "one"}, {Name: "a/b/**", Chain: "one"}},
			[]change{{configdiff.RouteAdded, "a/b/**", "", ""}}},
		{"a pattern less specific than what is there", []worker.RouteSpec{{Name: "a/b", Chain: "one"}, {Name: "a/c/**", Chain: "one"}}, []worker.RouteSpec{{Name: "a/b", Chain: "one"}, {Name: "a/c/**", Chain: "one"}, {Name: "a/**", Chain: "two"}},
			[]change{{configdiff.RouteAdded, "a/**", "", ""}}},
	} {
		var got []change
		for _, c := range configdiff.Compare(registry(t), worker.Spec{Routes: tt.old}, worker.Spec{Routes: tt.new}).Changes {
			got = append(got, change{c.Kind, c.Route, c.Note, c.MayWiden})
		}
		if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(change{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// TestParameters proves which values are reported, that secrets are masked as
// /config_dump masks them, and that the report is bounded.
func TestParameters(t *testing.T) {
	type value struct{ field, old, new, note string }
	for _, tt := range []struct {
		name, old, new, version string
		want                    []value
	}{
		{"the order of names", `{"n":1,"url":"a"}`, `{"url":"a","n":1}`, "v1", nil},
		{"none and an empty object", ``, `{}`, "v1", nil},
		{"a number that no float holds", `{"n":9007199254740993}`, `{"n":9007199254740992}`, "v1", []value{{"params/n", "9007199254740993", "9007199254740992", ""}}},
		{"an element", `{"list":[1,2]}`, `{"list":[1,3,4]}`, "v1", []value{{"params/list/1", "2", "3", ""}, {"params/list/2", "(absent)", "4", ""}}},
		{"a secret", `{"secret":"hunter2","n":1}`, `{"secret":"hunter3","n":1}`, "v1", []value{{"params/secret", `"[redacted]"`, `"[redacted]"`, "the values differ and are masked"}}},
		{"a secret that is added", `{}`, `{"secret":"hunter3"}`, "v1", []value{{"params/secret", "(absent)", `"[redacted]"`, ""}}},
		{"a secret in a URL", `{"url":"https://u:hunter2@a/"}`, `{"url":"https://u:hunter3@a/"}`, "v1", []value{{"params/url", `"https://[redacted]@a/"`, `"https://[redacted]@a/"`, "the values differ and are masked"}}},
		{"what no schema describes", `{"x":"hunter2"}`, `{"x":"hunter3"}`, "v1", []value{{"params/x", `"[redacted]"`, `"[redacted]"`, "the values differ and are masked"}}},
		{"a version that is not there", `{"n":1}`, `{"n":2}`, "v9", []value{{"params", `"[redacted]"`, `"[redacted]"`, "the values differ and are masked"}}},
		{"no JSON", `{"n":hunter2`, `{"n":hunter3`, "v1", []value{{"params", `"[redacted]"`, `"[redacted]"`, "the values differ and are masked"}}},
	} {
		spec := func(params string) worker.Spec {
			return worker.Spec{Chains: []worker.ChainSpec{{Name: "c", Policies: []worker.PolicySpec{{Name: "limit", Version: tt.version, Params: json.RawMessage(params)}}}}}
		}
		report := configdiff.Compare(registry(t), spec(tt.old), spec(tt.new))
		var got []value
		for _, c := range report.Changes {
			got = append(got, value{c.Field, c.Old, c.New, c.Note})
		}
		if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(value{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
		var text strings.Builder
		if err := report.WriteText(&text); err != nil || strings.Contains(text.String(), "hunter") {
			t.Errorf("%s: %v, %s", tt.name, err, text.String())
		}
	}
	many := worker.Spec{Chains: []worker.ChainSpec{{Name: "c", Policies: []worker.PolicySpec{{Name: "limit", Version: "v1", Params: json.RawMessage(`{"list":[` + strings.Repeat("1,", 50000) + `1]}`)}}}}}
	none := worker.Spec{Chains: []worker.ChainSpec{{Name: "c", Policies: []worker.PolicySpec{{Name: "limit", Version: "v1", Params: json.RawMessage(`{"list":[]}`)}}}}}
	if got := configdiff.Compare(registry(t), none, many); len(got.Changes) != 21 || got.Changes[20].Note != "and 49981 more values" {
		t.Errorf("%d changes of many", len(got.Changes))
	}
}

// TestText proves how the report looks to a reader.
func TestText(t *testing.T) {
	old, new := base(), base()
	new.OnUnknownRoute = worker.ContinueUnknownRoute
	new.Routes = append(new.Routes[1:], worker.RouteSpec{Name: "http/a", Chain: "one"})
	new.Chains[0].BodyLimit = 1024
	new.Chains[0].Policies[0].Mode = worker.Shadow
	new.Chains[0].Policies = append(new.Chains[0].Policies[:2], worker.PolicySpec{ID: "d", Name: "limit", Version: "v1"})
	slices.Reverse(new.Chains[1].OnReject)
	new.Chains[1].OnReject[0].When = ""
	var got strings.Builder
	if err := configdiff.Compare(registry(t), old, new).WriteText(&got); err != nil {
		t.Fatal(err)
	}
	const want = `! onUnknownRoute: deny -> continue
    may widen: requests on unknown routes pass without a policy
! route "charge" removed: one (its names are unknown routes, which pass without a policy)
    may widen: the entry no longer gives its names a chain
  route "http/a" added: one
! route "http/a" takes names from another entry: two -> one (from "http/**")
    may widen: the entry takes names from an entry with another chain
  chain "one" bodyLimit: default -> 1024
! chain "one" step "a" mode: enforce -> shadow
    may widen: the step no longer enforces
  chain "one" step "d" added: limit v1
! chain "one" step "c" removed: limit v1
    may widen: the step is removed
! chain "two" onReject step "s" when: "true" -> always
    may widen: the step's condition is another
  chain "two" onReject reordered: [r, s] -> [s, r]
changes: 10; may widen what is let through: 6
`
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
