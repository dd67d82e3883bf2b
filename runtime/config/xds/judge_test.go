package xds_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	configv1 "policyengine.dev/proto/policyengine/config/v1"
	"policyengine.dev/runtime/config"
	"policyengine.dev/runtime/config/xds"
	"policyengine.dev/runtime/host"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
)

// params are those of a policy that cannot start if it is told so.
type params struct {
	Fails bool `json:"fails"`
}

type tester struct{ params }

func (t *tester) Start(context.Context) error {
	if t.Fails {
		return errors.New("it cannot start")
	}
	return nil
}

func (t *tester) OnRequestHeaders(context.Context, *policy.RequestContext) (policy.RequestAction, error) {
	return nil, nil
}

func newTester(p params, _ policy.Host) (*tester, error) { return &tester{p}, nil }

// newWorker is a real worker with one policy.
func newWorker(t testing.TB) *worker.Worker {
	registry, err := worker.NewRegistry(worker.Entry{
		Definition: `{"apiVersion":"policyengine/v1","name":"tester","version":"v1.0.0","description":"Tests.","phases":["request_headers"],
"parameters":{"type":"object","additionalProperties":false,"properties":{"fails":{"type":"boolean"}}}}`,
		Factory: policy.Define(newTester),
	})
	if err != nil {
		t.Fatal(err)
	}
	w := worker.New(registry, worker.Options{Host: policy.Host{Logger: slog.New(slog.DiscardHandler), Clock: host.Clock{}}})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := w.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return w
}

// apply puts an update in force as an engine does.
func apply(w *worker.Worker) func(ctx context.Context, u config.Update) error {
	return func(ctx context.Context, u config.Update) error {
		var problems worker.Problems
		var err error
		if u.Err != nil {
			_, err = w.Check(u.Spec)
		} else {
			_, err = w.Update(ctx, u.Spec)
		}
		errors.As(err, &problems)
		return u.Problems(problems)
	}
}

func check(w *worker.Worker) func(worker.Spec) error {
	return func(spec worker.Spec) error {
		_, err := w.Check(spec)
		return err
	}
}

// inForce describes what is in force: chains with their body limits, routes with their
// chains, and routes that deny.
func inForce(w *worker.Worker) string {
	s := w.Acquire()
	if s == nil {
		return "nothing"
	}
	defer s.Release()
	var all []string
	for _, c := range s.Chains() {
		all = append(all, fmt.Sprintf("%s(%d)", c.Name(), c.Needs().BodyLimit))
	}
	for route, c := range s.Routes {
		all = append(all, route+"->"+c.Name())
	}
	for route := range s.DeniedRoutes {
		all = append(all, route+"->denied")
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// world is what a control plane serves.
type world struct {
	chains map[string]*configv1.Chain
	routes map[string]*configv1.Route
}

func good(limit uint64) *configv1.Chain { return &configv1.Chain{BodyLimit: limit} }

func steps(s ...*configv1.Step) *configv1.Chain { return &configv1.Chain{Policies: s} }

// play has a machine and a judge receive worlds, one after the other, and returns what is
// in force after each, and why the newest is not.
func play(t *testing.T, partial bool, worlds ...world) (inEffect, refused []string) {
	t.Helper()
	w := newWorker(t)
	m := xds.NewMachine(xds.MachineOptions{Wait: time.Second, Quiet: time.Millisecond})
	j := xds.NewJudge(check(w), apply(w), partial)
	m.Connect("one")
	now := time.Unix(1000, 0)
	for i, is := range worlds {
		var all [2][]xds.Resource
		for name, c := range is.chains {
			c.Name = name
			all[0] = append(all[0], xds.Resource{Content: content(c)})
		}
		for name, r := range is.routes {
			r.Name = name
			all[1] = append(all[1], xds.Resource{Content: content(r)})
		}
		for k, url := range []string{xds.ChainType, xds.RouteType} {
			if err := m.Receive(now, xds.Response{TypeURL: url, Version: fmt.Sprint(i), Nonce: fmt.Sprint(i, k), Resources: all[k]}); err != nil {
				t.Fatal(err)
			}
		}
		reason := ""
		for range 10 {
			now = now.Add(time.Second)
			p, _ := m.Propose(now)
			if p == nil {
				continue
			}
			v := j.Judge(t.Context(), p)
			m.Judged(now, p, v)
			if v.Refused != nil {
				reason = v.Refused.Error()
			}
		}
		inEffect, refused = append(inEffect, inForce(w)), append(refused, reason)
	}
	return inEffect, refused
}

func toward(chain string) *configv1.Route { return &configv1.Route{Chain: chain} }

// TestBadResources proves what becomes of a configuration with bad resources among good
// ones: by default nothing changes, and in partial mode the good ones take effect, each
// bad one keeps its last good version, and a route without one denies.
func TestBadResources(t *testing.T) {
	type chainsOf = map[string]*configv1.Chain
	type routesOf = map[string]*configv1.Route
	first := world{chainsOf{"a": good(1), "b": good(1)}, routesOf{"ra": toward("a"), "rb": toward("b")}}
	const before = "a(1) b(1) ra->a rb->b"
	for _, c := range []struct {
		name   string
		second world
		partly string
		// why are parts of the reason.
		why []string
	}{
		{"a chain with an unknown policy",
			world{chainsOf{"a": steps(&configv1.Step{Name: "none", Version: "v1"}), "b": good(2)}, routesOf{"ra": toward("a"), "rb": toward("b")}},
			"a(1) b(2) ra->a rb->b", []string{`chain "a": policies[0].name: `}},
		{"a chain that breaks the schema",
			world{chainsOf{"a": {BodyLimit: 1 << 63}, "b": good(2)}, routesOf{"ra": toward("a"), "rb": toward("b")}},
			"a(1) b(2) ra->a rb->b", []string{`chain "a": bodyLimit: `}},
		{"a required policy that cannot start",
			world{chainsOf{"a": steps(&configv1.Step{Name: "tester", Version: "v1", Required: true, Params: `{"fails":true}`}), "b": good(2)}, routesOf{"ra": toward("a"), "rb": toward("b")}},
			"a(1) b(2) ra->a rb->b", []string{`chain "a": policies[0]`, "it cannot start"}},
		{"a new chain that is bad denies its routes",
			world{chainsOf{"a": good(2), "b": good(1), "c": {BodyLimit: 1 << 63}}, routesOf{"ra": toward("a"), "rb": toward("c"), "rc": toward("c")}},
			"a(2) b(1) ra->a rb->denied rc->denied", []string{`chain "c": bodyLimit: `}},
		{"a route to a chain that is not there keeps its last good version",
			world{chainsOf{"a": good(2), "b": good(1)}, routesOf{"ra": toward("none"), "rb": toward("b"), "new": toward("none")}},
			"a(2) b(1) new->denied ra->a rb->b", []string{`route "ra": chain: no chain is called "none"`, `route "new": chain: `}},
		{"a chain that is gone while its route stays denies the route",
			world{chainsOf{"b": good(2)}, routesOf{"ra": toward("a"), "rb": toward("b")}},
			"b(2) ra->denied rb->b", []string{`route "ra": chain: no chain is called "a"`}},
		{"two patterns that cannot be ordered are both bad",
			world{chainsOf{"a": good(2), "b": good(1)}, routesOf{"ra": toward("a"), "x/*": toward("a"), "*/y": toward("b"), "**": toward("b")}},
			"**->b */y->denied a(2) b(1) ra->a x/*->denied", []string{`"x/*"`, `"*/y"`}},
		{"a pattern that cannot be read could decide any request, so that nothing is taken",
			world{chainsOf{"a": good(2), "b": good(2)}, routesOf{"ra": toward("a"), "x/**/y": toward("b")}},
			before, []string{`route "x/**/y": name: `}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, partial := range []bool{false, true} {
				got, why := play(t, partial, first, c.second, world{first.chains, map[string]*configv1.Route{"ra": toward("b")}})
				want := []string{before, before, "a(1) b(1) ra->b"}
				if partial {
					want[1] = c.partly
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("partial %v (-want +got):\n%s", partial, diff)
				}
				for _, part := range c.why {
					if !strings.Contains(why[1], part) {
						t.Errorf("partial %v: %q is not in %q", partial, part, why[1])
					}
				}
				if why[0] != "" || why[2] != "" {
					t.Errorf("partial %v: good configurations are refused: %q", partial, why)
				}
			}
		})
	}
}

// TestFirstIsPartlyBad proves that a first configuration takes effect in part, with routes
// that deny for what is bad.
func TestFirstIsPartlyBad(t *testing.T) {
	is := world{map[string]*configv1.Chain{"a": {BodyLimit: 1 << 63}, "b": good(1)}, map[string]*configv1.Route{"ra": toward("a"), "rb": toward("b")}}
	got, _ := play(t, true, is)
	if got[0] != "b(1) ra->denied rb->b" {
		t.Error(got[0])
	}
	got, _ = play(t, false, is)
	if got[0] != "nothing" {
		t.Error(got[0])
	}
}
