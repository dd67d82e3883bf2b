package configdiff

import (
	"fmt"
	"io"
	"strings"
)

// Report is what two configurations differ in. Its JSON is the output of
// `policy-engine diff --json`. Fields are added, never renamed.
type Report struct {
	// MayWiden says that a change may widen what is let through.
	MayWiden bool `json:"mayWiden"`
	// Changes are in the order of: unknown routes, routes by name, chains by name. It is
	// not nil.
	Changes []Change `json:"changes"`
}

// Kind is what a change is about.
type Kind string

// The kinds of changes.
const (
	UnknownRoutes  Kind = "unknown-routes"
	RouteAdded     Kind = "route-added"
	RouteRemoved   Kind = "route-removed"
	RouteChanged   Kind = "route-changed"
	RouteCaptured  Kind = "route-captured"
	ChainAdded     Kind = "chain-added"
	ChainRemoved   Kind = "chain-removed"
	ChainChanged   Kind = "chain-changed"
	StepAdded      Kind = "step-added"
	StepRemoved    Kind = "step-removed"
	StepChanged    Kind = "step-changed"
	StepsReordered Kind = "steps-reordered"
)

// Change is one difference.
type Change struct {
	Kind Kind `json:"kind"`
	// Route is the entry of routes, of a change of routes.
	Route string `json:"route,omitempty"`
	// Chain and List are where steps are: List is "policies" or "onReject".
	Chain string `json:"chain,omitempty"`
	List  string `json:"list,omitempty"`
	// Step is the id of the step.
	Step string `json:"step,omitempty"`
	// Field is what has changed, as files name it: such as "mode", or
	// "params/keys/0/id" for a value of the parameters.
	Field string `json:"field,omitempty"`
	// Old and New are the values. Those of parameters are JSON, with secrets masked as
	// in /config_dump.
	Old string `json:"old,omitempty"`
	New string `json:"new,omitempty"`
	// Note says more about the change.
	Note string `json:"note,omitempty"`
	// MayWiden says why the change may widen what is let through; it is empty if the
	// change is none of the closed list.
	MayWiden Widening `json:"mayWiden,omitempty"`
}

// Widening is why a change may widen what is let through.
type Widening string

// The closed list of changes that may widen what is let through.
const (
	AllowsUnknownRoutes  Widening = "requests on unknown routes pass without a policy"
	LosesRoute           Widening = "the entry no longer gives its names a chain"
	GoesToOtherChain     Widening = "the route goes to another chain"
	IsCaptured           Widening = "the entry takes names from an entry with another chain"
	LosesStep            Widening = "the step is removed"
	DisablesStep         Widening = "the step is disabled"
	ShadowsStep          Widening = "the step no longer enforces"
	ContinuesOnError     Widening = "errors of the step no longer deny"
	ChangesCondition     Widening = "the step's condition is another"
	ChangesParameters    Widening = "the step's parameters are others"
	ReplacesPolicy       Widening = "the step's policy or version is another"
	BecomesSkippable     Widening = "earlier steps may skip the step"
	ShortensWithContinue Widening = "the step has less time, and its errors do not deny"
)

// Widenings is the closed list.
func Widenings() []Widening {
	return []Widening{
		LosesStep, DisablesStep, ShadowsStep, ContinuesOnError, ShortensWithContinue, BecomesSkippable,
		ChangesCondition, ChangesParameters, ReplacesPolicy,
		AllowsUnknownRoutes, LosesRoute, GoesToOtherChain, IsCaptured,
	}
}

// WriteText writes the report for a reader, a line for each change.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	wide := 0
	for _, c := range r.Changes {
		if c.MayWiden != "" {
			wide++
		}
		c.write(&b)
	}
	switch {
	case len(r.Changes) == 0:
		b.WriteString("no changes\n")
	default:
		fmt.Fprintf(&b, "changes: %d; may widen what is let through: %d\n", len(r.Changes), wide)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (c *Change) write(b *strings.Builder) {
	mark := " "
	if c.MayWiden != "" {
		mark = "!"
	}
	b.WriteString(mark + " ")
	switch {
	case c.Kind == UnknownRoutes:
		b.WriteString("onUnknownRoute")
	case c.Route != "":
		fmt.Fprintf(b, "route %q", c.Route)
	default:
		fmt.Fprintf(b, "chain %q", c.Chain)
	}
	if c.Step != "" {
		if c.List == onReject {
			b.WriteString(" onReject")
		}
		fmt.Fprintf(b, " step %q", c.Step)
	}
	switch c.Kind {
	case RouteAdded, ChainAdded, StepAdded:
		b.WriteString(" added")
	case RouteRemoved, ChainRemoved, StepRemoved:
		b.WriteString(" removed")
	case StepsReordered:
		b.WriteString(" " + c.List + " reordered")
	case RouteCaptured:
		b.WriteString(" takes names from another entry")
	}
	if c.Field != "" {
		b.WriteString(" " + c.Field)
	}
	switch {
	case c.Old != "" && c.New != "":
		fmt.Fprintf(b, ": %s -> %s", c.Old, c.New)
	case c.Old != "" || c.New != "":
		fmt.Fprintf(b, ": %s", c.Old+c.New)
	}
	if c.Note != "" {
		fmt.Fprintf(b, " (%s)", c.Note)
	}
	b.WriteString("\n")
	if c.MayWiden != "" {
		fmt.Fprintf(b, "    may widen: %s\n", c.MayWiden)
	}
}
