// Package check says what in an Envoy configuration would break the chains of an
// engine, or let requests past them.
//
// It knows Envoy v1.36.2. Extensions other than those that it looks at may be of any
// kind.
package check

import (
	"fmt"
	"slices"
	"strings"

	"policyengine.dev/sdk/strictyaml"
	"policyengine.dev/tools/pectl/envoyconfig/needs"
)

// Options say what belongs to the engine.
type Options struct {
	// ClusterName is the cluster of the engine; empty counts as policy-engine.
	ClusterName string
	// ExceptListeners are listeners whose requests need not pass the engine.
	ExceptListeners []string
}

// DefaultClusterName is the name of the engine's cluster where Options has none.
const DefaultClusterName = "policy-engine"

// Check looks at a configuration, which may be spread over several files. The error
// is strictyaml.Diagnostics: files that are no YAML, or have nothing in them to look
// at. It says that nothing was checked; what a check finds is in the report.
func Check(files []File, n *needs.Needs, o Options) (*Report, error) {
	if o.ClusterName == "" {
		o.ClusterName = DefaultClusterName
	}
	r, err := gather(files)
	if err != nil {
		return nil, err
	}
	c := &checker{
		needs: n, options: o, resources: r, seen: map[findingKey]bool{}, files: map[string]int{},
		clusters: map[string]bool{}, reached: map[string]bool{}, complete: true,
	}
	for i, f := range files {
		c.files[f.Name] = i
	}
	c.unread()
	c.run()
	if c.work > maxWork {
		return nil, strictyaml.Diagnostics{{
			File: files[0].Name, Line: 1, Column: 1,
			Problem: fmt.Sprintf("the connection managers have more than %d routes, those that they share counted for each", maxWork),
			Remedy:  "check fewer listeners at a time",
		}}
	}
	return c.report(), nil
}

// maxWork bounds how many routes are checked, those that connection managers share
// counted for each.
const maxWork = 2_000_000

type checker struct {
	needs     *needs.Needs
	options   Options
	resources *resources
	files     map[string]int // their order

	findings []Finding
	seen     map[findingKey]bool
	looked   Looked
	clusters map[string]bool // those that were checked
	work     int             // how many routes were checked, the same ones again included

	// reached are the engine's routes that requests can take; complete says
	// that all of Envoy's routes have been seen.
	reached  map[string]bool
	complete bool
}

func (c *checker) run() {
	for _, name := range sortedKeys(c.resources.clusters) {
		c.upstreamFilters(c.resources.clusters[name])
	}
	for _, f := range c.resources.fragments {
		c.fragment(f)
	}
	for _, t := range c.resources.told {
		c.found(t.rule, t.severity, t.at, t.in, t.problem, t.remedy)
	}
	for i, l := range c.resources.listeners {
		c.looked.Listeners++
		c.listener(l, scope{}.within("listener", named(l, "name", i)), slices.Contains(c.options.ExceptListeners, at(l, "name").Text()))
	}
	if len(c.resources.listeners) == 0 {
		// Routes and clusters by themselves: look at what they say.
		for _, name := range sortedKeys(c.resources.routes) {
			c.routeConfiguration(c.resources.routes[name], nil, nil)
		}
		for _, name := range sortedKeys(c.resources.clusters) {
			if name == c.options.ClusterName {
				c.cluster(c.resources.clusters[name])
			}
		}
		return
	}
	if c.resources.dynamic[listeners] {
		c.complete = false
	}
	c.unreached()
}

// unreached tells of the engine's routes that no request can take.
func (c *checker) unreached() {
	if !c.complete || c.looked.ConnectionManagers == 0 {
		return
	}
	chains := map[string][]string{}
	for _, r := range c.needs.Routes {
		if !c.reached[r.Name] {
			chains[r.Chain.Name] = append(chains[r.Chain.Name], r.Name)
		}
	}
	for _, chain := range sortedKeys(chains) {
		c.found(RouteUnused, Warning, c.resources.listeners[0], nil,
			fmt.Sprintf("no route of this configuration is called %s, so chain %s does not run for it", several(chains[chain], "or"), chain),
			"give Envoy's route the name that the engine knows, or take it out of the engine's routes")
	}
}

// several names at most a few of names, which are sorted.
func several(names []string, conjunction string) string {
	const most = 5
	quoted := make([]string, 0, most)
	for _, name := range names[:min(len(names), most)] {
		quoted = append(quoted, fmt.Sprintf("%q", name))
	}
	switch {
	case len(names) > most:
		return fmt.Sprintf("%s %s %d others", strings.Join(quoted, ", "), conjunction, len(names)-most)
	case len(names) > 1:
		return strings.Join(quoted[:len(quoted)-1], ", ") + " " + conjunction + " " + quoted[len(quoted)-1]
	}
	return strings.Join(quoted, "")
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
