package check_test

const (
	skip    = `{action: {name: skip, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.common.matcher.action.v3.SkipFilter}}}`
	around  = `{"@type": type.googleapis.com/envoy.extensions.common.matching.v3.ExtensionWithMatcher, extension_config: {name: x}}`
	execute = `{action: {name: run, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.composite.v3.ExecuteFilterAction, typed_config: {name: run}}}}`

	inner     = "hcm.http_filters.0.typed_config.extension_config.typed_config"
	tree      = "hcm.http_filters.0.typed_config.xds_matcher"
	buffer    = `{"@type": type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer, max_request_bytes: 1000}`
	discovery = `{apply_default_config_without_warming: true, config_source: {resource_api_version: V3, api_config_source: {api_type: GRPC, transport_api_version: V3, grpc_services: [{envoy_grpc: {cluster_name: policy-engine}}]}},
  type_urls: [type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor, type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer]}`
)

// onHeader is a matcher of one header, and what follows from it.
func onHeader(then string) string {
	return `{matcher_list: {matchers: [{predicate: {single_predicate: {input: {name: input, typed_config: {"@type": type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput, header_name: x-internal}}, value_match: {exact: "1"}}}, on_match: ` + then + `}]}}`
}

// wrapped puts a matcher around the engine's filter.
var wrapped = [][2]string{
	{"hcm.http_filters.+0", `{name: envoy.filters.http.ext_proc, typed_config: ` + around + `}`}, {inner, "&hcm.http_filters.1.typed_config"}, {"hcm.http_filters.1", ""},
}

// composite has the engine's filter chosen by a matcher, for every request.
var composite = [][2]string{
	{"hcm.http_filters.+0", `{name: composite, typed_config: ` + around + `}`}, {inner, `{"@type": type.googleapis.com/envoy.extensions.filters.http.composite.v3.Composite}`},
	{tree, onHeader(execute)}, {tree + ".on_no_match", execute},
	{tree + ".matcher_list.matchers.0.on_match.action.typed_config.typed_config.typed_config", "&hcm.http_filters.1.typed_config"},
	{tree + ".on_no_match.action.typed_config.typed_config.typed_config", "&hcm.http_filters.1.typed_config"},
	{"hcm.http_filters.1", ""},
}

// conditionalExamples are about filters that may not run, or are not there.
var conditionalExamples = []example{
	{
		name: "a matcher that lets requests skip the filter", wrong: append(wrapped[:3:3], [2]string{tree, onHeader(skip)}),
		found: []string{"error filter-conditional"}, texts: []string{"lets them skip the filter"},
	},
	{
		name:  "a matcher that lets all but some requests skip the filter",
		wrong: append(wrapped[:3:3], [2]string{tree, onHeader(`{matcher: {matcher_tree: {input: ` + anyInput + `, prefix_match_map: {map: {/: ` + skip + `}}}}}`)}, [2]string{tree + ".on_no_match", skip}),
		found: []string{"error filter-conditional", "error filter-conditional"}, bypass: true,
	},
	{
		name: "a composite filter that runs the engine's for some requests", base: composite, wrong: [][2]string{{tree + ".on_no_match", ""}},
		found: []string{"error filter-conditional"}, texts: []string{"matches nothing"}, bypass: true,
	},
	{
		name: "a composite filter that runs another one", base: composite,
		wrong: [][2]string{{tree + ".on_no_match.action.typed_config.typed_config.typed_config", buffer}},
		found: []string{"error filter-conditional"}, texts: []string{"where the matcher chooses this"}, bypass: true,
	},
	{
		name: "a composite filter that runs the engine's for a sample", base: composite,
		wrong: [][2]string{{tree + ".on_no_match.action.typed_config.sample_percent", "{default_value: {numerator: 0}}"}},
		found: []string{"error filter-conditional"}, texts: []string{"not in the sample"}, bypass: true,
	},
	{
		name: "a composite filter that fails open for some requests", base: composite,
		wrong: [][2]string{{tree + ".on_no_match.action.typed_config.typed_config.typed_config.failure_mode_allow", "true"}},
		found: []string{"error failure-mode-allow"}, bypass: true,
	},
	{
		name:  "a filter inside one that is not known",
		wrong: [][2]string{{"hcm.http_filters", `[{name: odd, typed_config: {"@type": a/b.C, inside: ` + engine + `}}, ` + router + "]"}},
		found: []string{"warning filter-conditional", "error filter-missing", "warning not-examined"},
	},
	{
		name:  "a filter that is delivered",
		wrong: [][2]string{{"node", "{id: a, cluster: a}"}, {"filter.config_discovery", discovery}, {"filter.typed_config", ""}},
		found: []string{"warning filter-unseen"},
	},
	{
		name:  "a filter that is delivered, and another one until then",
		wrong: [][2]string{{"node", "{id: a, cluster: a}"}, {"filter.config_discovery", discovery}, {"filter.typed_config", ""}, {"filter.config_discovery.default_config", buffer}},
		found: []string{"warning filter-unseen", "error filter-conditional"}, texts: []string{"until the configuration of filter envoy.filters.http.ext_proc has arrived"}, bypass: true,
	},
	{
		name: "a filter that is delivered, and fails open until then",
		wrong: [][2]string{
			{"node", "{id: a, cluster: a}"}, {"filter.config_discovery", discovery}, {"filter.config_discovery.default_config", "&filter.typed_config"}, {"filter.typed_config", ""},
			{"filter.config_discovery.default_config.failure_mode_allow", "true"},
		},
		found: []string{"warning filter-unseen", "error failure-mode-allow"}, bypass: true,
	},
}
