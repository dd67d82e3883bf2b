package worker_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"policyengine.dev/runtime/worker"
)

// patterns is a configuration in which each route has its own chain name.
func patterns(names ...string) worker.Spec {
	spec := worker.Spec{Version: "patterns"}
	for _, name := range names {
		spec.Chains = append(spec.Chains, worker.ChainSpec{Name: "chain " + name})
		spec.Routes = append(spec.Routes, worker.RouteSpec{Name: name, Chain: "chain " + name})
	}
	return spec
}

func chainFor(s *worker.Snapshot, route string) string {
	c, ok := s.Chain(route)
	if !ok {
		return "none"
	}
	return strings.TrimPrefix(c.Name(), "chain ")
}

// TestPatterns proves which entry serves a route's name.
func TestPatterns(t *testing.T) {
	h := newHarness(t, false)
	if _, err := h.Update(context.Background(), patterns(
		"plain", "httproute/default/shop/rule/0/match/0/*", "httproute/default/shop/**", "httproute/default/*/**",
		"other/*/shop/host", "httproute/default/shop/rule/0/match/0/www", "a/*", "a/*/c", "b/**", "/x/*",
	)); err != nil {
		t.Fatal(err)
	}
	s := h.Acquire()
	defer s.Release()
	for route, want := range map[string]string{
		"plain": "plain", "plain/x": "none", "": "none", "other": "none",
		"httproute/default/shop/rule/0/match/0/www": "httproute/default/shop/rule/0/match/0/www",
		"httproute/default/shop/rule/0/match/0/api": "httproute/default/shop/rule/0/match/0/*",
		"httproute/default/shop/rule/0/match/0/a/b": "httproute/default/shop/**",
		"httproute/default/shop/rule/1/match/0/api": "httproute/default/shop/**",
		"httproute/default/shop":                    "httproute/default/shop/**",
		"httproute/default/cart/rule/0":             "httproute/default/*/**",
		"httproute/default/cart":                    "httproute/default/*/**",
		"httproute/default":                         "none",
		"other/team/shop/host":                      "other/*/shop/host",
		"other/team/shop/another":                   "none",
		"a/b":                                       "a/*", "a/": "a/*", "a": "none", "a/b/c": "a/*/c", "a/b/d": "none", "a/*": "a/*",
		"b": "b/**", "b/": "b/**", "b/c/d": "b/**", "bc": "none", "/x/y": "/x/*", "x/y": "none",
	} {
		if got := chainFor(s, route); got != want {
			t.Errorf("%q is served by %q, want %q", route, got, want)
		}
	}
	if s.RouteCount() != 10 || s.Requests("a/b") == nil || s.Requests("a/b") != s.Requests("a/x") || s.Requests("none") != nil {
		t.Error("requests are not counted by the entry that serves them")
	}
	if raceEnabled {
		return
	}
	for _, route := range []string{"httproute/default/shop/rule/0/match/0/api", "b/c/d", "httproute/other/nothing", "plain"} {
		if n := testing.AllocsPerRun(100, func() { s.Chain(route) }); n != 0 {
			t.Errorf("looking %q up allocates %v times", route, n)
		}
	}
}

// TestPatternsThatAreRefused proves that a pattern which cannot mean what it says, and two
// of which neither goes first, are load errors that name them.
func TestPatternsThatAreRefused(t *testing.T) {
	h := newHarness(t, false)
	for name, tc := range map[string]struct {
		routes []string
		want   string
	}{
		"an empty segment":         {[]string{"a//*"}, "routes[0].name: a pattern with an empty segment"},
		"a slash at the end":       {[]string{"a/*/"}, "routes[0].name: a pattern with an empty segment"},
		"a rest in the middle":     {[]string{"a/**/b"}, "routes[0].name: ** stands for the rest of a name, and something follows it"},
		"a part of a segment":      {[]string{"a/b*"}, `routes[0].name: * stands for a whole segment, and "b*" has more`},
		"three":                    {[]string{"a/***"}, `routes[0].name: * stands for a whole segment, and "***" has more`},
		"thousands":                {[]string{strings.Repeat("*/", 5000) + "*"}, "routes[0].name: a pattern of 5001 segments; at most 32"},
		"the same twice":           {[]string{"a/*", "a/*"}, `routes[1].name: route "a/*" is there twice`},
		"a crossing":               {[]string{"a/*", "*/b"}, `routes[1].name: the patterns "*/b" and "a/*" (routes[0]) both fit some names, and neither is more specific`},
		"a rest across a segment":  {[]string{"*/b", "a/**"}, `the patterns "a/**" and "*/b" (routes[0])`},
		"a rest that is nothing":   {[]string{"*/**", "a/*", "**", "*"}, ""},
		"no crossing: other ends":  {[]string{"a/*/x", "*/b/y"}, ""},
		"no crossing: other sizes": {[]string{"a/*", "*/b/c"}, ""},
		"one within the other":     {[]string{"a/*/c", "a/b/c", "a/**", "*/**", "a/*/**"}, ""},
		"a crossing behind a rest": {[]string{"a/*/c/**", "a/b/**"}, `the patterns "a/b/**" and "a/*/c/**" (routes[0])`},
	} {
		t.Run(name, func(t *testing.T) {
			spec := patterns(tc.routes...)
			if name == "the same twice" {
				spec.Chains = spec.Chains[:1]
			}
			_, err := h.Check(spec)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
	var many []string
	for i := range 200 {
		many = append(many, fmt.Sprintf("a/x%d/*", i), fmt.Sprintf("*/*/y%d", i))
	}
	_, err := h.Check(patterns(many...))
	var all worker.Problems
	if !errors.As(err, &all) || len(all) != 100 {
		t.Errorf("%d problems of 40000 ambiguous pairs", len(all))
	}
}

// fits is what a pattern means, said in another way.
func fits(pattern, name []string) bool {
	switch {
	case len(pattern) == 1 && pattern[0] == "**":
		return true
	case len(pattern) == 0 || len(name) == 0:
		return len(pattern) == len(name)
	}
	return (pattern[0] == "*" || pattern[0] == name[0]) && fits(pattern[1:], name[1:])
}

// TestRandomPatterns proves over random configurations that the entry which serves a name
// fits it, that none that fits is more specific, and that whatever is accepted is
// unambiguous: of the patterns that fit a name one is within all others.
func TestRandomPatterns(t *testing.T) {
	h := newHarness(t, false)
	random := rand.New(rand.NewPCG(1, 2))
	var names [][]string
	for _, a := range []string{"a", "b", "c"} {
		names = append(names, []string{a})
		for _, b := range []string{"a", "b", "c"} {
			names = append(names, []string{a, b})
			for _, c := range []string{"a", "b", "c"} {
				names = append(names, []string{a, b, c})
			}
		}
	}
	accepted := 0
	for range 3000 {
		set := map[string]bool{}
		for range 1 + random.IntN(4) {
			var segments []string
			for range 1 + random.IntN(3) {
				segments = append(segments, []string{"a", "b", "*", "*"}[random.IntN(4)])
			}
			if random.IntN(3) == 0 {
				segments = append(segments[:len(segments)-1], "**")
			}
			set[strings.Join(segments, "/")] = true
		}
		var all []string
		for name := range set {
			all = append(all, name)
		}
		s, _, err := h.Preview(patterns(all...))
		matches := func(name []string) (found []string) {
			for _, p := range all {
				if fits(strings.Split(p, "/"), name) {
					found = append(found, p)
				}
			}
			return found
		}
		// within reports whether every name that fits p fits o.
		within := func(p, o string) bool {
			for _, name := range names {
				if fits(strings.Split(p, "/"), name) && !fits(strings.Split(o, "/"), name) {
					return false
				}
			}
			return true
		}
		ambiguous := false
		for _, name := range names {
			found := matches(name)
			for _, p := range found {
				for _, o := range found {
					ambiguous = ambiguous || !within(p, o) && !within(o, p)
				}
			}
		}
		if (err != nil) != ambiguous {
			t.Fatalf("%q: ambiguous %t, and the error is %v", all, ambiguous, err)
		}
		if err != nil {
			continue
		}
		accepted++
		for _, name := range names {
			got, found := chainFor(s, strings.Join(name, "/")), matches(name)
			exact := strings.Join(name, "/")
			switch {
			case len(found) == 0 && got != "none", len(found) > 0 && got == "none":
				t.Fatalf("%q: %q is served by %q, and %q fit", all, name, got, found)
			case set[exact] && got != exact:
				t.Fatalf("%q: %q is served by %q", all, name, got)
			}
			for _, o := range found {
				if !within(got, o) {
					t.Fatalf("%q: %q is served by %q, and %q is more specific", all, name, got, o)
				}
			}
			listed := s.Matches(exact)
			if len(listed) != len(found) || len(found) > 0 && listed[0].Entry != got {
				t.Fatalf("%q: %q is served by %q, %q fit, and %v are listed", all, name, got, found, listed)
			}
			for i, m := range listed {
				if !fits(strings.Split(m.Entry, "/"), name) || m.Chain.Name() != "chain "+m.Entry || i > 0 && !within(listed[i-1].Entry, m.Entry) {
					t.Fatalf("%q: of what fits %q, %v are listed in this order", all, name, listed)
				}
			}
		}
		s.Release()
	}
	if accepted < 300 {
		t.Errorf("only %d configurations were accepted", accepted)
	}
}

// BenchmarkRoutes has ten routes, and 10,000 of which 1,000 are patterns: a request costs
// the same.
func BenchmarkRoutes(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		for _, kind := range []string{"exact", "pattern"} {
			b.Run(fmt.Sprintf("routes=%d/%s", n, kind), func(b *testing.B) {
				h := newHarness(b, false)
				spec := worker.Spec{Version: "v", Chains: []worker.ChainSpec{{Name: "c"}}}
				for i := range n {
					name := fmt.Sprintf("httproute/team-%d/shop/rule/0/match/0/www", i)
					if i%10 == 0 {
						name = fmt.Sprintf("httproute/team-%d/shop/rule/*/match/**", i)
					}
					spec.Routes = append(spec.Routes, worker.RouteSpec{Name: name, Chain: "c"})
				}
				if _, err := h.Update(context.Background(), spec); err != nil {
					b.Fatal(err)
				}
				s := h.Acquire()
				defer s.Release()
				team := 1
				if kind == "pattern" {
					team = 0
				}
				name := fmt.Sprintf("httproute/team-%d/shop/rule/0/match/0/www", n/10*9/10*10+team)
				if _, ok := s.Chain(name); !ok {
					b.Fatal("no chain")
				}
				b.ReportAllocs()
				for b.Loop() {
					s.Chain(name)
				}
			})
		}
	}
}

// TestPatternsAreBounded proves that patterns which would make lookups or loading slow are
// refused, and that a lookup takes no more steps than there are shapes.
func TestPatternsAreBounded(t *testing.T) {
	h := newHarness(t, false)
	// Each choice of a literal segment or * at so many places.
	crossing := func(places int) (all []string) {
		for i := range 1 << places {
			var name strings.Builder
			for bit := range places {
				name.WriteString([]string{"a/", "*/"}[i>>bit&1])
			}
			all = append(all, fmt.Sprintf("%sx%d", name.String(), i))
		}
		return all
	}
	// Patterns that begin with * and that all others have to be compared with.
	compared := func(n int) (all []string) {
		for i := range n {
			all = append(all, strings.Repeat("*/", 30)+fmt.Sprintf("x%d", i), strings.Repeat(fmt.Sprintf("l%d/", i), 30)+"y/*")
		}
		return all
	}
	for _, tt := range []struct {
		name   string
		routes []string
		want   string
	}{
		{"few shapes", crossing(7), ""},
		{"too many shapes", crossing(9), "routes: the patterns have * at too many different places: to look up a route could take 1532 steps; at most 512"},
		{"thousands of shapes", crossing(13), "routes: the patterns have * at too many different places"},
		{"few comparisons", compared(100), ""},
		{"too many comparisons", compared(1000), "routes: the patterns are too many to find out which of them fit the same names"},
	} {
		spec := worker.Spec{Version: "v", Chains: []worker.ChainSpec{{Name: "c"}}}
		for _, name := range tt.routes {
			spec.Routes = append(spec.Routes, worker.RouteSpec{Name: name, Chain: "c"})
		}
		_, err := h.Check(spec)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.want)) {
			t.Errorf("%s: got %.200v, want %q", tt.name, err, tt.want)
		}
	}
}

// TestLessSpecific proves which patterns an entry takes names from.
func TestLessSpecific(t *testing.T) {
	n := worker.NewRouteNames([]string{"a/b/c", "a/*/c", "a/b/**", "a/**", "**", "x/*", "x/y/**"})
	for entry, want := range map[string]string{
		"a/b/c": "** a/** a/*/c a/b/**", "a/b": "** a/** a/b/**", "a/d/c": "** a/** a/*/c", "z": "**",
		"a/b/**": "** a/**", "a/*/c/d": "** a/**", "**": "",
	} {
		if got := strings.Join(n.LessSpecific(entry), " "); got != want {
			t.Errorf("%q: less specific are %q, want %q", entry, got, want)
		}
	}
}

// TestRouteNames proves that all fitting entries are found in the order in which they are
// chosen, and which patterns an entry takes names from.
func TestRouteNames(t *testing.T) {
	n := worker.NewRouteNames([]string{"a/b/c", "a/*/c", "a/b/**", "a/**", "**", "x/*", "x/y/**"})
	for _, tt := range []struct{ route, fitting, less string }{
		{"a/b/c", "a/b/c a/b/** a/*/c a/** **", "** a/** a/*/c a/b/**"},
		{"a/b", "a/b/** a/** **", "** a/** a/b/**"},
		{"a/d/c", "a/*/c a/** **", "** a/** a/*/c"},
		{"x/y", "x/y/** x/* **", ""},
		{"z", "**", "**"},
		{"a/b/**", "", "** a/**"},
		{"a/*/c/d", "", "** a/**"},
		{"**", "", ""},
	} {
		if got := strings.Join(n.Fitting(tt.route), " "); tt.fitting != "" && got != tt.fitting {
			t.Errorf("%q: fitting are %q, want %q", tt.route, got, tt.fitting)
		}
		if first := n.Fitting(tt.route); len(first) > 0 {
			if entry, _ := n.Find(tt.route); entry != first[0] {
				t.Errorf("%q: %q serves it, and %q is first", tt.route, entry, first[0])
			}
		}
		if got := strings.Join(n.LessSpecific(tt.route), " "); tt.less != "" && got != tt.less {
			t.Errorf("%q: less specific are %q, want %q", tt.route, got, tt.less)
		}
	}
	if got := worker.NewRouteNames([]string{"a"}).Fitting("b"); len(got) != 0 {
		t.Errorf("of no entry: %q", got)
	}
}
