package worker

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"policyengine.dev/sdk/definition"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/expr"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policy/apply"
)

// builder returns the builder of a chain, which is counted as one that a snapshot has.
func (c *compilation) builder(path string, cs *ChainSpec) *chainBuilder {
	c.worker.work.chainsCompiled.Add(1)
	chain := &Chain{name: cs.Name, snapshots: 1, holdLimit: c.worker.options.HoldLimit, detail: c.worker.options.Detail}
	b := &chainBuilder{compilation: c, path: path, chain: chain, ids: map[string]string{}}
	if c.before != nil {
		b.old = c.before.byName[cs.Name]
	}
	return b
}

// build compiles the chain. Other chains may be compiled at the same time.
func (b *chainBuilder) build(cs *ChainSpec) {
	chain, path := b.chain, b.path
	if cs.BodyLimit < 0 || cs.BodyLimit > math.MaxInt32 {
		b.problem(path+".bodyLimit", fmt.Sprintf("%d is out of range", cs.BodyLimit), "write bytes, at most 2 GiB")
	} else if cs.BodyLimit > 0 {
		chain.holdLimit = int(cs.BodyLimit)
	}
	chain.noRequestBody, chain.noResponseBody = cs.NoRequestBody, cs.NoResponseBody
	chain.needs.BodyLimit = cs.BodyLimit
	chain.needs.Reroute = cs.Reroute
	for i, h := range cs.RerouteHeaders {
		if !policy.ValidHeaderName(h) {
			b.problem(fmt.Sprintf("%s.rerouteHeaders[%d]", path, i), fmt.Sprintf("%q is not a header name", h), "")
		}
		chain.needs.RerouteHeaders = append(chain.needs.RerouteHeaders, exchange.Lower(h))
	}
	if len(cs.RerouteHeaders) > 0 && !cs.Reroute {
		b.problem(path+".rerouteHeaders", "has no effect without reroute", "set reroute: true, or leave the list out")
	}
	if n := len(cs.Policies) + len(cs.OnReject); n > MaxPolicies {
		b.problem(path+".policies", fmt.Sprintf("%d policies", n), fmt.Sprintf("at most %d in one chain", MaxPolicies))
		b.done = true
		return
	}
	for i := range cs.Policies {
		b.step(fmt.Sprintf("%s.policies[%d]", path, i), &cs.Policies[i], false)
	}
	for i := range cs.OnReject {
		b.step(fmt.Sprintf("%s.onReject[%d]", path, i), &cs.OnReject[i], true)
	}
	b.plan(path)
	b.done = true
}

// chainBuilder compiles the steps of one chain.
type chainBuilder struct {
	*compilation
	// path is where the chain stands.
	path  string
	chain *Chain
	// old is the chain of the same name in the configuration in force, or nil.
	old *Chain
	// ids are the steps' ids and where they stand.
	ids map[string]string
	// paths are where the chain's steps stand.
	paths []string
	// owned are the request headers that the chain's policies own.
	owned []string
	// problems and fresh are the chain's part of the compilation's, and done says that they are complete.
	problems Problems
	fresh    []*instance
	done     bool
}

// problem adds a problem to the chain's.
func (b *chainBuilder) problem(path, message, remedy string) {
	b.problems = append(b.problems, Problem{Path: path, Message: message, Remedy: remedy})
}

// warn adds a warning, which the chain keeps for the next configuration that has it.
func (b *chainBuilder) warn(path, message, remedy string) {
	b.chain.warnings = append(b.chain.warnings, Problem{Path: path[len(b.path):], Message: message, Remedy: remedy})
}

func (b *chainBuilder) step(path string, ps *PolicySpec, onReject bool) {
	id := ps.ID
	if id == "" {
		id = ps.Name
	}
	if first, twice := b.ids[id]; twice {
		b.problem(path, fmt.Sprintf("%q is there already, at %s", id, first), "give each its own id")
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
		timeout: int64(MaxDefaultTimeout),
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
	s.skippable = ps.Skippable && b.maySkip(path+".skippable", s)
	if ps.Disabled {
		s.instance.close()
		b.chain.disabled = append(b.chain.disabled, id)
		return
	}
	s.path = path[len(b.path):]
	if b.worker.options.Sites != nil {
		s.site = b.worker.options.Sites(v)
	}
	s.metrics = b.stepMetrics(s)
	s.place = b.placeOf(s)
	s.index = len(b.chain.steps)
	b.chain.steps = append(b.chain.steps, s)
	b.paths = append(b.paths, path)
}

// condition compiles the step's condition.
func (b *chainBuilder) condition(path string, ps *PolicySpec, phases policy.PhaseSet) *expr.Program {
	if ps.When == "" {
		return nil
	}
	p, err := b.compileCondition(ps.When, phases)
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
	ready := b.prepare(v, ps.Params)
	if ready.err != nil {
		b.paramProblems(path+".params", ready.err)
		return nil
	}
	if !ps.Disabled {
		if old := b.share(key.id, v, ready.params); old != nil {
			return old
		}
	}
	b.worker.work.instancesMade.Add(1)
	scrub := ready.scrub
	host := b.worker.hostFor(key.chain, key.id, v)
	host.Logger = scrub.logger(host.Logger)
	// The scope lives as long as the instance, and must not keep the builder, which has the compilation and the chain before.
	w := b.worker
	scope := w.shared.Scope(v, func() policy.Host {
		h := w.hostFor("", "", v)
		h.Logger = scrub.logger(h.Logger)
		return h
	})
	host.Shared = scope
	var in *instance
	err := contained(func() error {
		value, err := v.factory.Build([]byte(ready.params), host)
		if err != nil {
			return err
		}
		in = newInstance(key, v, ready.params, value, host)
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
	in.chains = 1
	b.fresh = append(b.fresh, in)
	b.chain.instances = append(b.chain.instances, in)
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
	chain, skipper := b.chain, false
	for _, s := range chain.steps {
		phases := s.instance.phases
		if s.onReject {
			if phases.Has(policy.ResponseHeaders) {
				chain.rejectHeaders.steps = append(chain.rejectHeaders.steps, s)
			}
			if phases.Has(policy.ResponseBody) {
				chain.rejectBody.steps = append(chain.rejectBody.steps, s)
			}
			continue
		}
		for _, p := range phases.List() {
			chain.plan[p].steps = append(chain.plan[p].steps, s)
		}
		s.exempt = s.skippable && skipper
		skipper = skipper || s.instance.skips && s.mode == Enforce
		if s.skippable && !s.exempt {
			b.warn(b.paths[s.index]+".skippable", fmt.Sprintf("no policy before %q skips others, so that it has no effect", s.id), "")
		}
		chain.needs.admit(s)
		chain.needs.Conditional = chain.needs.Conditional || s.conditional()
	}
	chain.owned = apply.NewOwnedHeaders(b.owned)
	chain.needs.admitOwned(&chain.owned)
	for p := policy.ResponseHeaders; p < policy.PhaseCount; p++ {
		slices.Reverse(chain.plan[p].steps)
	}
	chain.divide()
	if chain.noRequestBody {
		b.refuseBody("requestBody", policy.RequestBody, policy.RequestBodyChunks)
	}
	if chain.noResponseBody {
		b.refuseBody("responseBody", policy.ResponseBody, policy.ResponseBodyChunks)
	}
	b.agree(path, policy.RequestBody, policy.RequestBodyChunks)
	b.agree(path, policy.ResponseBody, policy.ResponseBodyChunks)
	b.warnOrder()
}

// refuseBody reports the steps that need a body which the chain says it never needs.
func (b *chainBuilder) refuseBody(field string, phases ...policy.Phase) {
	for i, s := range b.chain.steps {
		for _, p := range phases {
			if s.instance.phases.Has(p) {
				b.problem(b.paths[i], fmt.Sprintf("%s needs the phase %s, and the chain says %s: never", s.instance.version, p, field),
					"leave the policy or "+field+" out")
			}
		}
	}
}

// agree checks that the body policies of a direction all want plain bytes, or none:
// a body cannot be both.
func (b *chainBuilder) agree(path string, phases ...policy.Phase) {
	var raw, plain *step
	for _, p := range phases {
		for _, s := range b.chain.plan[p].steps {
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
