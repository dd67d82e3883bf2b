package worker

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/sdk/definition"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/expr"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policy/apply"
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
	worker   *Worker
	snapshot *Snapshot
	problems Problems
	warnings Problems
	// unstarted are further warnings, which end.
	unstarted []unstarted
	// remedies counts the routes for which a chain was looked for.
	remedies int
	// fresh are the instances that no older snapshot uses, and required those, of
	// all, that have to have started; places are where they stand in the Spec.
	fresh    []*instance
	required map[*instance]bool
	places   map[*instance]string
	// metrics and requests are those of the snapshot. What is in force already
	// goes on counting; what is not in the snapshot is forgotten with it.
	metrics  map[metricsKey]*telemetry.Step
	requests map[requestsKey]*telemetry.Route
}

// stepMetrics returns the metrics of a step, the same ones over reloads.
func (c *compilation) stepMetrics(key metricsKey) *telemetry.Step {
	c.worker.mu.Lock()
	m := c.worker.metrics[key]
	c.worker.mu.Unlock()
	if m == nil {
		m = new(telemetry.Step)
	}
	c.metrics[key] = m
	return m
}

// routeMetrics returns the counts of a route with its chain, the same ones over
// reloads.
func (c *compilation) routeMetrics(key requestsKey) *telemetry.Route {
	c.worker.mu.Lock()
	m := c.worker.requests[key]
	c.worker.mu.Unlock()
	if m == nil {
		m = new(telemetry.Route)
	}
	c.requests[key] = m
	return m
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

// discard closes what was made for a configuration that does not take effect. What has
// not started may not have come back from it either, and is not waited for.
func (c *compilation) discard() {
	fresh := make(map[*instance]bool, len(c.fresh))
	for _, in := range c.fresh {
		fresh[in] = true
		if in.stop == nil {
			in.close()
			continue
		}
		c.worker.closing.Go(in.close)
	}
	c.worker.letGo(slices.DeleteFunc(c.snapshot.instances, func(in *instance) bool { return fresh[in] }))
}

// compile checks all of a Spec and makes a snapshot of it, without I/O.
func (w *Worker) compile(spec Spec) *compilation {
	c := &compilation{
		worker: w,
		snapshot: &Snapshot{
			version: spec.Version, unknown: spec.OnUnknownRoute, worker: w,
			routes: make(map[string]*Chain, len(spec.Routes)), requests: make(map[string]*telemetry.Route, len(spec.Routes)),
		},
		required: map[*instance]bool{},
		places:   map[*instance]string{},
		metrics:  map[metricsKey]*telemetry.Step{},
		requests: map[requestsKey]*telemetry.Route{},
	}
	if len(spec.Chains) > MaxChains {
		c.problem("chains", fmt.Sprintf("%d chains", len(spec.Chains)), fmt.Sprintf("at most %d", MaxChains))
		return c
	}
	if len(spec.Routes) > MaxRoutes {
		c.problem("routes", fmt.Sprintf("%d routes", len(spec.Routes)), fmt.Sprintf("at most %d", MaxRoutes))
		return c
	}
	chains := map[string]*Chain{}
	for i := range spec.Chains {
		path := fmt.Sprintf("chains[%d]", i)
		cs := &spec.Chains[i]
		switch _, twice := chains[cs.Name]; {
		case cs.Name == "":
			c.problem(path+".name", "a chain has no name", "give it one that routes can refer to")
		case twice:
			c.problem(path+".name", fmt.Sprintf("chain %q is there twice", cs.Name), "give each chain a name of its own")
		}
		chain := c.chain(path, cs)
		chains[cs.Name] = chain
		c.snapshot.chains = append(c.snapshot.chains, chain)
	}
	c.routes(spec.Routes, chains)
	return c
}

func (c *compilation) routes(routes []RouteSpec, chains map[string]*Chain) {
	used := map[string]bool{}
	for i, r := range routes {
		path := fmt.Sprintf("routes[%d]", i)
		if _, twice := c.snapshot.routes[r.Name]; twice {
			c.problem(path+".name", fmt.Sprintf("route %q is there twice", r.Name), "give each route one chain")
		}
		if r.Name == "" {
			c.problem(path+".name", "a route has no name", "name it as Envoy's configuration does")
		}
		chain := chains[r.Chain]
		if chain == nil {
			c.problem(path+".chain", fmt.Sprintf("no chain is called %q", r.Chain), c.chainRemedy(r.Chain, chains))
			continue
		}
		used[r.Chain] = true
		c.snapshot.routes[r.Name] = chain
		c.snapshot.requests[r.Name] = c.routeMetrics(requestsKey{r.Name, r.Chain})
	}
	for i, chain := range c.snapshot.chains {
		if !used[chain.name] && chain.name != "" {
			c.warn(fmt.Sprintf("chains[%d]", i), fmt.Sprintf("no route uses chain %q", chain.name), "")
		}
	}
}

// maxRemedies is for how many routes the chain is looked for that was probably meant.
// It takes time in proportion to the number of chains, and nobody reads more.
const maxRemedies = 100

// chainRemedy says which chain a route may have meant.
func (c *compilation) chainRemedy(name string, chains map[string]*Chain) string {
	if len(chains) == 0 {
		return "there are no chains"
	}
	if c.remedies++; c.remedies > maxRemedies {
		return "name one of the chains"
	}
	names := slices.Collect(maps.Keys(chains))
	return strictyaml.Nearest(name, slices.DeleteFunc(names, func(name string) bool { return name == "" }))
}

// chain compiles one chain.
func (c *compilation) chain(path string, cs *ChainSpec) *Chain {
	chain := &Chain{name: cs.Name, snapshot: c.snapshot, holdLimit: c.worker.options.HoldLimit}
	if cs.BodyLimit < 0 || cs.BodyLimit > math.MaxInt32 {
		c.problem(path+".bodyLimit", fmt.Sprintf("%d is out of range", cs.BodyLimit), "write bytes, at most 2 GiB")
	} else if cs.BodyLimit > 0 {
		chain.holdLimit = int(cs.BodyLimit)
	}
	chain.needs.BodyLimit = cs.BodyLimit
	chain.needs.Reroute = cs.Reroute
	for i, h := range cs.RerouteHeaders {
		if !policy.ValidHeaderName(h) {
			c.problem(fmt.Sprintf("%s.rerouteHeaders[%d]", path, i), fmt.Sprintf("%q is not a header name", h), "")
		}
		chain.needs.RerouteHeaders = append(chain.needs.RerouteHeaders, exchange.Lower(h))
	}
	if len(cs.RerouteHeaders) > 0 && !cs.Reroute {
		c.problem(path+".rerouteHeaders", "has no effect without reroute", "set reroute: true, or leave the list out")
	}
	if n := len(cs.Policies) + len(cs.OnReject); n > MaxPolicies {
		c.problem(path+".policies", fmt.Sprintf("%d policies", n), fmt.Sprintf("at most %d in one chain", MaxPolicies))
		return chain
	}
	b := chainBuilder{compilation: c, chain: chain, ids: map[string]string{}}
	for i := range cs.Policies {
		b.step(fmt.Sprintf("%s.policies[%d]", path, i), &cs.Policies[i], false)
	}
	for i := range cs.OnReject {
		b.step(fmt.Sprintf("%s.onReject[%d]", path, i), &cs.OnReject[i], true)
	}
	b.plan(path)
	return chain
}

// chainBuilder compiles the steps of one chain.
type chainBuilder struct {
	*compilation
	chain *Chain
	// ids are the steps' ids and where they stand.
	ids map[string]string
	// paths are where the chain's steps stand.
	paths []string
	// owned are the request headers that the chain's policies own.
	owned []string
}

func (b *chainBuilder) step(path string, ps *PolicySpec, onReject bool) {
	id := ps.ID
	if id == "" {
		id = ps.Name
	}
	if first, twice := b.ids[id]; twice {
		b.problem(path, fmt.Sprintf("%q is there already, at %s", id, first), "give each an id of its own")
	}
	b.ids[id] = path
	v, err := b.worker.registry.Resolve(ps.Name, ps.Version)
	if err != nil {
		var wrong *ResolveError
		errors.As(err, &wrong)
		b.problem(path+"."+wrong.Field, wrong.Message, wrong.Remedy)
		return
	}
	if v.Definition.Deprecated != "" {
		b.warn(path+".version", fmt.Sprintf("%s is deprecated: %s", v, v.Definition.Deprecated), "")
	}
	if onReject && !v.phases.Has(policy.ResponseHeaders) && !v.phases.Has(policy.ResponseBody) {
		b.problem(path, fmt.Sprintf("%s acts neither on response headers nor on a response body", v), "onReject takes policies that do")
	}
	s := &step{
		id: id, mode: ps.Mode, onError: ps.OnError, onReject: onReject, required: ps.Required, source: ps.When,
		timeout: int64(MaxDefaultTimeout), detailsPrefix: detailsPrefix + v.String() + ".",
	}
	for r := range s.details {
		s.details[r] = s.detailsPrefix + Reason(r).String()
	}
	if ps.Timeout < 0 {
		b.problem(path+".timeout", fmt.Sprintf("%s is negative", ps.Timeout), "leave it out for the default")
	} else if ps.Timeout > 0 {
		s.timeout = int64(ps.Timeout)
	}
	s.instance = b.instance(path, identity{b.chain.name, id}, v, ps)
	phases := v.phases
	if s.instance != nil {
		phases = s.instance.phases
	}
	s.when = b.condition(path, ps, phases)
	if s.instance == nil {
		return
	}
	// Also those of a step that is disabled: see policy.HeaderOwner.
	b.owned = append(b.owned, s.instance.owned...)
	if ps.Disabled {
		s.instance.close()
		b.chain.disabled = append(b.chain.disabled, id)
		return
	}
	if ps.Required {
		b.required[s.instance] = true
	}
	s.metrics = b.stepMetrics(metricsKey{s.instance.identity, v.Version, ps.Mode, onReject})
	s.index = len(b.chain.steps)
	b.chain.steps = append(b.chain.steps, s)
	b.paths = append(b.paths, path)
}

// condition compiles the step's condition. It is evaluated at the policy's first
// phase: what is not known then cannot be read.
func (b *chainBuilder) condition(path string, ps *PolicySpec, phases policy.PhaseSet) *expr.Program {
	if ps.When == "" {
		return nil
	}
	var opts []expr.Option
	if phases.HasRequest() {
		opts = append(opts, expr.Deny(expr.ScopeResponse,
			"the condition is evaluated at the policy's first phase, which is one of the request"))
	}
	p, err := expr.Compile(ps.When, opts...)
	if err != nil {
		b.problem(path+".when", err.Error(), "")
		return nil
	}
	return p
}

// instance returns the instance for the step: the one that is there, where version
// and parameters have not changed, or a new one. For a step that is disabled it is a new
// one that the snapshot does not have.
func (b *chainBuilder) instance(path string, key identity, v *Version, ps *PolicySpec) *instance {
	params, err := v.Definition.Validate(ps.Params)
	if err != nil {
		b.paramProblems(path+".params", err)
		return nil
	}
	if !ps.Disabled {
		if old := b.share(key, v, string(params)); old != nil {
			b.places[old] = path
			return old
		}
	}
	scrub := newScrubber(v, params)
	host := b.worker.hostFor(key.chain, key.id, v)
	host.Logger = scrub.logger(host.Logger)
	scope := b.worker.shared.Scope(func() policy.Host {
		h := b.worker.hostFor("", "", v)
		h.Logger = scrub.logger(h.Logger)
		return h
	})
	host.Shared = scope
	var in *instance
	err = contained(func() error {
		value, err := v.factory.Build(params, host)
		if err != nil {
			return err
		}
		in = newInstance(key, v, string(params), value, host)
		in.scrub, in.scope = scrub, scope
		in.owned, err = policy.OwnedRequestHeaders(value)
		return err
	})
	if err != nil {
		if in != nil {
			in.close()
		} else {
			// Whatever else goes wrong, this is the problem.
			_ = scope.Close()
		}
		b.problem(path+".params", fmt.Sprintf("%s cannot be made from these parameters: %v", v, scrub.error(err)), "")
		return nil
	}
	if ps.Disabled {
		return in
	}
	in.snapshots = 1
	b.fresh = append(b.fresh, in)
	b.snapshot.instances = append(b.snapshot.instances, in)
	b.places[in] = path
	return in
}

// share returns the instance that is in force at a place in a chain, where it is of this
// version and has these parameters. It is the snapshot's from here on: the configuration
// that has it now may be replaced before this one is complete.
func (b *chainBuilder) share(key identity, v *Version, params string) *instance {
	b.worker.mu.Lock()
	defer b.worker.mu.Unlock()
	in := b.worker.instances[key]
	if in == nil || in.version != v || in.params != params {
		return nil
	}
	if _, there := b.places[in]; !there {
		in.snapshots++
		b.snapshot.instances = append(b.snapshot.instances, in)
	}
	return in
}

func (b *chainBuilder) paramProblems(path string, err error) {
	var all definition.Problems
	if !errors.As(err, &all) {
		b.problem(path, err.Error(), "")
		return
	}
	for _, p := range all {
		at := path
		switch {
		case p.Path == "":
		case p.Path[0] == '[':
			at += p.Path
		default:
			at += "." + p.Path
		}
		b.problem(at, p.Message, p.Remedy)
	}
}

// plan lays out which steps run in which phase.
func (b *chainBuilder) plan(path string) {
	chain := b.chain
	for _, s := range chain.steps {
		phases := s.instance.phases
		if s.onReject {
			if phases.Has(policy.ResponseHeaders) {
				chain.rejectHeaders = append(chain.rejectHeaders, s)
			}
			if phases.Has(policy.ResponseBody) {
				chain.rejectBody = append(chain.rejectBody, s)
			}
			continue
		}
		for _, p := range phases.List() {
			chain.plan[p] = append(chain.plan[p], s)
		}
		chain.needs.admit(s)
		chain.needs.Conditional = chain.needs.Conditional || s.conditional()
	}
	chain.owned = apply.NewOwnedHeaders(b.owned)
	chain.needs.admitOwned(&chain.owned)
	for p := policy.ResponseHeaders; p < policy.PhaseCount; p++ {
		slices.Reverse(chain.plan[p])
	}
	b.agree(path, policy.RequestBody, policy.RequestBodyChunks)
	b.agree(path, policy.ResponseBody, policy.ResponseBodyChunks)
	b.warnOrder()
}

// agree checks that the body policies of a direction all want plain bytes, or none:
// a body cannot be both.
func (b *chainBuilder) agree(path string, phases ...policy.Phase) {
	var raw, plain *step
	for _, p := range phases {
		for _, s := range b.chain.plan[p] {
			if s.instance.version.Definition.Body == definition.DecodedBody {
				plain = s
			} else {
				raw = s
			}
		}
	}
	if raw != nil && plain != nil {
		b.problem(path+".policies", fmt.Sprintf("%q wants the body as it is and %q wants it decoded", raw.id, plain.id),
			"put them into two chains, or use versions that agree")
	}
}

// warnOrder warns where the order that is written is not the one that runs: headers
// come before bodies, whatever the list says.
func (b *chainBuilder) warnOrder() {
	var body *step
	for i, s := range b.chain.steps {
		if s.onReject {
			continue
		}
		phases := s.instance.phases
		if body != nil && phases.Has(policy.RequestHeaders) {
			b.warn(b.paths[i], fmt.Sprintf("%q acts on headers and so runs before %q, which waits for the whole body and stands above it", s.id, body.id),
				"list it first, so that the order that is written is the one that runs")
		}
		if phases.Has(policy.RequestBody) && body == nil {
			body = s
		}
	}
}
