package worker

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

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
	// built are the chains that were not taken over.
	built []*Chain
	// prepared and conditions are what chains have in common.
	prepared   memo[preparedKey, *prepared]
	conditions memo[conditionKey, condition]
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
	c.chains(spec.Chains)
	c.routes(spec.Routes)
	return c
}

// chains takes over the chains in force that have not changed, and builds the others, several at a time.
func (c *compilation) chains(specs []ChainSpec) {
	chains := make([]*Chain, len(specs))
	digests := make([]Digest, len(specs))
	var changed []int
	for i := range specs {
		digests[i] = specs[i].digestOf()
	}
	c.worker.mu.Lock()
	for i := range specs {
		if chains[i] = c.take(specs[i].Name, digests[i]); chains[i] != nil {
			c.at[chains[i]] = i
		} else {
			changed = append(changed, i)
		}
	}
	c.worker.mu.Unlock()
	built := make([]*chainBuilder, len(changed))
	inParallel(len(changed), c.builders(), func(i int) {
		at := changed[i]
		built[i] = c.builder(chainPath(at), &specs[at])
		built[i].build(&specs[at])
	})
	c.snapshot.chains = make([]*Chain, 0, len(specs))
	for i := range specs {
		c.name(i, specs[i].Name)
		if chains[i] == nil {
			b := built[0]
			built = built[1:]
			if b == nil || !b.done {
				b = c.unbuilt(b, i, &specs[i])
			}
			chains[i], b.chain.digest = b.chain, digests[i]
			c.problems = append(c.problems, b.problems...)
			c.fresh = append(c.fresh, b.fresh...)
			c.built = append(c.built, b.chain)
		}
		c.add(i, specs[i].Name, chains[i])
	}
}

// unbuilt is the builder of a chain of which a policy has ended the goroutine that built it.
func (c *compilation) unbuilt(b *chainBuilder, i int, cs *ChainSpec) *chainBuilder {
	if b == nil {
		b = c.builder(chainPath(i), cs)
	}
	b.problem(chainPath(i), "a policy has ended the goroutine that made it", "")
	return b
}

// builders is how many chains may be built at a time: as many as there are processors before there are requests, and
// half of that afterwards.
func (c *compilation) builders() int {
	if c.before == nil {
		return runtime.GOMAXPROCS(0)
	}
	return max(1, runtime.GOMAXPROCS(0)/2)
}

// inParallel calls f for each number below n, on so many goroutines.
func inParallel(n, goroutines int, f func(i int)) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(n, goroutines) {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	all.Wait()
}

// name reports a chain's name that cannot be referred to.
func (c *compilation) name(i int, name string) {
	switch _, twice := c.snapshot.byName[name]; {
	case name == "":
		c.problem(chainPath(i)+".name", "a chain has no name", "give it one that routes can refer to")
	case twice:
		c.problem(chainPath(i)+".name", fmt.Sprintf("chain %q is there twice", name), "give each chain a name of its own")
	}
}

// add adds a chain to the snapshot.
func (c *compilation) add(i int, name string, chain *Chain) {
	c.at[chain] = i
	c.snapshot.byName[name] = chain
	c.snapshot.chains = append(c.snapshot.chains, chain)
	for _, w := range chain.warnings {
		c.warn(chainPath(i)+w.Path, w.Message, w.Remedy)
	}
}

func chainPath(i int) string { return fmt.Sprintf("chains[%d]", i) }

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
		if r.Deny {
			c.denied(r.Name, twice)
			continue
		}
		chain := c.snapshot.byName[r.Chain]
		if chain == nil {
			c.problem(path("chain"), fmt.Sprintf("no chain is called %q", r.Chain), c.chainRemedy(r.Chain))
			continue
		}
		used[chain] = true
		entry := route{chain: chain, requests: c.routeMetrics(r.Name, r.Chain)}
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

// denied adds an entry that denies. A pattern that is none fits no name.
func (c *compilation) denied(name string, twice bool) {
	entry := route{denied: true}
	if twice {
		return
	}
	if !isPattern(name) {
		c.snapshot.routes.exact[name] = entry
	} else if problem, _ := checkPattern(name); problem == "" {
		c.snapshot.routes.add(&pattern{name, -1, entry})
	} else {
		return
	}
	c.snapshot.routes.denied++
}

// maxAmbiguous is how many pairs of ambiguous patterns are told.
const maxAmbiguous = 100

// ambiguous reports patterns of which two fit one name, while neither is more specific.
func (c *compilation) ambiguous(patterns []*pattern) {
	if len(patterns) > MaxPatterns {
		c.problem("routes", fmt.Sprintf("%d patterns", len(patterns)), fmt.Sprintf("at most %d", MaxPatterns))
		return
	}
	shapes := map[shape]struct{}{}
	for _, p := range patterns {
		addShapes(shapes, p.name)
	}
	if len(shapes) > MaxPatternShapes {
		c.problem("routes", fmt.Sprintf("the patterns have * at too many different places: to look up a route could take %d steps", len(shapes)),
			fmt.Sprintf("at most %d; write * at the same places in patterns for names of the same form", MaxPatternShapes))
		return
	}
	told, budget := 0, maxCompared
	for _, p := range patterns {
		for _, o := range c.snapshot.routes.rivals(p, &budget) {
			if told++; told > maxAmbiguous {
				return
			}
			c.problem(fmt.Sprintf("routes[%d].name", o.index),
				fmt.Sprintf("the patterns %q and %q (routes[%d]) both fit some names, and neither is more specific", o.name, p.name, p.index),
				"make one of them more specific in every segment, or name the routes")
			c.problems[len(c.problems)-1].Other = fmt.Sprintf("routes[%d].name", p.index)
		}
		if budget < 0 {
			c.problem("routes", "the patterns are too many to find out which of them fit the same names", "write literal segments in front of *, or fewer patterns")
			return
		}
	}
}

// routeMetrics returns the counts of a route with its chain, the same ones over
// reloads.
func (c *compilation) routeMetrics(name, chain string) *telemetry.Route {
	if c.before != nil {
		if r, ok := c.before.routes.named(name); ok && !r.denied && r.chain.name == chain {
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
