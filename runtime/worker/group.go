package worker

import (
	"slices"

	"policyengine.dev/sdk/policy"
)

// Site is where policies run that are not in this process. Two steps are at the same site
// if their sites are equal.
type Site interface {
	// Caller returns the caller for a group of steps. It is called when a chain is
	// compiled.
	Caller(p Place) Caller
}

// Place says which steps of a chain a [Caller] calls, and what they can read.
type Place struct {
	// Chain is the chain's name, and Phase the phase. Rejection says that the steps are
	// those of onReject.
	Chain     string
	Phase     policy.Phase
	Rejection bool
	// First is the first step, counted among the steps of the phase at this site.
	First int
	// Body and Trailers are set where a step acts on the request's body or trailers, in
	// this phase or in an earlier one, ResponseBody and ResponseTrailers where one acts on
	// those of the response. Other steps do not read them.
	Body, Trailers, ResponseBody, ResponseTrailers bool
	// Attributes are the names of the attributes that policies and conditions read.
	Attributes []string
}

// sequence is the steps that run in one phase, in order.
type sequence struct {
	steps []*step
	// groups divide the steps into runs of neighbours at the same site.
	groups []group
}

// group is steps that one caller calls together. It ends before index end.
type group struct {
	caller Caller
	end    int
}

// divide lays out the groups of the steps of a phase.
func (s *sequence) divide(chain string, phase policy.Phase, rejection bool) {
	s.groups = nil
	before := map[Site]int{}
	for from := 0; from < len(s.steps); {
		site := s.steps[from].site
		end := from + 1
		for end < len(s.steps) && s.steps[end].site == site {
			end++
		}
		var caller Caller = inProcess{}
		if site != nil {
			p := Place{Chain: chain, Phase: phase, Rejection: rejection, First: before[site]}
			for _, st := range s.steps[from:end] {
				p.admit(st)
			}
			caller = site.Caller(p)
		}
		s.groups = append(s.groups, group{caller, end})
		before[site] += end - from
		from = end
	}
}

// admit adds what a step can read.
func (p *Place) admit(s *step) {
	phases := s.instance.phases
	p.Body = p.Body || p.Phase >= policy.RequestBody && phases.Has(policy.RequestBody)
	p.Trailers = p.Trailers || p.Phase >= policy.RequestTrailers && phases.Has(policy.RequestTrailers)
	p.ResponseBody = p.ResponseBody || p.Phase >= policy.ResponseBody && phases.Has(policy.ResponseBody)
	p.ResponseTrailers = p.ResponseTrailers || p.Phase >= policy.ResponseTrailers && phases.Has(policy.ResponseTrailers)
	add := func(names []string) {
		for _, n := range names {
			if !slices.Contains(p.Attributes, n) {
				p.Attributes = append(p.Attributes, n)
			}
		}
	}
	add(s.instance.reads.Request)
	add(s.instance.reads.Response)
	if s.when != nil {
		add(s.when.Reads().Attributes)
	}
}

// divide lays out the groups of all phases.
func (c *Chain) divide() {
	for p := range c.plan {
		c.plan[p].divide(c.name, policy.Phase(p), false)
	}
	c.rejectHeaders.divide(c.name, policy.ResponseHeaders, true)
	c.rejectBody.divide(c.name, policy.ResponseBody, true)
}

// shapes reports whether the chain has steps that shape rejections.
func (c *Chain) shapes() bool { return len(c.rejectHeaders.steps)+len(c.rejectBody.steps) > 0 }
