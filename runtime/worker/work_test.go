package worker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
)

// costs returns what f has the worker do.
func costs(h *harness, f func()) worker.Work {
	before := h.Work()
	f()
	after := h.Work()
	return worker.Work{
		ChainsCompiled: after.ChainsCompiled - before.ChainsCompiled, ChainsReused: after.ChainsReused - before.ChainsReused,
		ChainsDropped: after.ChainsDropped - before.ChainsDropped,
		InstancesMade: after.InstancesMade - before.InstancesMade, InstancesStarted: after.InstancesStarted - before.InstancesStarted,
	}
}

// TestAnUpdateCostsWhatHasChanged proves that a change compiles, makes and starts what has
// changed and nothing else, however large the configuration is.
func TestAnUpdateCostsWhatHasChanged(t *testing.T) {
	n := uint64(10_000)
	if raceEnabled {
		n = 500
	}
	h := newHarness(t, false)
	var starts atomic.Int64
	s := setHeader("x", "1")
	s.start = func(context.Context) error { starts.Add(1); return nil }
	ps := h.use(s)
	spec := worker.Spec{Version: "first"}
	for i := range n {
		spec.Chains = append(spec.Chains, worker.ChainSpec{Name: fmt.Sprint(i), Policies: []worker.PolicySpec{ps}})
		spec.Routes = append(spec.Routes, worker.RouteSpec{Name: fmt.Sprint(i), Chain: fmt.Sprint(i)})
	}
	update := func(version string) func() {
		return func() {
			t.Helper()
			spec.Version = version
			if _, err := h.Update(context.Background(), spec); err != nil {
				t.Fatal(err)
			}
		}
	}
	other := json.RawMessage(strings.Replace(string(ps.Params), `"other":""`, `"other":"x"`, 1))
	for _, step := range []struct {
		name   string
		change func()
		want   worker.Work
	}{
		{"the first configuration", func() {}, worker.Work{ChainsCompiled: n, InstancesMade: n, InstancesStarted: n}},
		{"the same again", func() {}, worker.Work{ChainsReused: n}},
		{"one route more", func() {
			spec.Routes = append(spec.Routes, worker.RouteSpec{Name: "more", Chain: "7"})
		}, worker.Work{ChainsReused: n}},
		{"a route that moves to another chain", func() { spec.Routes[3].Chain = "7" }, worker.Work{ChainsReused: n}},
		{"what becomes of unknown routes", func() { spec.OnUnknownRoute = worker.ContinueUnknownRoute }, worker.Work{ChainsReused: n}},
		{"one parameter", func() {
			changed := ps
			changed.Params = other
			spec.Chains[5].Policies = []worker.PolicySpec{changed}
		}, worker.Work{ChainsCompiled: 1, ChainsReused: n - 1, ChainsDropped: 1, InstancesMade: 1, InstancesStarted: 1}},
		{"a condition, which leaves the instance alone", func() {
			changed := ps
			changed.When = `request.method == "GET"`
			spec.Chains[6].Policies = []worker.PolicySpec{changed}
		}, worker.Work{ChainsCompiled: 1, ChainsReused: n - 1, ChainsDropped: 1}},
		{"a step more beside one that stays", func() {
			more := ps
			more.ID = "more"
			spec.Chains[8].Policies = []worker.PolicySpec{ps, more}
		}, worker.Work{ChainsCompiled: 1, ChainsReused: n - 1, ChainsDropped: 1, InstancesMade: 1, InstancesStarted: 1}},
		{"chains in another order", func() { spec.Chains[0], spec.Chains[1] = spec.Chains[1], spec.Chains[0] }, worker.Work{ChainsReused: n}},
		{"half of the chains", func() { spec.Chains, spec.Routes = spec.Chains[:n/2], spec.Routes[:n/2] }, worker.Work{ChainsReused: n / 2, ChainsDropped: n / 2}},
	} {
		step.change()
		if got := costs(h, update(step.name)); got != step.want {
			t.Errorf("%s costs %+v, want %+v", step.name, got, step.want)
		}
	}
	if got := costs(h, func() {
		if _, err := h.Check(spec); err != nil {
			t.Fatal(err)
		}
	}); got != (worker.Work{ChainsReused: n / 2}) {
		t.Errorf("a check costs %+v", got)
	}
}

// TestAReusedChainServesBothSnapshots proves that a chain which two configurations have is
// counted, recorded and closed for each exchange's own configuration.
func TestAReusedChainServesBothSnapshots(t *testing.T) {
	h := newHarness(t, true)
	var closed atomic.Int64
	s := setHeader("x", "1")
	s.close = func() { closed.Add(1) }
	spec := specOf(worker.ChainSpec{Name: "c", Policies: []worker.PolicySpec{h.use(s)}})
	snapshots := map[string]held{}
	for _, version := range []string{"old", "new"} {
		spec.Version = version
		if _, err := h.Update(context.Background(), spec); err != nil {
			t.Fatal(err)
		}
		snapshots[version] = chainOf(h.Acquire())
	}
	old, now := snapshots["old"], snapshots["new"]
	if old.Chain != now.Chain {
		t.Fatal("the chain was compiled again")
	}
	for _, c := range []held{now, old} {
		x, _ := h.runRequest(c)
		x.End(false)
	}
	if all := h.records.all; len(all) != 2 || all[0].Config != "new" || all[1].Config != "old" {
		t.Errorf("the records are of %+v", all)
	}
	h.load()
	now.snapshot.Release()
	if closed.Load() != 0 {
		t.Error("the instance was closed although a configuration in use has it")
	}
	old.snapshot.Release()
	waitFor(t, "the instance to be closed", func() bool { return closed.Load() == 1 })
}

// TestWarningsOfReusedChains proves that a chain which is not compiled again is warned of
// again, at its place in the new configuration.
func TestWarningsOfReusedChains(t *testing.T) {
	h := newHarness(t, false)
	dep := h.use(setHeader("y", "1"))
	dep.Version = "v2"
	chain := worker.ChainSpec{Name: "c", Policies: []worker.PolicySpec{dep}}
	route := []worker.RouteSpec{{Name: "r", Chain: "c"}}
	for _, chains := range [][]worker.ChainSpec{{chain}, {{Name: "before"}, chain}} {
		warnings, err := h.Update(context.Background(), worker.Spec{Version: "v", Chains: chains, Routes: route})
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("chains[%d].policies[0].version: script@v2.0.0 is deprecated", len(chains)-1); !strings.Contains(warnings.Error(), want) {
			t.Errorf("the warnings lack %q: %v", want, warnings)
		}
	}
}

// TestEveryFieldIsInTheDigest proves that a chain of which any field has changed is
// compiled again: one that was forgotten would stay in force unseen.
func TestEveryFieldIsInTheDigest(t *testing.T) {
	h := newHarness(t, false)
	ps := h.use(&script{phases: policy.Phases(policy.RequestHeaders, policy.ResponseHeaders)})
	ps.When, ps.Timeout = "true", 1
	fresh := func() worker.Spec {
		return specOf(worker.ChainSpec{Name: "c", BodyLimit: 1, Reroute: true, RerouteHeaders: []string{"a"}, Policies: []worker.PolicySpec{ps}})
	}
	compiled := func(spec worker.Spec) uint64 {
		if _, err := h.Update(context.Background(), fresh()); err != nil {
			t.Fatal(err)
		}
		return costs(h, func() { _, _ = h.Update(context.Background(), spec) }).ChainsCompiled
	}
	if n := compiled(fresh()); n != 0 {
		t.Fatalf("a chain that has not changed was compiled %d times", n)
	}
	fields := func(name string, pick func(*worker.Spec) reflect.Value) {
		for i := range pick(new(worker.Spec)).Type().NumField() {
			spec := fresh()
			v := pick(&spec)
			f := v.Type().Field(i)
			if !f.IsExported() {
				continue
			}
			switch field := v.Field(i); field.Interface().(type) {
			case string:
				field.SetString(field.String() + "x")
			case int64, worker.Mode, worker.OnError:
				if field.CanInt() {
					field.SetInt(field.Int() + 1)
				} else {
					field.SetUint(field.Uint() + 1)
				}
			case bool:
				field.SetBool(!field.Bool())
			case json.RawMessage:
				field.SetBytes([]byte(strings.Replace(string(field.Bytes()), `"other":""`, `"other":"x"`, 1)))
			default:
				switch field.Kind() {
				case reflect.Int64:
					field.SetInt(field.Int() + 1)
				case reflect.Slice:
					field.Set(reflect.Append(field, reflect.Zero(field.Type().Elem())))
				default:
					t.Fatalf("%s.%s: the test does not know the type %s", name, f.Name, f.Type)
				}
			}
			if n := compiled(spec); n != 1 {
				t.Errorf("%s.%s has changed, and the chain was compiled %d times", name, f.Name, n)
			}
		}
	}
	fields("PolicySpec", func(s *worker.Spec) reflect.Value {
		if len(s.Chains) == 0 {
			return reflect.ValueOf(&worker.PolicySpec{}).Elem()
		}
		return reflect.ValueOf(&s.Chains[0].Policies[0]).Elem()
	})
	fields("ChainSpec", func(s *worker.Spec) reflect.Value {
		if len(s.Chains) == 0 {
			return reflect.ValueOf(&worker.ChainSpec{}).Elem()
		}
		return reflect.ValueOf(&s.Chains[0]).Elem()
	})
}
