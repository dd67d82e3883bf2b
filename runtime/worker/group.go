package worker

// sequence is the steps that run in one phase, in order.
type sequence struct {
	steps []*step
	// groups divide the steps into runs of neighbours that have the same caller.
	groups []group
}

// group is steps that one caller calls together. It ends before index end.
type group struct {
	caller Caller
	end    int
}

// divide lays out the groups of the steps.
func (s *sequence) divide() {
	s.groups = nil
	for i, st := range s.steps {
		if n := len(s.groups); n > 0 && s.groups[n-1].caller == st.caller {
			s.groups[n-1].end = i + 1
			continue
		}
		s.groups = append(s.groups, group{st.caller, i + 1})
	}
}

// divide lays out the groups of all phases.
func (c *Chain) divide() {
	for p := range c.plan {
		c.plan[p].divide()
	}
	c.rejectHeaders.divide()
	c.rejectBody.divide()
}

// shapes reports whether the chain has steps that shape rejections.
func (c *Chain) shapes() bool { return len(c.rejectHeaders.steps)+len(c.rejectBody.steps) > 0 }
