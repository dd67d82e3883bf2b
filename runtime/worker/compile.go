package worker

import (
	"fmt"
	"maps"
	"slices"

	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/sdk/strictyaml"
)

// Bounds on a configuration. They are far above what anybody writes by hand, and
// keep what a control plane sends from taking all memory.
const (
	MaxChains   = 10_000
	MaxRoutes   = 100_000
	MaxPolicies = 100 // of one chain
)

// compilation is a Spec on its way to a Snapshot.
type compilation struct {
	worker *Worker
	// before is the configuration that was in force when the compilation began, or
	// nil. Its chains are used again where they have not changed.
	before   *Snapshot
	snapshot *Snapshot
	// at is each chain's place in the Spec. A chain that was compiled for an older
	// configuration may have had another.
	at       map[*Chain]int
	problems Problems
	warnings Problems
	// unstarted are further warnings, which end.
	unstarted []unstarted
	// remedies counts the routes for which a chain was looked for.
	remedies int
	// reused counts the chains that were taken over from before.
	reused int
	// fresh are the instances that no older configuration uses.
	fresh []*instance
}

func (c *compilation) problem(path, message, remedy string) {
	c.problems = append(c.problems, Problem{Path: path, Message: message, Remedy: remedy})
}

func (c *compilation) warn(path, message, remedy string) {
	c.warnings = append(c.warnings, Problem{Path: path, Message: message, Remedy: remedy})
}

// locate fills in where problems and warnings stand.
func (c *compilation) locate(positions Positions) {
	c.problems.locate(positions)
	c.warnings.locate(positions)
	if positions == nil {
		return
	}
	for i := range c.unstarted {
		w := &c.unstarted[i].warning
		w.At, _ = positions.Position(w.Path)
	}
}

func (c *compilation) err() error {
	if len(c.problems) == 0 {
		return nil
	}
	return c.problems
}

// end lets go of the configuration that was in force before.
func (c *compilation) end() {
	if c.before != nil {
		c.before.Release()
		c.before = nil
	}
}

// discard closes what was made for a configuration that does not take effect. What has
// not started may not have come back from it either, and is not waited for.
func (c *compilation) discard() {
	for _, in := range c.worker.drop(c.snapshot.chains) {
		if in.stop == nil {
			in.close()
			continue
		}
		c.worker.closing.Go(in.close)
	}
}

// compile checks all of a Spec and makes a snapshot of it, without I/O. A chain that is
// the same as in the configuration in force is taken over as it is. End the compilation.
func (w *Worker) compile(spec Spec) *compilation {
	c := &compilation{
		worker: w,
		before: w.Acquire(),
		snapshot: &Snapshot{
			version: spec.Version, unknown: spec.OnUnknownRoute, worker: w,
			routes: routeTable{exact: make(map[string]route, len(spec.Routes))}, byName: make(map[string]*Chain, len(spec.Chains)),
		},
		at: make(map[*Chain]int, len(spec.Chains)),
	}
	if len(spec.Chains) > MaxChains {
		c.problem("chains", fmt.Sprintf("%d chains", len(spec.Chains)), fmt.Sprintf("at most %d", MaxChains))
		return c
	}
	if len(spec.Routes) > MaxRoutes {
		c.problem("routes", fmt.Sprintf("%d routes", len(spec.Routes)), fmt.Sprintf("at most %d", MaxRoutes))
		return c
	}
	c.snapshot.chains = make([]*Chain, 0, len(spec.Chains))
	for i := range spec.Chains {
		cs := &spec.Chains[i]
		switch _, twice := c.snapshot.byName[cs.Name]; {
		case cs.Name == "":
			c.problem(chainPath(i)+".name", "a chain has no name", "give it one that routes can refer to")
		case twice:
			c.problem(chainPath(i)+".name", fmt.Sprintf("chain %q is there twice", cs.Name), "give each chain a name of its own")
		}
		chain := c.chain(i, cs)
		c.at[chain] = i
		c.snapshot.byName[cs.Name] = chain
		c.snapshot.chains = append(c.snapshot.chains, chain)
	}
	c.routes(spec.Routes)
	return c
}

func chainPath(i int) string { return fmt.Sprintf("chains[%d]", i) }

// chain returns the chain of a spec: the one in force, where nothing of it has changed,
// or a new one.
func (c *compilation) chain(i int, cs *ChainSpec) *Chain {
	digest := cs.digestOf()
	chain := c.take(cs.Name, digest)
	if chain == nil {
		chain = c.build(chainPath(i), cs)
		chain.digest = digest
	}
	for _, w := range chain.warnings {
		c.warn(chainPath(i)+w.Path, w.Message, w.Remedy)
	}
	return chain
}

func (c *compilation) routes(routes []RouteSpec) {
	used := make(map[*Chain]bool, len(c.snapshot.chains))
	var patterns []*pattern
	for i, r := range routes {
		path := func(field string) string { return fmt.Sprintf("routes[%d].%s", i, field) }
		_, twice := c.snapshot.routes.named(r.Name)
		if twice {
			c.problem(path("name"), fmt.Sprintf("route %q is there twice", r.Name), "give each route one chain")
		}
		if r.Name == "" {
			c.problem(path("name"), "a route has no name", "name it as Envoy's configuration does")
		}
		chain := c.snapshot.byName[r.Chain]
		if chain == nil {
			c.problem(path("chain"), fmt.Sprintf("no chain is called %q", r.Chain), c.chainRemedy(r.Chain))
			continue
		}
		used[chain] = true
		entry := route{chain, c.routeMetrics(r.Name, r.Chain)}
		if !isPattern(r.Name) {
			c.snapshot.routes.exact[r.Name] = entry
		} else if problem, remedy := checkPattern(r.Name); problem != "" {
			c.problem(path("name"), problem, remedy)
		} else if !twice {
			patterns = append(patterns, &pattern{r.Name, i, entry})
			c.snapshot.routes.add(patterns[len(patterns)-1])
		}
	}
	c.ambiguous(patterns)
	for i, chain := range c.snapshot.chains {
		if !used[chain] && chain.name != "" {
			c.warn(chainPath(i), fmt.Sprintf("no route uses chain %q", chain.name), "")
		}
	}
}

// maxAmbiguous is how many pairs of ambiguous patterns are told.
const maxAmbiguous = 100

// ambiguous reports patterns of which two fit one name, while neither is more specific.
func (c *compilation) ambiguous(patterns []*pattern) {
	if len(patterns) > MaxPatterns {
		c.problem("routes", fmt.Sprintf("%d patterns", len(patterns)), fmt.Sprintf("at most %d", MaxPatterns))
		return
	}
	told := 0
	for _, p := range patterns {
		for _, o := range c.snapshot.routes.rivals(p) {
			if told++; told > maxAmbiguous {
				return
			}
			c.problem(fmt.Sprintf("routes[%d].name", o.index),
				fmt.Sprintf("the patterns %q and %q (routes[%d]) both fit some names, and neither is more specific", o.name, p.name, p.index),
				"make one of them more specific in every segment, or name the routes")
		}
	}
}

// routeMetrics returns the counts of a route with its chain, the same ones over
// reloads.
func (c *compilation) routeMetrics(name, chain string) *telemetry.Route {
	if c.before != nil {
		if r, ok := c.before.routes.named(name); ok && r.chain.name == chain {
			return r.requests
		}
	}
	return new(telemetry.Route)
}

// maxRemedies is for how many routes the chain is looked for that was probably meant.
// It takes time in proportion to the number of chains, and nobody reads more.
const maxRemedies = 100

// chainRemedy says which chain a route may have meant.
func (c *compilation) chainRemedy(name string) string {
	if len(c.snapshot.byName) == 0 {
		return "there are no chains"
	}
	if c.remedies++; c.remedies > maxRemedies {
		return "name one of the chains"
	}
	names := slices.Collect(maps.Keys(c.snapshot.byName))
	return strictyaml.Nearest(name, slices.DeleteFunc(names, func(name string) bool { return name == "" }))
}
