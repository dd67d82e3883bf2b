package xds

import (
	"context"
	"maps"
	"slices"

	"policyengine.dev/runtime/config"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/strictyaml"
)

// judge decides about proposals.
type judge struct {
	// check returns what is wrong with a configuration, and changes nothing; apply puts one
	// in force.
	check func(worker.Spec) error
	apply func(context.Context, config.Update) error
	// partial says that bad resources do not keep good ones from taking effect.
	partial bool
	// good is what is in force of a control plane; its set is nil before the first.
	good plan
}

// judge puts a proposal in force if it can.
func (j *judge) judge(ctx context.Context, p *Proposal) Verdict {
	if j.partial && !p.whole && readable(p.told[routes]) {
		return j.inPart(ctx, p)
	}
	return j.whole(ctx, p)
}

// whole puts all of a proposal in force, or nothing.
func (j *judge) whole(ctx context.Context, p *Proposal) Verdict {
	if err := j.apply(ctx, p.Update()); err != nil {
		return Verdict{Refused: err}
	}
	j.good = plan{set: p.told}
	return Verdict{Applied: true}
}

// readable reports whether each route's name can be read. Nobody can say which requests
// another one is to decide, so that the others cannot be told to be good.
func readable(all map[string]*resource) bool {
	for name := range all {
		if !worker.ValidRouteName(name) {
			return false
		}
	}
	return true
}

// maxRounds bounds how often a configuration is put together anew without the resources
// that were found to be bad.
const maxRounds = 20

// inPart puts the good resources of a proposal in force, with the last good ones in place
// of the bad ones.
func (j *judge) inPart(ctx context.Context, p *Proposal) Verdict {
	s := selection{told: p.told, good: j.good, use: plan{set: p.told.clone(), deny: map[string]bool{}}, bad: map[string]bool{}}
	for k := range p.told {
		for _, name := range slices.Sorted(maps.Keys(p.told[k])) {
			if r := p.told[k][name]; len(r.problems) > 0 {
				s.reject(kind(k), name, r.diagnostics()...)
			}
		}
	}
	for range maxRounds {
		s.denyOrphans()
		version := p.version
		if len(s.bad) > 0 {
			version = shortVersion(s.use.set.digest())
		}
		u := config.Update{}
		u.Spec, _ = s.use.spec(version)
		u.Positions = u.Spec.Positions
		if len(s.found) > 0 {
			u.LeftOut = s.found
		}
		err := j.check(u.Spec)
		if err == nil {
			if err = j.apply(ctx, u); err == nil {
				j.good = s.use
				return Verdict{Refused: u.LeftOut, Applied: true}
			}
		}
		if !s.blame(err) {
			break // it cannot be said which part is good
		}
	}
	return j.whole(ctx, p)
}

// selection chooses a version of each resource.
type selection struct {
	told set
	good plan
	use  plan
	bad  map[string]bool // by place
	// found is what is wrong with the bad resources.
	found strictyaml.Diagnostics
}

// reject puts the last good version of a resource in place of the one that is used, and
// reports whether that changes anything. A route without a good version denies.
func (s *selection) reject(k kind, name string, why ...strictyaml.Diagnostic) bool {
	if !s.bad[place(k, name)] || k == chains {
		s.found.Add(why...)
	}
	s.bad[place(k, name)] = true
	used, last := s.use.set[k][name], (*resource)(nil)
	if s.good.set[k] != nil && !(k == routes && s.good.deny[name]) {
		last = s.good.set[k][name]
	}
	switch {
	case k == routes && s.use.deny[name]:
		return false
	case last != nil && used == s.told[k][name] && used != last:
		s.use.set[k][name] = last
	case k == routes:
		delete(s.use.set[k], name)
		s.use.deny[name] = true
	case used == nil:
		return false
	default:
		delete(s.use.set[k], name)
	}
	return true
}

// denyOrphans denies the routes whose chains are bad and have no good version.
func (s *selection) denyOrphans() {
	for name, r := range s.use.set[routes] {
		if c := r.route.Chain; s.bad[place(chains, c)] && s.use.set[chains][c] == nil {
			delete(s.use.set[routes], name)
			s.use.deny[name] = true
		}
	}
}

// blame rejects the resources that problems are about. It returns false if one is about
// none, or if nothing is left to reject.
func (s *selection) blame(err error) bool {
	_, at := s.use.spec("")
	resources := map[string]func(d strictyaml.Diagnostic) bool{}
	for k, names := range map[kind][]string{chains: at.chains, routes: at.routes} {
		for _, name := range names {
			resources[place(k, name)] = func(d strictyaml.Diagnostic) bool { return s.reject(k, name, d) }
		}
	}
	progress := false
	for _, d := range diagnosticsOf(err) {
		reject := resources[d.File]
		if reject == nil {
			return false
		}
		progress = reject(d) || progress
	}
	for _, other := range othersOf(err, at) {
		reject := resources[other.File]
		if reject == nil {
			return false
		}
		progress = reject(other) || progress
	}
	return progress
}

// othersOf are the second resources of problems about two.
func othersOf(err error, at places) (all strictyaml.Diagnostics) {
	for _, p := range problemsOf(err) {
		if p.Other == "" {
			continue
		}
		if where, ok := at.Position(p.Other); ok {
			all.Add(strictyaml.Diagnostic{File: where.Source, Path: where.Field, Problem: p.Message, Remedy: p.Remedy})
		}
	}
	return all
}
