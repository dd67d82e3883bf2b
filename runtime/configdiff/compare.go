package configdiff

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"policyengine.dev/runtime/worker"
)

// The lists of a chain.
const (
	policies = "policies"
	onReject = "onReject"
)

// Compare returns what new has changed. The registry tells which versions are meant and
// which parameters are secret. new is valid; of old only the names have to be unique.
// The same specs have the same report.
func Compare(registry *worker.Registry, old, new worker.Spec) *Report {
	c := &comparison{registry: registry, report: &Report{Changes: []Change{}}}
	c.unknownRoutes(old.OnUnknownRoute, new.OnUnknownRoute)
	c.routes(old, new)
	c.chains(old.Chains, new.Chains)
	for i := range c.report.Changes {
		c.report.MayWiden = c.report.MayWiden || c.report.Changes[i].MayWiden != ""
	}
	return c.report
}

type comparison struct {
	registry *worker.Registry
	report   *Report
}

func (c *comparison) add(change Change) { c.report.Changes = append(c.report.Changes, change) }

func unknownRoute(u worker.UnknownRoute) string {
	if u == worker.ContinueUnknownRoute {
		return "continue"
	}
	return "deny"
}

func (c *comparison) unknownRoutes(old, new worker.UnknownRoute) {
	if old == new {
		return
	}
	change := Change{Kind: UnknownRoutes, Old: unknownRoute(old), New: unknownRoute(new)}
	if new == worker.ContinueUnknownRoute {
		change.MayWiden = AllowsUnknownRoutes
	}
	c.add(change)
}

// table is the routes of one configuration.
type table struct {
	chains map[string]string
	names  *worker.RouteNames
}

func newTable(routes []worker.RouteSpec) table {
	t := table{chains: make(map[string]string, len(routes))}
	names := make([]string, len(routes))
	for i, r := range routes {
		names[i], t.chains[r.Name] = r.Name, r.Chain
	}
	t.names = worker.NewRouteNames(names)
	return t
}

func (c *comparison) routes(old, new worker.Spec) {
	before, after := newTable(old.Routes), newTable(new.Routes)
	for _, name := range union(before.chains, after.chains) {
		was, had := before.chains[name]
		is, has := after.chains[name]
		switch {
		case !had:
			c.add(Change{Kind: RouteAdded, Route: name, New: is})
			c.captured(name, is, before)
		case !has:
			c.removed(name, was, after, new.OnUnknownRoute)
		case was != is:
			c.add(Change{Kind: RouteChanged, Route: name, Field: "chain", Old: was, New: is, MayWiden: GoesToOtherChain})
		}
	}
}

// captured reports the entries from which a new entry takes names that had another chain.
func (c *comparison) captured(name, chain string, before table) {
	from := before.names.LessSpecific(name)
	if !strings.Contains(name, "*") {
		// Only the one that served the name loses it.
		if serving, ok := before.names.Find(name); ok {
			from = []string{serving}
		}
	}
	for _, entry := range from {
		if was := before.chains[entry]; was != chain {
			c.add(Change{Kind: RouteCaptured, Route: name, Old: was, New: chain, Note: fmt.Sprintf("from %q", entry), MayWiden: IsCaptured})
		}
	}
}

// removed reports an entry that is gone, and what serves its names now.
func (c *comparison) removed(name, was string, after table, unknown worker.UnknownRoute) {
	change := Change{Kind: RouteRemoved, Route: name, Old: was, MayWiden: LosesRoute}
	serving, ok := "", false
	if strings.Contains(name, "*") {
		if less := after.names.LessSpecific(name); len(less) > 0 {
			change.Note = fmt.Sprintf("its names go to less specific patterns, such as %q with chain %q", less[0], after.chains[less[0]])
			c.add(change)
			return
		}
	} else if serving, ok = after.names.Find(name); ok {
		change.Note = fmt.Sprintf("now served by %q with chain %q", serving, after.chains[serving])
		if after.chains[serving] == was {
			change.MayWiden = ""
		}
		c.add(change)
		return
	}
	change.Note = "its names are unknown routes, which are denied"
	if unknown == worker.ContinueUnknownRoute {
		change.Note = "its names are unknown routes, which pass without a policy"
	}
	c.add(change)
}

func (c *comparison) chains(old, new []worker.ChainSpec) {
	before, after := byName(old), byName(new)
	for _, name := range union(before, after) {
		was, is := before[name], after[name]
		switch {
		case was == nil:
			c.add(Change{Kind: ChainAdded, Chain: name, New: count(len(is.Policies))})
		case is == nil:
			c.add(Change{Kind: ChainRemoved, Chain: name, Old: count(len(was.Policies))})
		default:
			c.chain(name, was, is)
		}
	}
}

func count(steps int) string { return fmt.Sprintf("%d policies", steps) }

func byName(chains []worker.ChainSpec) map[string]*worker.ChainSpec {
	all := make(map[string]*worker.ChainSpec, len(chains))
	for i := range chains {
		all[chains[i].Name] = &chains[i]
	}
	return all
}

func (c *comparison) chain(name string, was, is *worker.ChainSpec) {
	for _, f := range []struct{ name, old, new string }{
		{"bodyLimit", size(was.BodyLimit), size(is.BodyLimit)},
		{"requestBody", bodyRule(was.NoRequestBody), bodyRule(is.NoRequestBody)},
		{"responseBody", bodyRule(was.NoResponseBody), bodyRule(is.NoResponseBody)},
		{"reroute", strconv.FormatBool(was.Reroute), strconv.FormatBool(is.Reroute)},
		{"rerouteHeaders", list(was.RerouteHeaders), list(is.RerouteHeaders)},
	} {
		if f.old != f.new {
			c.add(Change{Kind: ChainChanged, Chain: name, Field: f.name, Old: f.old, New: f.new})
		}
	}
	c.steps(name, policies, was.Policies, is.Policies)
	c.steps(name, onReject, was.OnReject, is.OnReject)
}

func size(n int64) string {
	if n == 0 {
		return "default"
	}
	return strconv.FormatInt(n, 10)
}

func bodyRule(never bool) string {
	if never {
		return "never"
	}
	return "auto"
}

func list(names []string) string { return "[" + strings.Join(names, ", ") + "]" }

// steps compares the steps of one list. They are the same step if they have the same id.
func (c *comparison) steps(chain, in string, old, new []worker.PolicySpec) {
	before, after := byID(old), byID(new)
	var stayed, order []string
	for i := range new {
		key := stepID(&new[i])
		was, ok := before[key]
		if !ok {
			c.add(Change{Kind: StepAdded, Chain: chain, List: in, Step: key, New: policy(&new[i])})
			continue
		}
		order = append(order, key)
		c.step(Change{Kind: StepChanged, Chain: chain, List: in, Step: key}, was, &new[i])
	}
	for i := range old {
		key := stepID(&old[i])
		if after[key] == nil {
			c.add(Change{Kind: StepRemoved, Chain: chain, List: in, Step: key, Old: policy(&old[i]), MayWiden: LosesStep})
			continue
		}
		stayed = append(stayed, key)
	}
	if !slices.Equal(stayed, order) {
		c.add(Change{Kind: StepsReordered, Chain: chain, List: in, Old: list(stayed), New: list(order)})
	}
}

func stepID(s *worker.PolicySpec) string {
	if s.ID != "" {
		return s.ID
	}
	return s.Name
}

func policy(s *worker.PolicySpec) string { return s.Name + " " + s.Version }

func byID(steps []worker.PolicySpec) map[string]*worker.PolicySpec {
	all := make(map[string]*worker.PolicySpec, len(steps))
	for i := range steps {
		all[stepID(&steps[i])] = &steps[i]
	}
	return all
}

// step compares two states of one step. what is the change without its field.
func (c *comparison) step(what Change, was, is *worker.PolicySpec) {
	field := func(name, old, new string, widens bool, why Widening) {
		if old == new {
			return
		}
		change := what
		change.Field, change.Old, change.New = name, old, new
		if widens {
			change.MayWiden = why
		}
		c.add(change)
	}
	oldVersion, newVersion := c.resolve(was), c.resolve(is)
	field("name", was.Name, is.Name, true, ReplacesPolicy)
	field("version", was.Version, is.Version, oldVersion == nil || oldVersion != newVersion, ReplacesPolicy)
	field("mode", was.Mode.String(), is.Mode.String(), is.Mode == worker.Shadow, ShadowsStep)
	field("onError", onError(was), onError(is), is.OnError == worker.ContinueOnError, ContinuesOnError)
	field("enabled", strconv.FormatBool(!was.Disabled), strconv.FormatBool(!is.Disabled), is.Disabled, DisablesStep)
	field("when", condition(was), condition(is), true, ChangesCondition)
	field("skippable", strconv.FormatBool(was.Skippable), strconv.FormatBool(is.Skippable), is.Skippable, BecomesSkippable)
	field("required", strconv.FormatBool(was.Required), strconv.FormatBool(is.Required), false, "")
	shorter := is.OnError == worker.ContinueOnError && timeout(is) < timeout(was)
	field("timeout", timeoutText(was), timeoutText(is), shorter, ShortensWithContinue)
	for _, p := range parameters(oldVersion, newVersion, was.Params, is.Params) {
		change := what
		change.Field, change.Old, change.New, change.Note, change.MayWiden = p.path, p.old, p.new, p.note, ChangesParameters
		c.add(change)
	}
}

// resolve returns the version that a step means, or nil.
func (c *comparison) resolve(s *worker.PolicySpec) *worker.Version {
	v, err := c.registry.Resolve(s.Name, s.Version)
	if err != nil {
		return nil
	}
	return v
}

func onError(s *worker.PolicySpec) string {
	if s.OnError == worker.ContinueOnError {
		return "continue"
	}
	return "deny"
}

func condition(s *worker.PolicySpec) string {
	if s.When == "" {
		return "always"
	}
	return strconv.Quote(s.When)
}

func timeout(s *worker.PolicySpec) time.Duration {
	if s.Timeout == 0 {
		return worker.MaxDefaultTimeout
	}
	return s.Timeout
}

func timeoutText(s *worker.PolicySpec) string {
	if s.Timeout == 0 {
		return "default"
	}
	return s.Timeout.String()
}

// union returns the keys of both maps, sorted.
func union[V any](a, b map[string]V) []string {
	keys := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(keys)
	return slices.Compact(keys)
}
