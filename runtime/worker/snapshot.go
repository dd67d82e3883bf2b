package worker

import (
	"encoding/json"
	"sync/atomic"
	"time"

	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/sdk/definition"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/expr"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policy/apply"
)

// Snapshot is one valid configuration, compiled. It is immutable and safe for
// concurrent use. Whoever has acquired it releases it once.
type Snapshot struct {
	version string
	loaded  time.Time
	routes  routeTable
	chains  []*Chain
	byName  map[string]*Chain
	unknown UnknownRoute

	worker *Worker
	// refs counts who uses the snapshot: the worker, while it is the newest,
	// each stream, and each abandoned call. At zero its chains are let go.
	refs atomic.Int64
}

// Version names the configuration: [Spec.Version].
func (s *Snapshot) Version() string { return s.version }

// Loaded is when the snapshot was made.
func (s *Snapshot) Loaded() time.Time { return s.loaded }

// Chain returns the chain of the route, and whether the route has one: that of the entry
// of exactly this name, or else of the most specific pattern that fits.
func (s *Snapshot) Chain(route string) (*Chain, bool) {
	r, ok := s.routes.get(route)
	return r.chain, ok && !r.denied
}

// ChainNamed returns the chain of that name, and whether there is one.
func (s *Snapshot) ChainNamed(name string) (*Chain, bool) {
	c, ok := s.byName[name]
	return c, ok
}

// Chains are all chains, in the order of the configuration. The slice must not be
// modified.
func (s *Snapshot) Chains() []*Chain { return s.chains }

// Routes calls yield with the name of each entry, which may be a pattern, and its chain,
// in no order. Entries that deny are left out: see [Snapshot.DeniedRoutes].
func (s *Snapshot) Routes(yield func(route string, c *Chain) bool) {
	s.routes.all(func(name string, r route) bool { return r.denied || yield(name, r.chain) })
}

// DeniedRoutes calls yield with the name of each entry that denies, in no order.
func (s *Snapshot) DeniedRoutes(yield func(route string) bool) {
	s.routes.all(func(name string, r route) bool { return !r.denied || yield(name) })
}

// Requests is what is counted of the requests on a route, or nil where it has no
// chain.
func (s *Snapshot) Requests(route string) *telemetry.Route {
	r, _ := s.routes.get(route)
	return r.requests
}

// RouteCount is how many routes have a chain.
func (s *Snapshot) RouteCount() int {
	return len(s.routes.exact) + len(s.routes.names) - s.routes.denied
}

// OnUnknownRoute says what becomes of a request on this route, which has no chain. Routes
// whose entry denies are denied, and the others are unknown: see [Snapshot.UnknownRoutes].
func (s *Snapshot) OnUnknownRoute(route string) UnknownRoute {
	if r, _ := s.routes.get(route); r.denied {
		return DenyUnknownRoute
	}
	return s.unknown
}

// UnknownRoutes says what becomes of a request on a route that no entry fits.
func (s *Snapshot) UnknownRoutes() UnknownRoute { return s.unknown }

// Release ends the use of a snapshot that [Worker.Acquire] returned.
func (s *Snapshot) Release() {
	if s.refs.Add(-1) == 0 {
		s.worker.retire(s)
	}
}

// acquire adds a user, and reports whether the snapshot is still alive.
func (s *Snapshot) acquire() bool {
	for {
		n := s.refs.Load()
		if n == 0 {
			return false
		}
		if s.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Chain is a chain, compiled. It is immutable and safe for concurrent use. Several
// snapshots may have it.
type Chain struct {
	name string
	// digest is of what the chain was made from.
	digest Digest
	// instances are those of the steps, each once.
	instances []*instance
	// warnings have paths that begin at the chain.
	warnings Problems
	// snapshots counts those that have the chain, one in the making included;
	// guarded by Worker.mu.
	snapshots int
	// steps are all steps in listed order, those of onReject behind the others.
	steps []*step
	// plan holds the steps of each phase in the order in which they run.
	plan [policy.PhaseCount]sequence
	// reject holds the steps that shape a rejection, for the response's headers
	// and its body, in listed order.
	rejectHeaders, rejectBody sequence
	needs                     Needs
	holdLimit                 int
	disabled                  []string
	// detail says how far apart the steps are counted.
	detail Detail
	// started says that every instance was found to have started, which none loses again.
	started atomic.Bool
	// noRequestBody and noResponseBody say that no step needs that body, and that none
	// may.
	noRequestBody, noResponseBody bool
	// owned are the request headers that the chain's policies own, those of steps
	// that are not enabled included. A client's own are removed before the first step.
	owned apply.OwnedHeaders
}

// Disabled are the ids of the steps that are left out. It must not be modified.
func (c *Chain) Disabled() []string { return c.disabled }

// NeverBodies reports which bodies the chain says that it never needs.
func (c *Chain) NeverBodies() (request, response bool) { return c.noRequestBody, c.noResponseBody }

// Name is the chain's name.
func (c *Chain) Name() string { return c.name }

// OwnedHeaders are the request headers that the chain's policies own, in lower case and
// sorted: see [policy.HeaderOwner]. It must not be modified.
func (c *Chain) OwnedHeaders() []string { return c.owned.Names() }

// Needs is what the chain has to see.
func (c *Chain) Needs() Needs { return c.needs }

// Steps calls yield with what is known of each step that runs, for metrics and
// dumps, in listed order, onReject's last.
func (c *Chain) Steps(yield func(StepInfo) bool) {
	for _, s := range c.steps {
		if !yield(s.info()) {
			return
		}
	}
}

// Order returns the ids of the steps that run in the phase, in the order in which they run.
func (c *Chain) Order(p policy.Phase) []string { return c.plan[p].ids() }

// RejectOrder returns the ids of the steps that shape the engine's own answers in the phase,
// which is that of the response's headers or of its whole body, in the order in which they run.
func (c *Chain) RejectOrder(p policy.Phase) []string {
	switch p {
	case policy.ResponseHeaders:
		return c.rejectHeaders.ids()
	case policy.ResponseBody:
		return c.rejectBody.ids()
	}
	return nil
}

func (s *sequence) ids() []string {
	var ids []string
	for _, st := range s.steps {
		ids = append(ids, st.id)
	}
	return ids
}

// CountedStep is what is counted of one step, or of several that are counted together: see [Options.Detail].
type CountedStep struct {
	// Chain and ID are empty where steps of several chains, or several of one chain, are counted together.
	Chain, ID, Policy, Version string
	Mode                       Mode
	// Shared says that other steps may have the same Metrics.
	Shared bool
	// Starts says that the policy has to start, and Started that this step's has.
	Starts, Started bool
	Metrics         *telemetry.Step
}

// Counted calls yield with what is counted of each step that runs, in listed order, onReject's last.
func (c *Chain) Counted(yield func(CountedStep) bool) {
	for _, s := range c.steps {
		in := s.instance
		_, starts := in.value.(policy.Starter)
		counted := CountedStep{
			Chain: c.name, ID: s.id, Policy: in.version.Name, Version: in.version.Version, Mode: s.mode,
			Starts: starts, Started: in.ready(), Metrics: s.metrics,
		}
		if c.detail != StepDetail {
			counted.ID, counted.Shared = "", true
		}
		if c.detail == RouteDetail {
			counted.Chain = ""
		}
		if !yield(counted) {
			return
		}
	}
}

// StepInfo describes one step of a chain.
type StepInfo struct {
	ID, Policy, Version string
	Mode                Mode
	OnError             OnError
	Condition           string
	// Attributes are the names of the proxy's attributes that the condition
	// reads, sorted. It must not be modified.
	Attributes []string
	// Reads are the attributes that the policy itself reads.
	Reads    definition.Attributes
	Timeout  time.Duration
	OnReject bool
	// Skippable says that earlier steps may skip this one, and SkipsSteps that this one may skip
	// later ones.
	Skippable, SkipsSteps bool
	// Required says that no configuration takes effect while the policy has not
	// started.
	Required bool
	Phases   policy.PhaseSet
	// Params are the parameters with defaults applied and secrets masked.
	Params json.RawMessage
	// Started is false while the policy's Start has not succeeded; StartError
	// says why, where it has been tried.
	Started    bool
	StartError error
	Metrics    *telemetry.Step
}

// step is one policy at its place in a chain.
type step struct {
	index    int
	id       string
	path     string // from the chain on
	instance *instance
	// site is where the policy runs; nil is this process.
	site     Site
	when     *expr.Program // nil: always
	source   string        // of when
	mode     Mode
	onError  OnError
	timeout  int64 // ns
	onReject bool
	required bool
	// skippable says that earlier steps may skip this one, and exempt that there is one that may.
	skippable, exempt bool
	metrics           *telemetry.Step
	failures          telemetry.Rate
	checked           apply.Memo
	place             *exchange.Place
}

// conditional reports whether a condition, decided at the step's first phase, can rule
// it out of later ones, or an earlier step can.
func (s *step) conditional() bool {
	phases := s.instance.phases
	return s.when != nil && phases&(phases-1) != 0 || s.exempt && phases&^policy.Phases(policy.RequestHeaders) != 0
}

func (s *step) info() StepInfo {
	v := s.instance.version
	var attributes []string
	if s.when != nil {
		attributes = s.when.Reads().Attributes
	}
	return StepInfo{
		ID: s.id, Policy: v.Name, Version: v.Version, Mode: s.mode, OnError: s.onError,
		Condition: s.source, Attributes: attributes, Reads: s.instance.reads, Timeout: time.Duration(s.timeout), OnReject: s.onReject, Required: s.required, Skippable: s.skippable, SkipsSteps: s.instance.skips,
		Phases: s.instance.phases, Params: v.Definition.Redact([]byte(s.instance.params)),
		Started: s.instance.ready(), StartError: s.instance.startError(), Metrics: s.metrics,
	}
}
