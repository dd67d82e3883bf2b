package check_test

const (
	switchedOff = `{"@type": type.googleapis.com/envoy.config.route.v3.FilterConfig, disabled: true}`
	switchedOn  = `{"@type": type.googleapis.com/envoy.config.route.v3.FilterConfig, config: {}}`
	turnedOff   = `{` + perRoute + `, disabled: true}`
	nothingElse = `{` + perRoute + `, overrides: {}}`
)

// levelExamples are about settings at several levels: which one is in force.
var levelExamples = []example{
	{
		name: "a filter that a virtual host switches on, as gateways write it",
		base: [][2]string{{"filter.disabled", "true"}, {"host" + blocks, switchedOn}}, wrong: [][2]string{{"host" + blocks, ""}},
		found: []string{"error filter-disabled"}, texts: []string{`as on "route to-headers"`}, bypass: true,
	},
	{
		name: "a filter that one of two routes switches on", chains: []string{"headers", "none"},
		base:  [][2]string{{"filter.disabled", "true"}, {"routes" + blocks, switchedOn}},
		wrong: [][2]string{{"routes" + blocks, ""}, {"host.routes.1" + blocks, nothingElse}},
		found: []string{"error filter-disabled"}, texts: []string{`as on "route to-headers"`}, bypass: true,
	},
	{
		name: "two filters, each switched on by the routes of its policy, as gateways write them", chains: []string{"headers", "none"},
		base: [][2]string{
			{"hcm.http_filters.+1", "&filter"}, {"hcm.http_filters.1.name", "second"}, {"filter.disabled", "true"}, {"hcm.http_filters.1.disabled", "true"},
			{"route" + blocks, switchedOn}, {"host.routes.1.typed_per_filter_config.second", switchedOn},
		},
		wrong: [][2]string{{"route.typed_per_filter_config", ""}}, found: []string{"error filter-disabled", "error filter-disabled"}, texts: []string{`as on "route to-headers"`}, bypass: true,
	},
	{
		name: "two filters, both switched on by one route", chains: []string{"headers", "none"},
		base: [][2]string{
			{"hcm.http_filters.+1", "&filter"}, {"hcm.http_filters.1.name", "second"}, {"filter.disabled", "true"}, {"hcm.http_filters.1.disabled", "true"},
			{"route" + blocks, switchedOn}, {"host.routes.1.typed_per_filter_config.second", switchedOn},
		},
		wrong: [][2]string{{"route.typed_per_filter_config.second", switchedOn}}, found: []string{"warning filter-twice"}, texts: []string{`as on "route to-headers"`},
	},
	{
		name:  "virtual hosts from elsewhere, with a filter that they may switch on",
		wrong: [][2]string{{"filter.disabled", "true"}, {"routes.virtual_hosts", "[]"}, {"routes.vhds", "{config_source: {ads: {}}}"}},
		found: []string{"warning filter-disabled", "warning routes-unseen"},
	},
	{
		name: "a filter that routes from elsewhere may switch on", base: [][2]string{{"hcm.route_config.name", "far"}},
		wrong: [][2]string{{"filter.disabled", "true"}, {"hcm.route_config", ""}, {"hcm.rds", "{route_config_name: far, config_source: {ads: {}}}"}},
		found: []string{"warning filter-disabled", "warning routes-unseen"},
	},
	{
		name:  "a filter that a virtual host turns off and its route on again",
		base:  [][2]string{{"host" + blocks, turnedOff}, {"route" + blocks, nothingElse}},
		wrong: [][2]string{{"route" + blocks, ""}}, found: []string{"error route-disabled"}, bypass: true,
	},
	{
		name:  "a filter that a virtual host switches off and its route on again",
		base:  [][2]string{{"host" + blocks, switchedOff}, {"route" + blocks, nothingElse}},
		wrong: [][2]string{{"route" + blocks, turnedOff}}, found: []string{"error route-disabled"}, bypass: true,
	},
	{
		name:  "a filter that is switched on again, and turned off nevertheless",
		base:  [][2]string{{"route" + blocks, switchedOn}},
		wrong: [][2]string{{"host" + blocks, turnedOff}}, found: []string{"error route-disabled"}, bypass: true,
	},
	{
		name:  "a route configuration that turns the filter off",
		base:  [][2]string{{"routes" + blocks, nothingElse}},
		wrong: [][2]string{{"routes" + blocks, turnedOff}}, found: []string{"error route-disabled"}, bypass: true,
	},
	{
		name:  "a virtual host that fails open and a route that does not",
		base:  [][2]string{{"host" + blocks, `{` + perRoute + `, overrides: {failure_mode_allow: true}}`}, {"route" + blocks, `{` + perRoute + `, overrides: {failure_mode_allow: false}}`}},
		wrong: [][2]string{{"route" + blocks, nothingElse}}, found: []string{"error route-disabled"}, bypass: true,
	},
	{
		name: "a route that is off, all of whose clusters are on",
		base: [][2]string{
			{"route.direct_response", ""}, {"route.route", `{weighted_clusters: {clusters: [{name: policy-engine, weight: 1}]}}`},
			{"route" + blocks, turnedOff}, {"route.route.weighted_clusters.clusters.0" + blocks, nothingElse},
		},
		wrong: [][2]string{{"route.route.weighted_clusters.clusters.+0", "{name: policy-engine, weight: 100000}"}},
		found: []string{"error route-disabled"}, bypass: true, status: 503,
	},
	{
		name: "routes that a matcher chooses among", base: [][2]string{{"host.routes", ""}, {"host.matcher", matcherOfRoutes}},
		wrong: [][2]string{{matchedRoute + blocks, turnedOff}},
		found: []string{"error route-disabled"}, texts: []string{"virtual host all", "route to-headers"}, bypass: true,
	},
	{
		name: "a matcher's route that the engine does not know", base: [][2]string{{"host.routes", ""}, {"host.matcher", matcherOfRoutes}},
		wrong: [][2]string{{"host.matcher.on_no_match", `{matcher: {matcher_list: {matchers: [{predicate: {single_predicate: {input: ` + anyInput + `, value_match: {exact: "1"}}}, on_match: {action: {name: routes, typed_config:
  {"@type": type.googleapis.com/envoy.config.route.v3.RouteList, routes: [{name: stranger, match: {prefix: /}, direct_response: {status: 200}}]}}}}]}}}`}},
		found: []string{"error route-unknown"}, texts: []string{`"stranger"`},
	},
	{
		name: "a matcher that does something else", base: [][2]string{{"host.routes", ""}, {"host.matcher", matcherOfRoutes}},
		wrong: [][2]string{{"host.matcher.on_no_match", `{action: {name: x, typed_config: {"@type": a/b.C}}}`}},
		found: []string{"warning routes-unseen", "warning not-examined"},
	},
	{
		name:  "routes by scope that are there",
		base:  [][2]string{{"hcm.scoped_routes", scoped}, {scope + ".route_configuration", "&routes"}, {"hcm.route_config", ""}},
		wrong: [][2]string{{scope + ".route_configuration.virtual_hosts.0" + blocks, turnedOff}},
		found: []string{"error route-disabled"}, texts: []string{"scope a"},
	},
	{
		name:  "a scope whose routes are elsewhere",
		base:  [][2]string{{"hcm.scoped_routes", scoped}, {scope + ".route_configuration", "&routes"}, {"hcm.route_config", ""}},
		wrong: [][2]string{{scope + ".route_configuration", ""}, {scope + ".route_configuration_name", "far"}},
		found: []string{"warning routes-unseen"}, texts: []string{`("far")`},
	},
}

const (
	anyInput        = `{name: input, typed_config: {"@type": type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput, header_name: ":path"}}`
	matcherOfRoutes = `{matcher_list: {matchers: [{predicate: {single_predicate: {input: ` + anyInput + `, value_match: {prefix: /to-}}}, on_match: {action: {name: route, typed_config:
  {"@type": type.googleapis.com/envoy.config.route.v3.Route, name: to-headers, match: {prefix: /}, direct_response: {status: 200}}}}}]}}`
	matchedRoute = "host.matcher.matcher_list.matchers.0.on_match.action.typed_config"

	scoped = `{name: scoped, scope_key_builder: {fragments: [{header_value_extractor: {name: x-scope, element_separator: "", index: 0}}]},
  scoped_route_configurations_list: {scoped_route_configurations: [{name: a, key: {fragments: [{string_key: a}]}}]}}`
	scope = "hcm.scoped_routes.scoped_route_configurations_list.scoped_route_configurations.0"
)
