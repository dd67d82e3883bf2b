package worker

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"policyengine.dev/runtime/telemetry"
)

// Bounds on patterns.
const (
	MaxPatterns = 10_000 // of one configuration
	MaxSegments = 32     // of one pattern
	// MaxPatternShapes bounds the steps of a lookup. A shape is a number of first segments and
	// the places of * among them. Of the beginnings of patterns that have one shape at
	// most one fits a name, so that a lookup takes at most a step for each.
	MaxPatternShapes = 512
	// maxCompared bounds the steps that it takes to find ambiguous patterns.
	maxCompared = 10_000_000
)

// In a pattern anySegment stands for one segment between slashes, and anyRest, at its
// end, for whatever is left, be it nothing.
const (
	anySegment = "*"
	anyRest    = "**"
)

// routeTable finds a route by its name: the entry of exactly that name, or else the most
// specific pattern that fits. A lookup allocates nothing.
type routeTable struct {
	exact    map[string]route
	patterns patternNode
	// names are those of the patterns, each with its entry.
	names map[string]*pattern
	// denied is how many entries deny.
	denied int
}

// named returns the entry of exactly that name, pattern or not.
func (t *routeTable) named(name string) (route, bool) {
	if p := t.names[name]; p != nil {
		return p.route, true
	}
	r, ok := t.exact[name]
	return r, ok
}

// all calls yield with each entry, in no order.
func (t *routeTable) all(yield func(name string, r route) bool) {
	for name, r := range t.exact {
		if !yield(name, r) {
			return
		}
	}
	for name, p := range t.names {
		if !yield(name, p.route) {
			return
		}
	}
}

// route is an entry of a snapshot's routes.
type route struct {
	chain    *Chain
	requests *telemetry.Route
	// denied says that the entry denies. It has neither of the others.
	denied bool
}

// patternNode is what patterns with the same first segments go on with.
type patternNode struct {
	literal map[string]*patternNode
	any     *patternNode
	// rest is the pattern that ends here with anyRest, and end the one that simply
	// ends here.
	rest, end *pattern
}

// pattern is one pattern.
type pattern struct {
	name  string
	index int // in the configuration
	route route
}

// isPattern reports whether a route's name is a pattern.
func isPattern(name string) bool { return strings.Contains(name, "*") }

// ValidRouteName reports whether a name of a route is no pattern, or a pattern that can be
// read.
func ValidRouteName(name string) bool {
	if !isPattern(name) {
		return name != ""
	}
	problem, _ := checkPattern(name)
	return problem == ""
}

// checkPattern says what is wrong with a pattern, or returns nothing.
func checkPattern(name string) (problem, remedy string) {
	segments := strings.Split(name, "/")
	if len(segments) > MaxSegments {
		return fmt.Sprintf("a pattern of %d segments", len(segments)), fmt.Sprintf("at most %d", MaxSegments)
	}
	for i, s := range segments {
		switch {
		case s == "" && i > 0:
			return "a pattern with an empty segment", "write something between the slashes"
		case s == anyRest && i < len(segments)-1:
			return "** stands for the rest of a name, and something follows it", "write * for one segment, or ** at the end"
		case s != anySegment && s != anyRest && strings.Contains(s, "*"):
			return fmt.Sprintf("* stands for a whole segment, and %q has more", s), "write * between slashes, or ** at the end"
		}
	}
	return "", ""
}

// get returns the entry for a route's name, be it one that denies.
func (t *routeTable) get(name string) (route, bool) {
	if r, ok := t.exact[name]; ok {
		return r, true
	}
	if p := t.patterns.find(name, true); p != nil {
		return p.route, true
	}
	return route{}, false
}

// find returns the most specific pattern that fits what is left of a name. more is false
// at the name's end. Of two patterns that fit one name one is more specific throughout, so
// that it is found first where a literal segment goes before *, and * before **.
func (n *patternNode) find(left string, more bool) *pattern {
	if !more {
		return cmp.Or(n.end, n.rest)
	}
	segment, after, more := strings.Cut(left, "/")
	if next := n.literal[segment]; next != nil {
		if p := next.find(after, more); p != nil {
			return p
		}
	}
	if n.any != nil {
		if p := n.any.find(after, more); p != nil {
			return p
		}
	}
	return n.rest
}

// add adds a valid pattern of a name that is not there yet.
func (t *routeTable) add(p *pattern) {
	if t.names == nil {
		t.names = map[string]*pattern{}
	}
	t.names[p.name] = p
	n := &t.patterns
	for s := range strings.SplitSeq(p.name, "/") {
		switch {
		case s == anyRest:
			n.rest = p
			return
		case s == anySegment:
			if n.any == nil {
				n.any = &patternNode{}
			}
			n = n.any
		default:
			if n.literal == nil {
				n.literal = map[string]*patternNode{}
			}
			if n.literal[s] == nil {
				n.literal[s] = &patternNode{}
			}
			n = n.literal[s]
		}
	}
	n.end = p
}

// shape is a number of first segments, and the places of * among them.
type shape struct {
	segments int
	any      uint32
}

// addShapes adds the shapes of a valid pattern's beginnings.
func addShapes(shapes map[shape]struct{}, name string) {
	var s shape
	for segment := range strings.SplitSeq(name, "/") {
		if segment == anyRest {
			return
		}
		if segment == anySegment {
			s.any |= 1 << s.segments
		}
		s.segments++
		shapes[s] = struct{}{}
	}
}

// rivals returns the patterns that fit a name which p fits too, while neither is more
// specific than the other, in the order of the configuration. Only those behind p are
// returned, so that each pair is told once. Each step takes one of the budget, and the
// result is not complete if that ends.
func (t *routeTable) rivals(p *pattern, budget *int) []*pattern {
	var found []*pattern
	t.patterns.overlaps(strings.Split(p.name, "/"), 0, 0, budget, func(o *pattern, more, less int) {
		if more > 0 && less > 0 && o.index > p.index {
			found = append(found, o)
		}
	})
	slices.SortFunc(found, func(a, b *pattern) int { return cmp.Compare(a.index, b.index) })
	return found
}

// overlaps calls f with each pattern below n that fits a name which the segments fit too.
// more counts where the segments are more specific than the pattern, less where they are
// less. Each step takes one of the budget.
func (n *patternNode) overlaps(segments []string, more, less int, budget *int, f func(o *pattern, more, less int)) {
	if *budget--; *budget < 0 {
		return
	}
	if len(segments) == 0 {
		// They end here; ** may stand for nothing.
		if n.end != nil {
			f(n.end, more, less)
		}
		if n.rest != nil {
			f(n.rest, more+1, less)
		}
		return
	}
	switch s := segments[0]; s {
	case anyRest:
		n.each(budget, func(o *pattern) {
			if o == n.rest {
				f(o, more, less)
			} else {
				f(o, more, less+1)
			}
		})
		return
	case anySegment:
		for _, next := range n.literal {
			next.overlaps(segments[1:], more, less+1, budget, f)
		}
		if n.any != nil {
			n.any.overlaps(segments[1:], more, less, budget, f)
		}
	default:
		if next := n.literal[s]; next != nil {
			next.overlaps(segments[1:], more, less, budget, f)
		}
		if n.any != nil {
			n.any.overlaps(segments[1:], more+1, less, budget, f)
		}
	}
	if n.rest != nil {
		f(n.rest, more+1, less)
	}
}

// each calls f with every pattern at and below n.
func (n *patternNode) each(budget *int, f func(p *pattern)) {
	if *budget--; *budget < 0 {
		return
	}
	if n.end != nil {
		f(n.end)
	}
	if n.rest != nil {
		f(n.rest)
	}
	if n.any != nil {
		n.any.each(budget, f)
	}
	for _, next := range n.literal {
		next.each(budget, f)
	}
}

// RouteNames finds the entry of a configuration's routes that serves a route's name, as
// a snapshot does: exact before patterns, the more specific pattern before the less. It
// is for tools, immutable, and safe for concurrent use.
type RouteNames struct{ table routeTable }

// NewRouteNames returns the finder for entries, which are names and patterns of a valid
// configuration.
func NewRouteNames(entries []string) *RouteNames {
	n := &RouteNames{table: routeTable{exact: map[string]route{}}}
	for i, name := range entries {
		if isPattern(name) {
			n.table.add(&pattern{name: name, index: i})
		} else {
			n.table.exact[name] = route{}
		}
	}
	return n
}

// Find returns the entry that serves the name, and whether there is one.
func (n *RouteNames) Find(name string) (entry string, ok bool) {
	if _, ok := n.table.exact[name]; ok {
		return name, true
	}
	if p := n.table.patterns.find(name, true); p != nil {
		return p.name, true
	}
	return "", false
}

// LessSpecific returns the patterns that fit a name which the entry, a name or a pattern,
// fits too and goes before them there. They are sorted. The entry need not be one of n's.
func (n *RouteNames) LessSpecific(entry string) []string {
	var all []string
	budget := maxCompared
	n.table.patterns.overlaps(strings.Split(entry, "/"), 0, 0, &budget, func(o *pattern, more, less int) {
		if more > 0 && less == 0 {
			all = append(all, o.name)
		}
	})
	slices.Sort(all)
	return slices.Compact(all)
}

// Match is an entry of a configuration's routes that fits the name of a route.
type Match struct {
	// Entry is the entry's name, which may be a pattern.
	Entry string
	// Chain is the chain that the entry gives a route.
	Chain *Chain
}

// Matches returns every entry that fits the name of a route: first the one that serves it,
// then the others, the more specific before the less.
func (s *Snapshot) Matches(name string) []Match {
	var all []Match
	if r, ok := s.routes.exact[name]; ok {
		all = append(all, Match{name, r.chain})
	}
	s.routes.patterns.fitting(name, true, func(p *pattern) { all = append(all, Match{p.name, p.route.chain}) })
	return all
}

// Fitting returns the entries that fit a route's name, the one that serves it first and
// each of the others before those that are less specific.
func (n *RouteNames) Fitting(name string) []string { return n.table.fitting(name) }

func (t *routeTable) fitting(name string) (all []string) {
	if _, ok := t.exact[name]; ok {
		all = append(all, name)
	}
	t.patterns.fitting(name, true, func(p *pattern) { all = append(all, p.name) })
	return all
}

// fitting calls yield with each pattern below n that fits what is left of a name, in the
// order in which find would choose them.
func (n *patternNode) fitting(left string, more bool, yield func(p *pattern)) {
	if more {
		segment, after, more := strings.Cut(left, "/")
		if next := n.literal[segment]; next != nil {
			next.fitting(after, more, yield)
		}
		if n.any != nil {
			n.any.fitting(after, more, yield)
		}
	} else if n.end != nil {
		yield(n.end)
	}
	if n.rest != nil {
		yield(n.rest)
	}
}
