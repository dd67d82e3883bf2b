package check

import (
	"fmt"
	"slices"

	extproc "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"

	"policyengine.dev/tools/pectl/envoyconfig/message"
)

// An HTTP filter is set up in place, by what the control plane delivers under its
// name (ECDS), or inside another filter that decides, request by request, whether it
// runs.

const (
	extProcMsg     = "envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor"
	withMatcherMsg = "envoy.extensions.common.matching.v3.ExtensionWithMatcher"
	perRouteMatch  = "envoy.extensions.common.matching.v3.ExtensionWithMatcherPerRoute"
	compositeMsg   = "envoy.extensions.filters.http.composite.v3.Composite"
	executeMsg     = "envoy.extensions.filters.http.composite.v3.ExecuteFilterAction"
	skipMsg        = "envoy.extensions.filters.common.matcher.action.v3.SkipFilter"
)

// filterSearch looks for the engine's filter in one list of HTTP filters.
type filterSearch struct {
	*checker
	in scope
	// entry is the HTTP filter that is checked, index where it stands.
	entry *message.Node
	index int
	name  string

	// mine are the engine's, with an alternative for each that may stand in the
	// same place.
	mine []*use
	// others are where other external processing filters lead to.
	others map[string]bool
	// undelivered says that the engine's may be one that is not there to be
	// looked at.
	undelivered bool
}

// engineFilters returns the engine's filters in a list, or reports that there is none.
// Of several that may stand in one place, each is returned. upgrade says that the list
// is that of upgraded connections.
func (c *checker) engineFilters(list, owner *message.Node, in scope, upgrade bool) []*use {
	s := &filterSearch{checker: c, in: in, others: map[string]bool{}}
	for i, f := range list.Items {
		s.entry, s.index, s.name = f, i, named(f, "name", i)
		s.filter()
	}
	switch {
	case len(s.mine) == 0 && s.undelivered:
		return nil // said
	case len(s.mine) == 0 && upgrade:
		c.found(UpgradeBypass, Error, owner, in, "these connections pass without any chain: their own filters do not lead to the engine",
			"put the engine's filter into these filters too, or take them out")
		return nil
	case len(s.mine) == 0:
		c.missing(list, owner, in, s.others)
		return nil
	}
	return s.mine
}

// missing reports that no filter of a connection manager leads to the engine, where
// that means that requests pass.
func (c *checker) missing(list, owner *message.Node, in scope, others map[string]bool) {
	if !there(list) {
		list = owner
	}
	if onlyRedirects(owner) {
		c.found(FilterMissing, Note, list, in, "no filter leads to the engine; every request is redirected", "leave it so if that is meant")
		return
	}
	remedy := "put the filter that pectl envoy-config writes into http_filters, before the router; leave a listener out with --except-listener where that is meant"
	if len(others) > 0 {
		remedy = fmt.Sprintf("if %s is the engine, say so with --cluster; otherwise ", several(sortedKeys(others), "or")) + remedy
	}
	c.found(FilterMissing, Error, list, in, "requests pass without any chain: no filter leads to the engine", remedy)
}

// onlyRedirects reports whether all that a connection manager does is send clients
// elsewhere, to HTTPS for example.
func onlyRedirects(manager *message.Node) bool {
	routes := at(manager, "route_config")
	if there(at(routes, "vhds")) {
		return false
	}
	redirects := false
	for _, host := range at(routes, "virtual_hosts").Items {
		if there(at(host, "matcher")) {
			return false
		}
		for _, route := range at(host, "routes").Items {
			if redirects = there(at(route, "redirect")); !redirects {
				return false
			}
		}
	}
	return redirects
}

// filter looks at one entry of the list.
func (s *filterSearch) filter() {
	if config := at(s.entry, "typed_config"); there(config) {
		s.config(config)
		return
	}
	discovery := at(s.entry, "config_discovery")
	if !there(discovery) {
		return
	}
	if n, ok := s.resources.extensions[at(s.entry, "name").Text()]; ok {
		s.config(at(n, "typed_config"))
	} else if s.mayBe(discovery, extProcMsg, withMatcherMsg) {
		s.undelivered = true
		s.found(FilterUnseen, Warning, discovery, s.in,
			fmt.Sprintf("what filter %s does comes from elsewhere, and was not checked", s.name), "give the file that it is in as well, or Envoy's /config_dump")
	}
	byDefault := at(discovery, "default_config")
	if !there(byDefault) {
		return // Envoy answers 500 until there is one
	}
	before := len(s.mine)
	s.config(byDefault)
	if len(s.mine) == before && (before > 0 || s.undelivered) {
		s.found(FilterConditional, Error, byDefault, s.in,
			fmt.Sprintf("requests pass without any chain until the configuration of filter %s has arrived: its default does not lead to the engine", s.name),
			"take default_config out: Envoy then waits for the configuration, and answers 500 without it")
	}
}

// mayBe reports whether a delivered configuration may be one of messages.
func (s *filterSearch) mayBe(discovery *message.Node, messages ...string) bool {
	for _, t := range at(discovery, "type_urls").Items {
		if slices.Contains(messages, message.TypeName(t.Text())) {
			return true
		}
	}
	return false
}

// config looks at what a filter is set up with, and notes it if it is the engine's.
func (s *filterSearch) config(config *message.Node) {
	kind, fields := extension(config)
	switch kind {
	case extProcMsg:
		s.processor(fields)
	case withMatcherMsg:
		s.matched(fields)
	default:
		if mentions(fields) {
			s.found(FilterConditional, Warning, s.entry, s.in,
				fmt.Sprintf("filter %s contains an external processing filter, which runs only under its conditions", s.name),
				"put the engine's filter among http_filters by itself")
		}
	}
}

// processor looks at an external processing filter, and reports whether it is the
// engine's.
func (s *filterSearch) processor(fields *message.Node) bool {
	u := &use{node: s.entry, fields: fields, msg: as[*extproc.ExternalProcessor](fields), index: s.index, name: s.name, in: s.in.within("filter", s.name)}
	if !s.leadsToEngine(u.msg) {
		s.others[target(u.msg.GetGrpcService())] = true
		return false
	}
	s.mine = append(s.mine, u)
	return true
}

// matched looks at a filter around which a matcher stands.
func (s *filterSearch) matched(fields *message.Node) {
	before := len(s.mine)
	kind, inner := extension(at(fields, "extension_config", "typed_config"))
	tree := matcherOf(fields)
	switch kind {
	case extProcMsg:
		if s.processor(inner) {
			s.skipping(tree, s.in)
		}
	case compositeMsg:
		if mentions(tree) {
			s.composite(tree)
		}
	default:
		s.config(at(fields, "extension_config", "typed_config"))
	}
	for _, u := range s.mine[before:] {
		u.matched = true
	}
}

// skipping reports requests that a matcher lets skip the filter that it stands
// around.
func (c *checker) skipping(tree *message.Node, in scope) {
	actions, _ := decisions(tree)
	for _, action := range actions {
		if kind, _ := extension(at(action, "typed_config")); kind == skipMsg {
			c.found(FilterConditional, Error, action, in,
				"requests pass without any chain where the matcher lets them skip the filter", "take the action out, or give those requests a route with a chain without policies")
		}
	}
}

// composite looks at the filters that a matcher chooses among.
func (s *filterSearch) composite(tree *message.Node) {
	actions, all := decisions(tree)
	before := len(s.mine)
	var passing []*message.Node
	for _, action := range actions {
		if !s.executes(action) {
			passing = append(passing, action)
		}
	}
	if len(s.mine) == before && !s.undelivered {
		return // somebody else's filters
	}
	const remedy = "put the engine's filter among http_filters by itself, and leave it to the routes' chains which policies run"
	for _, action := range passing {
		s.found(FilterConditional, Error, action, s.in, "requests pass without any chain where the matcher chooses this", remedy)
	}
	if !all {
		s.found(FilterConditional, Error, tree, s.in, "requests pass without any chain where the matcher matches nothing", remedy)
	}
}

// executes reports whether an action of a composite filter runs the engine's filter,
// for every request.
func (s *filterSearch) executes(action *message.Node) bool {
	kind, execute := extension(at(action, "typed_config"))
	if kind != executeMsg {
		return false
	}
	if dynamic := at(execute, "dynamic_config"); there(dynamic) {
		discovery := at(dynamic, "config_discovery")
		if n, ok := s.resources.extensions[at(dynamic, "name").Text()]; ok {
			return s.runs(at(n, "typed_config"))
		}
		if !s.mayBe(discovery, extProcMsg) {
			return false
		}
		s.undelivered = true
		s.found(FilterUnseen, Warning, dynamic, s.in, "what this filter does comes from elsewhere, and was not checked", "give the file that it is in as well")
		return true
	}
	runs := false
	if chain := at(execute, "filter_chain"); there(chain) {
		for _, f := range at(chain, "typed_config").Items {
			runs = s.runs(at(f, "typed_config")) || runs
		}
	} else {
		runs = s.runs(at(execute, "typed_config", "typed_config"))
	}
	if percent := at(execute, "sample_percent"); runs && there(percent) {
		s.found(FilterConditional, Error, percent, s.in, "requests that are not in the sample pass without any chain", "take sample_percent out")
	}
	return runs
}

func (s *filterSearch) runs(config *message.Node) bool {
	kind, fields := extension(config)
	return kind == extProcMsg && s.processor(fields)
}

// isEngine reports whether a filter's configuration is that of the engine's.
func (c *checker) isEngine(config *message.Node) bool {
	return config.Type() == extProcMsg && c.leadsToEngine(as[*extproc.ExternalProcessor](config))
}

// mentions reports whether an external processing filter is somewhere below n.
func mentions(n *message.Node) bool {
	return n.Anywhere(func(name string, v *message.Node) bool {
		return v.Type() == extProcMsg || name == "type_urls" && extProcIn(v)
	})
}

func extProcIn(v *message.Node) bool {
	for _, item := range v.Items {
		if message.TypeName(item.Text()) == extProcMsg {
			return true
		}
	}
	return false
}
