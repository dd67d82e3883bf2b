package check_test

import (
	"net/http"
	"slices"

	"policyengine.dev/runtime/config"
	"policyengine.dev/tools/pectl/envoyconfig/check"
	"policyengine.dev/tools/pectl/envoyconfig/needs"
)

const (
	perRoute = `"@type": type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute`
	// blocks is where routes and virtual hosts have settings for the filter; a
	// slash stands for a dot.
	blocks = ".typed_per_filter_config.envoy/filters/http/ext_proc"

	protocolOptions = "cluster.typed_extension_protocol_options.envoy/extensions/upstreams/http/v3/HttpProtocolOptions"
	http2Options    = protocolOptions + ".explicit_http_config.http2_protocol_options"

	stampKey  = "ext_proc.grpc_service.initial_metadata.0.key"
	stamp     = "ext_proc.grpc_service.initial_metadata.0.value"
	plain     = "v1 timeout=1s skip_response_headers route_name"
	overrides = "v1 timeout=1s mode_override route_name"

	extAuthz = `{name: authz, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz, clear_route_cache: true, grpc_service: {envoy_grpc: {cluster_name: authz}}}}`
	router   = `{name: router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}`
	engine   = `{name: envoy.filters.http.ext_proc, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor, grpc_service: {envoy_grpc: {cluster_name: policy-engine}}}}`
	other    = `{name: other, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor, grpc_service: {envoy_grpc: {cluster_name: other}}}}`
)

// upgradeFilters gives WebSockets a list of filters, the engine's among them.
var upgradeFilters = [][2]string{{"hcm.upgrade_configs", "[{upgrade_type: websocket, filters: [" + router + "]}]"}, {"hcm.upgrade_configs.0.filters.+0", "&filter"}}

func streamMetadata(e *config.Engine) { e.Route = config.RouteSource{StreamMetadata: "x-route"} }
func routeMetadata(e *config.Engine) {
	e.Route = config.RouteSource{Attribute: config.MetadataAttribute("ns", "key")}
}

func prefers(e *config.Engine) { e.Filter.PreferModeOverride = true }

// requestsOnly leaves responses out of a chain that wants whole bodies.
func requestsOnly(n *needs.Needs) { n.Chains[0].Response = needs.Side{} }

func withTLS(e *config.Engine) { e.Listeners[0].TLS = &config.TLS{} }

var examples = slices.Concat(plainExamples, levelExamples, conditionalExamples, surroundingExamples)

// plainExamples are mistakes in single fields.
var plainExamples = []example{
	{
		name: "no filter", wrong: [][2]string{{"hcm.http_filters", "[" + router + "]"}},
		found: []string{"error filter-missing"}, bypass: true,
	},
	{
		name: "no filter where all is redirected", base: [][2]string{{"hcm.http_filters.+0", "&filter"}, {"hcm.http_filters.1", ""}},
		wrong: [][2]string{{"hcm.http_filters.0", ""}, {"route.direct_response", ""}, {"route.redirect", "{https_redirect: true}"}},
		found: []string{"note filter-missing"},
	},
	{
		name: "behind the router of a cluster", wrong: [][2]string{
			{"cluster.typed_extension_protocol_options.envoy/extensions/upstreams/http/v3/HttpProtocolOptions.http_filters", "[" + engine + `, {name: codec, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec}}]`},
		},
		found: []string{"warning filter-upstream"},
	},
	{
		name: "an internal listener without the filter, to which the other leads",
		base: [][2]string{
			{"static_resources.listeners.+1", "&listener"}, {"static_resources.listeners.1.name", "inside"}, {"static_resources.listeners.1.address", ""},
			{"static_resources.listeners.1.internal_listener", "{}"}, {"static_resources.listeners.1.filter_chains.0.filters.0.typed_config.http_filters.0", ""},
			{"static_resources.clusters.+1", "{name: inside, load_assignment: {cluster_name: inside, endpoints: [{lb_endpoints: [{endpoint: {address: {envoy_internal_address: {server_listener_name: inside}}}}]}]}}"},
			{"bootstrap_extensions", `[{name: envoy.bootstrap.internal_listener, typed_config: {"@type": type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener}}]`},
		},
		wrong: [][2]string{{"static_resources.listeners.+2", `{name: tunnel, address: {socket_address: {address: 127.0.0.1, port_value: 0}}, filter_chains: [{filters: [{name: tcp,
  typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: tunnel, cluster: inside}}]}]}`}},
		found: []string{"error filter-missing"}, texts: []string{"listener inside"},
	},
	{
		name: "a connection manager that is delivered", wrong: [][2]string{{"static_resources.listeners.+1", `{name: far, filter_chains: [{filters: [{name: http, config_discovery: {type_urls:
  [type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager]}}]}]}`}},
		found: []string{"warning filter-unseen"},
	},
	{
		name: "somebody else's filter", wrong: [][2]string{{"hcm.http_filters", "[" + other + ", " + router + "]"}},
		found: []string{"error filter-missing"}, texts: []string{`if "other" is the engine, say so with --cluster`},
	},
	{
		name: "a filter that is switched off", wrong: [][2]string{{"filter.disabled", "true"}},
		found: []string{"error filter-disabled"}, bypass: true,
	},
	{
		name: "a filter that may be left out", wrong: [][2]string{{"filter.is_optional", "true"}},
		found: []string{"warning filter-optional"},
	},
	{
		name: "two filters", wrong: [][2]string{{"hcm.http_filters.+1", "&filter"}},
		found: []string{"warning filter-twice"},
	},
	{
		name:  "a cache in front",
		wrong: [][2]string{{"hcm.http_filters.+0", `{name: cache, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.cache.v3.CacheConfig}}`}},
		found: []string{"error filter-order"}, texts: []string{"filter cache answers from its cache"},
	},
	{
		name: "behind the router", wrong: [][2]string{{"hcm.http_filters.+0", router}},
		found: []string{"error filter-order"}, texts: []string{"stands behind the router"},
	},
	{
		name: "filters in front that answer", wrong: [][2]string{{"hcm.http_filters.+0", extAuthz},
			{"hcm.http_filters.+0", `{name: health, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.health_check.v3.HealthCheck, pass_through_mode: false}}`}},
		found: []string{"note filter-order"}, texts: []string{`filter "health" and "authz" may answer`},
	},
	{
		name: "a later filter that changes the route", wrong: [][2]string{{"hcm.http_filters.+1", extAuthz}},
		found: []string{"warning route-changed-later"}, texts: []string{"filter authz may change"},
	},
	{
		name: "a transcoder behind",
		wrong: [][2]string{{"hcm.http_filters.+1", `{name: transcoder, typed_config: {"@type": type.googleapis.com/xds.type.v3.TypedStruct,
  type_url: type.googleapis.com/envoy.extensions.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder, value: {proto_descriptor: x}}}`}},
		found: []string{"warning route-changed-later"}, texts: []string{"filter transcoder may change the route"},
	},
	{
		name: "a filter that speaks plain HTTP",
		wrong: [][2]string{{"ext_proc.grpc_service", ""}, {"ext_proc.http_service", `{http_service: {http_uri: {uri: "http://engine", cluster: policy-engine, timeout: 1s}}}`},
			{"ext_proc.metadata_options", ""}},
		found: []string{"error not-grpc"},
	},
	{
		name: "failing open", wrong: [][2]string{{"ext_proc.failure_mode_allow", "true"}},
		found: []string{"error failure-mode-allow"}, bypass: true,
	},
	{
		name: "only watching", wrong: [][2]string{{"ext_proc.observability_mode", "true"}},
		found: []string{"error observability-mode"}, bypass: true,
	},
	{
		name: "answers that do not count", wrong: [][2]string{{"ext_proc.disable_immediate_response", "true"}},
		found: []string{"error immediate-responses-off"},
	},
	{
		name: "no request headers", wrong: [][2]string{{"ext_proc.processing_mode.request_header_mode", "SKIP"}},
		found: []string{"error request-headers-skipped"}, bypass: true,
	},
	{
		name:  "no request headers on a route",
		wrong: [][2]string{{"route" + blocks, `{` + perRoute + `, overrides: {processing_mode: {request_header_mode: SKIP, response_header_mode: SKIP}}}`}},
		found: []string{"error request-headers-skipped"}, bypass: true,
	},
	{
		name: "headers that are kept back", wrong: [][2]string{{"ext_proc.forward_rules", "{disallowed_headers: {patterns: [{exact: cookie}]}}"}},
		found: []string{"warning headers-withheld"},
	},
	{
		name: "no time at all", wrong: [][2]string{{"ext_proc.message_timeout", "0s"}},
		found: []string{"error message-timeout"}, texts: []string{"gives up at once"},
	},
	{
		name: "less time than the stamp says", wrong: [][2]string{{"ext_proc.message_timeout", ""}},
		found: []string{"error message-timeout"}, texts: []string{"waits 200ms for an answer, and the stamp says 1s"},
	},
	{
		name: "more time than the stamp says", wrong: [][2]string{{"ext_proc.message_timeout", "5s"}},
		found: []string{"warning message-timeout"},
	},
	{
		name: "no stamp, and more than engine.yaml knows", chains: []string{"responses"},
		wrong: [][2]string{{"ext_proc.grpc_service.initial_metadata", ""}},
		found: []string{"warning stamp-missing", "warning message-timeout"}, texts: []string{"x-policy-engine-filter: v1 timeout=1s mode_override"},
	},
	{
		name: "no stamp, and less than engine.yaml says", engine: func(e *config.Engine) {
			e.Filter.AllowModeOverride = true
			e.Filter.ProcessingMode.RequestTrailers = config.HeaderModeSend
			e.Filter.MessageTimeout = 1e9
			e.Filter.ProcessingMode.ResponseHeaders = config.HeaderModeSkip
		},
		wrong: [][2]string{{"ext_proc.grpc_service.initial_metadata", ""}},
		found: []string{"error stamp-missing"}, texts: []string{"request trailers"},
	},
	{
		name: "fewer headers than the stamp says", base: [][2]string{{"hcm.common_http_protocol_options.max_headers_count", "200"}, {stamp, "v1 timeout=1s max_headers=200 mode_override skip_response_headers route_name"}},
		wrong: [][2]string{{"hcm.common_http_protocol_options.max_headers_count", "100"}},
		found: []string{"warning header-limit"}, texts: []string{"have 100 headers, and the engine takes it to allow 200", "answers 500 to requests"},
	},
	{
		name: "more headers than the engine knows", wrong: [][2]string{{"hcm.common_http_protocol_options.max_headers_count", "200"}},
		found: []string{"warning header-limit"}, texts: []string{"write x-policy-engine-filter: v1 timeout=1s max_headers=200"},
	},
	{
		name: "larger headers than the stamp says", base: [][2]string{{"hcm.max_request_headers_kb", "96"}, {stamp, "v1 timeout=1s max_headers_kb=96 mode_override skip_response_headers route_name"}},
		wrong: [][2]string{{"hcm.max_request_headers_kb", "60"}},
		found: []string{"warning header-limit"}, texts: []string{"have 60 KiB of headers, and the engine takes it to allow 96"},
	},
	{
		name: "larger headers than the engine knows", wrong: [][2]string{{"hcm.max_request_headers_kb", "96"}},
		found: []string{"warning header-limit"}, texts: []string{"write x-policy-engine-filter: v1 timeout=1s max_headers_kb=96"},
	},
	{
		name: "a stamp of tomorrow", wrong: [][2]string{{stamp, "v9 everything"}},
		found: []string{"error stamp-unreadable"},
	},
	{
		name: "a stamp that promises too much", wrong: [][2]string{{"ext_proc.allow_mode_override", "false"}},
		found: []string{"error stamp-mismatch"}, texts: []string{"allow_mode_override", "x-policy-engine-filter: v1 timeout=1s skip_response_headers"},
	},
	{
		name: "a stamp that hides something", wrong: [][2]string{{stamp, plain}},
		found: []string{"warning stamp-mismatch"},
	},
	{
		name: "a route that takes back what the stamp says", chains: []string{"responses"},
		wrong: [][2]string{{"route" + blocks, `{` + perRoute + `, overrides: {processing_mode: {response_header_mode: SKIP}}}`}},
		found: []string{"error stamp-mismatch"}, texts: []string{"response headers"},
	},
	{
		name: "a body that its route does not show", chains: []string{"pieces"},
		wrong: [][2]string{{"route.typed_per_filter_config", ""}},
		found: []string{"error not-shown"}, texts: []string{"FILTER_CANNOT_SERVE_CHAIN", "give its routes a processing_mode"},
	},
	{
		name: "a body that could be asked for, if it would show that this was ignored", engine: prefers, chains: []string{"holding"},
		wrong: [][2]string{{"route.typed_per_filter_config", ""}},
		found: []string{"error not-shown"}, texts: []string{"would not see whether Envoy has ignored"},
	},
	{
		name: "overrides that the engine sends and Envoy ignores", engine: prefers, chains: []string{"pieces"},
		wrong: [][2]string{{"ext_proc.allow_mode_override", "false"}},
		found: []string{"error stamp-mismatch", "error mode-override-off"}, texts: []string{"do not run, and their requests pass"},
	},
	{
		name: "overrides that are off", engine: prefers, chains: []string{"pieces"},
		wrong: [][2]string{{"ext_proc.allow_mode_override", "false"}, {stamp, "v1 timeout=1s route_name"}},
		found: []string{"error mode-override-off"}, texts: []string{"FILTER_CANNOT_SERVE_CHAIN"},
	},
	{
		name: "overrides that the engine is not told of", engine: prefers, chains: []string{"trailers"},
		wrong: [][2]string{{stamp, "v1 timeout=1s route_name"}},
		found: []string{"warning stamp-mismatch", "error mode-override-off"}, texts: []string{"add mode_override to the stamp"},
	},
	{
		name: "a list without the mode", engine: prefers, chains: []string{"pieces"},
		wrong: [][2]string{{"ext_proc.allowed_override_modes", "[{request_body_mode: STREAMED, request_trailer_mode: SEND}]"}},
		found: []string{"error mode-override-list"}, texts: []string{"DEFAULT is not SEND"},
	},
	{
		name: "a list with the mode, but not that of a request without a body", engine: prefers, chains: []string{"pieces"},
		wrong: [][2]string{{"ext_proc.allowed_override_modes", `[{request_body_mode: STREAMED, request_trailer_mode: SEND,
  response_header_mode: SKIP, response_trailer_mode: SKIP}]`}},
		found: []string{"error mode-override-list"},
	},
	{
		name: "a list with all modes of today", engine: prefers, chains: []string{"trailers"},
		wrong: [][2]string{{"ext_proc.allowed_override_modes", `[{request_trailer_mode: SEND, response_header_mode: SKIP, response_trailer_mode: SKIP},
  {request_trailer_mode: SKIP, response_header_mode: SKIP, response_trailer_mode: SKIP}]`}},
		found: []string{"warning mode-override-list"},
	},
	{
		name: "a list, and an engine that sends no overrides for it", engine: prefers, chains: []string{"trailers"},
		wrong: [][2]string{{"ext_proc.allowed_override_modes", "[{request_trailer_mode: SEND}]"}, {stamp, "v1 timeout=1s route_name"}},
		found: []string{"warning stamp-mismatch", "error mode-override-list"}, texts: []string{"with a list of allowed modes the engine sends no mode override"},
	},
	{
		name: "full duplex for all", engine: prefers, chains: []string{"pieces"},
		wrong: [][2]string{{"ext_proc.processing_mode.response_body_mode", "FULL_DUPLEX_STREAMED"}, {"ext_proc.processing_mode.response_trailer_mode", "SEND"},
			{stamp, "v1 timeout=1s mode_override response_trailers route_name"}},
		found: []string{"error full-duplex-blocks-override"}, texts: []string{"FILTER_CANNOT_SERVE_CHAIN"},
	},
	{
		name: "full duplex for all but the route", engine: prefers, chains: []string{"pieces"},
		wrong: [][2]string{{"ext_proc.processing_mode.request_body_mode", "FULL_DUPLEX_STREAMED"}, {"ext_proc.processing_mode.request_trailer_mode", "SEND"},
			{stamp, "v1 timeout=1s mode_override request_trailers route_name"},
			{"route" + blocks, `{` + perRoute + `, overrides: {processing_mode: {}, grpc_initial_metadata: [{key: x-policy-engine-filter, value: ` + overrides + `}]}}`}},
		found: []string{"error full-duplex-blocks-override"}, texts: []string{"Envoy ignores mode overrides on every route"},
	},
	{
		name: "full duplex by override", engine: prefers, chains: []string{"holding"}, needs: requestsOnly,
		wrong: [][2]string{{"route.typed_per_filter_config", ""}},
		found: []string{"warning full-duplex-by-override"}, texts: []string{"trailers and no declared length"},
	},
	{
		name: "whole bodies by override", engine: prefers, chains: []string{"bodies"}, needs: requestsOnly,
		wrong: [][2]string{{"route.typed_per_filter_config", ""}},
		found: []string{"warning buffered-by-override"}, texts: []string{"waits for the stream's idle timeout"},
	},
	{
		name: "full duplex without trailers", chains: []string{"holding"},
		wrong: [][2]string{{"route" + blocks + ".overrides.processing_mode.request_trailer_mode", "SKIP"}},
		found: []string{"error full-duplex-without-trailers", "error stamp-mismatch"},
	},
	{
		name: "bodies that do not wait", engine: prefers, chains: []string{"pieces"},
		wrong: [][2]string{{"ext_proc.send_body_without_waiting_for_header_response", "true"}},
		found: []string{"error send-body-without-waiting"},
	},
	{
		name: "bodies that no chain needs", base: [][2]string{{"ext_proc.allow_mode_override", "false"}, {stamp, plain}},
		wrong: [][2]string{{"ext_proc.processing_mode.request_body_mode", "BUFFERED"}},
		found: []string{"warning body-sent-in-vain"},
	},
	{
		name: "no route name", wrong: [][2]string{{"ext_proc.request_attributes", "[source.address]"}},
		found: []string{"error route-name-missing", "error stamp-mismatch"}, texts: []string{"add xds.route_name", "does not do (xds.route_name in request_attributes)"},
	},
	{
		name: "no route name in the metadata", engine: streamMetadata,
		wrong: [][2]string{{"ext_proc.grpc_service.initial_metadata.1", ""}},
		found: []string{"error route-name-missing"}, texts: []string{"x-route: %ROUTE_NAME%"},
	},
	{
		name: "an attribute that a condition reads", wrong: [][2]string{{"ext_proc.request_attributes", "[xds.route_name]"}},
		found: []string{"error attribute-missing"}, texts: []string{"add source.address to request_attributes"},
	},
	{
		name: "an attribute that a response condition reads", chains: []string{"responses"},
		wrong: [][2]string{{"ext_proc.response_attributes", "[response.code_details]"}},
		found: []string{"error attribute-missing"}, texts: []string{"add upstream.address to response_attributes"},
	},
	{
		name: "no code details", chains: []string{"responses"},
		wrong: [][2]string{{"ext_proc.response_attributes", "[upstream.address]"}},
		found: []string{"warning code-details-missing"},
	},
	{
		name: "metadata with a pseudo-header", wrong: [][2]string{{"ext_proc.grpc_service.initial_metadata.+0", `{key: ":authority", value: x}`}},
		found: []string{"error initial-metadata"}, bypass: true,
	},
	{
		name: "metadata with a host", wrong: [][2]string{{"ext_proc.grpc_service.initial_metadata.+0", `{key: Host, value: x}`}},
		found: []string{"error initial-metadata"}, bypass: true,
	},
	{
		name: "metadata with a command that does not exist", wrong: [][2]string{{"ext_proc.grpc_service.initial_metadata.+0", `{key: a, value: "%ROUTE%"}`}},
		found: []string{"error initial-metadata"}, texts: []string{"there is no command ROUTE"}, bypass: true,
	},
	{
		name: "metadata with a lone percent sign", base: [][2]string{{"ext_proc.grpc_service.initial_metadata.+0", `{key: a, value: "100%% %REQ(x-a):5%"}`}},
		wrong: [][2]string{{"ext_proc.grpc_service.initial_metadata.0.value", `"100%"`}},
		found: []string{"error initial-metadata"}, bypass: true,
	},
	{
		name:  "metadata of a route",
		base:  [][2]string{{"route" + blocks, `{` + perRoute + `, overrides: {grpc_initial_metadata: [{key: a, value: "%REQ(x-a)%"}]}}`}},
		wrong: [][2]string{{"route" + blocks + ".overrides.grpc_initial_metadata.0.value", `"%REQ%"`}},
		found: []string{"error initial-metadata"}, texts: []string{"REQ needs parameters", "process ends"}, crash: true,
	},
	{
		name: "metadata with a length that does not belong there", wrong: [][2]string{{"ext_proc.grpc_service.initial_metadata.+0", `{key: a, value: "%ROUTE_NAME:5%"}`}},
		found: []string{"error initial-metadata"}, texts: []string{"ROUTE_NAME takes no length"}, crash: true,
	},
	{
		name:  "metadata of a route's own service",
		base:  [][2]string{{"route" + blocks, `{` + perRoute + `, overrides: {grpc_service: {envoy_grpc: {cluster_name: policy-engine}, initial_metadata: [{key: x-policy-engine-filter, value: ` + overrides + ` skip_response_headers}]}}}`}},
		wrong: [][2]string{{"route" + blocks + ".overrides.grpc_service.initial_metadata.+0", `{key: a, value: "%"}`}},
		found: []string{"error initial-metadata"}, bypass: true,
	},
	{
		name: "a route that cannot be selected again", chains: []string{"rerouting"}, wrong: [][2]string{{"ext_proc.disable_clear_route_cache", "true"}},
		found: []string{"error reroute-off"}, texts: []string{"disable_clear_route_cache"},
	},
	{
		name: "a route that is kept", chains: []string{"rerouting"}, wrong: [][2]string{{"ext_proc.route_cache_action", "RETAIN"}},
		found: []string{"error reroute-off"}, texts: []string{"route_cache_action"},
	},
	{
		name: "a route that is always selected again", wrong: [][2]string{{"ext_proc.route_cache_action", "CLEAR"}},
		found: []string{"warning route-cache-cleared"},
	},
	{
		name: "no changes at all", wrong: [][2]string{{"ext_proc.mutation_rules.disallow_all", "true"}},
		found: []string{"error mutation-rules", "error stamp-mismatch"},
	},
	{
		name: "no changes of paths", wrong: [][2]string{{"ext_proc.mutation_rules.disallow_system", "true"}},
		found: []string{"error mutation-rules", "error stamp-mismatch"},
	},
	{
		name: "no changes of some headers", wrong: [][2]string{{"ext_proc.mutation_rules.disallow_expression", "{regex: x-.*}"}, {"ext_proc.mutation_rules.allow_expression", "{regex: x-.*}"}},
		found: []string{"warning mutation-rules", "warning mutation-rules"},
	},
	{
		name: "no changes of method and authority", chains: []string{"rerouting"},
		wrong: [][2]string{{"ext_proc.mutation_rules.allow_all_routing", "false"}, {stamp, "v1 timeout=1s mode_override skip_response_headers route_name"}},
		found: []string{"warning mutation-rules"},
	},
	{
		name: "metadata that is dropped", wrong: [][2]string{{"ext_proc.metadata_options", ""}},
		found: []string{"warning dynamic-metadata"},
	},
	{
		name: "an extension in between", wrong: [][2]string{{"ext_proc.processing_request_modifier", `{name: x, typed_config: {"@type": a/b.C}}`},
			{"ext_proc.on_processing_response", `{name: x, typed_config: {"@type": a/b.C}}`}},
		found: []string{"warning request-modified", "warning request-modified", "warning not-examined", "warning not-examined"},
	},
	{
		name:  "an extension in between, on a route",
		wrong: [][2]string{{"route" + blocks, `{` + perRoute + `, overrides: {processing_request_modifier: {name: x, typed_config: {"@type": a/b.C}}}}`}},
		found: []string{"warning request-modified", "warning not-examined"},
	},
	{
		name: "no cluster", wrong: [][2]string{{"static_resources.clusters", "[]"}},
		found: []string{"error cluster-missing"},
	},
	{
		name: "a cluster that comes from elsewhere", wrong: [][2]string{{"static_resources.clusters", "[]"}, {"dynamic_resources.cds_config", "{ads: {}}"}},
		found: []string{"warning cluster-missing"},
	},
	{
		name:  "a route's own cluster that is not there",
		wrong: [][2]string{{"route" + blocks, `{` + perRoute + `, overrides: {grpc_service: {envoy_grpc: {cluster_name: nowhere}, initial_metadata: [{key: x-policy-engine-filter, value: ` + overrides + ` skip_response_headers}]}}}`}},
		found: []string{"error cluster-missing"}, texts: []string{`no cluster "nowhere"`},
	},
	{
		name: "HTTP/1", wrong: [][2]string{{"cluster.typed_extension_protocol_options", ""}},
		found: []string{"error cluster-http2"},
	},
	{
		name: "HTTP/1, said", base: [][2]string{{"cluster.typed_extension_protocol_options", ""}, {"cluster.http2_protocol_options", "{max_outbound_frames: 1000000, max_outbound_control_frames: 1000000}"}},
		wrong: [][2]string{{"cluster.typed_extension_protocol_options.envoy/extensions/upstreams/http/v3/HttpProtocolOptions",
			`{"@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: {http_protocol_options: {}}}`}},
		found: []string{"error cluster-http2"},
	},
	{
		name: "limits of frames as they are by default", wrong: [][2]string{{http2Options, "{}"}},
		found: []string{"error cluster-frames", "error cluster-frames"}, texts: []string{"max_outbound_control_frames is 1000", "max_outbound_frames is 10000"},
	},
	{
		name: "more streams than the engine accepts", wrong: [][2]string{{http2Options + ".max_concurrent_streams", "2000"}},
		found: []string{"error cluster-streams"}, texts: []string{"puts 2000 streams on a connection, and the engine accepts 1024"},
	},
	{
		name: "a low limit of frames beside ALPN", engine: withTLS,
		base: [][2]string{
			{protocolOptions + ".explicit_http_config", ""}, {protocolOptions + ".auto_config", "{http2_protocol_options: {max_outbound_frames: 1000000, max_outbound_control_frames: 1000000}}"},
		},
		wrong: [][2]string{{protocolOptions + ".auto_config.http2_protocol_options.max_outbound_control_frames", "100"}},
		found: []string{"error cluster-frames"}, texts: []string{"max_outbound_control_frames is 100"},
	},
	{
		name: "limits of frames of an older kind of cluster", base: [][2]string{
			{"cluster.typed_extension_protocol_options", ""}, {"cluster.http2_protocol_options", "{max_outbound_frames: 1000000, max_outbound_control_frames: 1000000}"},
		},
		wrong: [][2]string{{"cluster.http2_protocol_options.max_outbound_control_frames", ""}}, found: []string{"error cluster-frames"},
	},
	{
		name: "limits as they are by default", wrong: [][2]string{{"cluster.circuit_breakers", ""}},
		found: []string{"error cluster-limits", "error cluster-limits"},
	},
	{
		name: "limits of the other priority", wrong: [][2]string{{"cluster.circuit_breakers.thresholds.0", ""}},
		found: []string{"error cluster-limits", "error cluster-limits"},
	},
	{
		name: "a low limit", wrong: [][2]string{{"cluster.circuit_breakers.thresholds.0.max_requests", "1000"}},
		found: []string{"error cluster-limits"}, texts: []string{"max_requests is 1000"},
	},
	{
		name: "plaintext to an engine that speaks TLS", engine: withTLS, wrong: [][2]string{{"cluster.transport_socket", ""}},
		found: []string{"error cluster-tls"},
	},
	{
		name:  "TLS to an engine that does not",
		wrong: [][2]string{{"cluster.transport_socket", `{name: tls, typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, common_tls_context: {validation_context: {match_typed_subject_alt_names: [{san_type: DNS, matcher: {exact: a}}]}}}}`}},
		found: []string{"error cluster-tls"},
	},
	{
		name: "an engine that is not verified", engine: withTLS, wrong: [][2]string{{"cluster.transport_socket.typed_config.common_tls_context.validation_context", ""}},
		found: []string{"warning cluster-tls"}, texts: []string{"does not verify"},
	},
	{
		name: "an engine that may be anybody", engine: withTLS, wrong: [][2]string{{"cluster.transport_socket.typed_config.common_tls_context.validation_context.match_typed_subject_alt_names", ""}},
		found: []string{"warning cluster-tls"}, texts: []string{"any certificate"},
	},
	{
		name: "TLS without HTTP/2", engine: withTLS, wrong: [][2]string{{"cluster.transport_socket.typed_config.common_tls_context.alpn_protocols", "[http/1.1]"}},
		found: []string{"error cluster-tls"},
	},
	{
		name: "no health checks", wrong: [][2]string{{"cluster.health_checks", ""}},
		found: []string{"note cluster-health"},
	},
	{
		name: "buffers as they are by default", chains: []string{"bodies"}, wrong: [][2]string{{"listener.per_connection_buffer_limit_bytes", ""}},
		found: []string{"error buffer-limit", "error buffer-limit"}, texts: []string{"a request of 1048576 and more by itself with 413", "a response of 1048576 and more by itself with 500"},
	},
	{
		name: "the small windows that are advised for HTTP/2 at the edge", chains: []string{"bodies"},
		wrong: [][2]string{{"hcm.http2_protocol_options.initial_stream_window_size", "65536"}},
		found: []string{"error buffer-limit", "error buffer-limit"}, texts: []string{"a request of 65536 and more over HTTP/2 by itself with 413", "set http2_protocol_options.initial_stream_window_size of the connection manager to 4259840"},
	},
	{
		name: "windows of HTTP/2, and a chain without bodies", base: [][2]string{{"hcm.http2_protocol_options.initial_stream_window_size", "65536"}},
		wrong: [][2]string{{"cluster.health_checks", ""}}, found: []string{"note cluster-health"},
	},
	{
		name: "windows of HTTP/2 where there is none", chains: []string{"bodies"},
		base:  [][2]string{{"hcm.codec_type", "HTTP1"}, {"hcm.http2_protocol_options.initial_stream_window_size", "65536"}},
		wrong: [][2]string{{"hcm.codec_type", "HTTP2"}}, found: []string{"error buffer-limit", "error buffer-limit"},
	},
	{
		name: "bodies that are larger than Envoy's own windows", chains: []string{"bodies"}, needs: func(n *needs.Needs) { n.Chains[0].BodyLimit = 20 << 20 },
		wrong: [][2]string{{"hcm.http2_protocol_options", ""}},
		found: []string{"error buffer-limit", "error buffer-limit"}, texts: []string{"a request of 16777216 and more over HTTP/2"},
	},
	{
		name: "a route's own limit, which is too late for requests", chains: []string{"bodies"},
		wrong: [][2]string{{"listener.per_connection_buffer_limit_bytes", ""}, {"route.request_body_buffer_limit", "10000000"}},
		found: []string{"error buffer-limit"}, texts: []string{"413"},
	},
	{
		name: "a virtual host's own limit, for responses alone", chains: []string{"decoded"},
		base:  [][2]string{{"listener.per_connection_buffer_limit_bytes", "4096"}, {"host.per_request_buffer_limit_bytes", "10551296"}},
		wrong: [][2]string{{"host.per_request_buffer_limit_bytes", "1"}},
		found: []string{"error buffer-limit"}, texts: []string{"500"},
	},
	{
		name: "upgrades with filters of their own", base: upgradeFilters,
		wrong: [][2]string{{"hcm.upgrade_configs.0.filters.0", ""}},
		found: []string{"error upgrade-bypass"}, bypass: true, upgrade: true,
	},
	{
		name: "upgrades with a filter that fails open", base: upgradeFilters,
		wrong: [][2]string{{"hcm.upgrade_configs.0.filters.0.typed_config.failure_mode_allow", "true"}},
		found: []string{"error failure-mode-allow"}, texts: []string{"upgrade websocket"}, bypass: true, upgrade: true,
	},
	{
		name: "upgrades and whole bodies", chains: []string{"bodies"}, wrong: [][2]string{{"hcm.upgrade_configs", "[{upgrade_type: websocket}]"}},
		found: []string{"warning upgrade-buffered"},
	},
	{
		name: "upgrades of one route, and whole bodies", chains: []string{"bodies"},
		base:  [][2]string{{"hcm.upgrade_configs", "[{upgrade_type: CONNECT, enabled: false}]"}, {"route.direct_response", ""}, {"route.route", "{cluster: policy-engine}"}},
		wrong: [][2]string{{"route.route.upgrade_configs", "[{upgrade_type: CONNECT}]"}},
		found: []string{"warning upgrade-buffered"}, texts: []string{"connect is allowed"},
	},
	{
		name: "a route without the filter", wrong: [][2]string{{"route" + blocks, `{` + perRoute + `, disabled: true}`}},
		found: []string{"error route-disabled"}, bypass: true,
	},
	{
		name:  "a virtual host without the filter",
		wrong: [][2]string{{"host" + blocks, `{"@type": type.googleapis.com/envoy.config.route.v3.FilterConfig, disabled: true}`}},
		found: []string{"error route-disabled"}, bypass: true,
	},
	{
		name:  "a weighted cluster without the filter",
		base:  [][2]string{{"route.direct_response", ""}, {"route.route", `{weighted_clusters: {clusters: [{name: policy-engine, weight: 1}]}}`}},
		wrong: [][2]string{{"route.route.weighted_clusters.clusters.0" + blocks, `{` + perRoute + `, disabled: true}`}},
		found: []string{"error route-disabled"}, bypass: true, status: http.StatusServiceUnavailable, // nothing listens there
	},
	{
		name: "a route that fails open", wrong: [][2]string{{"route" + blocks, `{` + perRoute + `, overrides: {failure_mode_allow: true}}`}},
		found: []string{"error route-disabled"}, bypass: true,
	},
	{
		name: "settings for a filter that is not there", wrong: [][2]string{{"route.typed_per_filter_config.ext_proc", `{` + perRoute + `, disabled: true}`}},
		found: []string{"warning route-block-unused"}, bypass: true, status: http.StatusInternalServerError, // it has no effect
	},
	{
		name: "a route without a name", wrong: [][2]string{{"route.name", ""}},
		found: []string{"error route-unnamed", "warning route-unused"},
	},
	{
		name: "a route without a name in its metadata", engine: routeMetadata, wrong: [][2]string{{"route.metadata", ""}},
		found: []string{"error route-unnamed", "warning route-unused"}, texts: []string{`"ns", "key"`},
	},
	{
		name: "a route that the engine does not know", wrong: [][2]string{{"host.routes.+0", "{name: stranger, match: {prefix: /}, direct_response: {status: 200}}"}},
		found: []string{"error route-unknown"}, texts: []string{`"stranger": the engine refuses`},
	},
	{
		name: "a route that the engine lets pass", needs: func(n *needs.Needs) { n.ContinueUnknown = true },
		wrong: [][2]string{{"host.routes.+0", "{name: stranger, match: {prefix: /}, direct_response: {status: 200}}"}},
		found: []string{"warning route-unknown"}, texts: []string{"onUnknownRoute: continue"},
	},
	{
		name: "a route that Envoy does not know", chains: []string{"headers", "none"}, wrong: [][2]string{{"route.name", "to-none"}},
		found: []string{"warning route-unused"}, texts: []string{`no route of this configuration is called "to-headers"`},
	},
	{
		name: "routes from elsewhere", wrong: [][2]string{{"hcm.route_config", ""}, {"hcm.rds", "{route_config_name: far, config_source: {ads: {}}}"}},
		found: []string{"warning routes-unseen"}, texts: []string{`("far")`},
	},
	{
		name: "routes by scope", wrong: [][2]string{{"hcm.route_config", ""}, {"hcm.scoped_routes", "{name: scoped}"}},
		found: []string{"warning routes-unseen"},
	},
	{
		name: "virtual hosts from elsewhere", wrong: [][2]string{{"routes.vhds", "{config_source: {ads: {}}}"}},
		found: []string{"warning routes-unseen"},
	},
	{
		name: "a field that Envoy does not have", wrong: [][2]string{{"ext_proc.failure_mode_deny", "true"}},
		found: []string{"warning unknown-field"}, texts: []string{"failure_mode_deny"},
	},
	{
		name: "a route's field that Envoy does not have", wrong: [][2]string{{"route" + blocks, `{` + perRoute + `, disable: true}`}},
		found: []string{"warning unknown-field"},
	},
	{
		name: "a filter that cannot be read", wrong: [][2]string{{"ext_proc.message_timeout", "soon"}},
		found: []string{"error unreadable"}, texts: []string{"not a duration"},
	},
	{
		name: "a connection manager that cannot be read", wrong: [][2]string{{"hcm.stat_prefix", "[]"}},
		found: []string{"error unreadable"},
	},
	{
		name: "a route configuration that cannot be read", wrong: [][2]string{{"host.domains", "1"}},
		found: []string{"error unreadable"},
	},
	{
		name: "a cluster that cannot be read", wrong: [][2]string{{"cluster.connect_timeout", "soon"}},
		found: []string{"error unreadable"},
	},
	{
		name: "a listener that need not pass the engine", o: check.Options{ExceptListeners: []string{"health"}},
		base:  [][2]string{{"listener.name", "health"}, {"hcm.http_filters", "[" + router + "]"}},
		wrong: [][2]string{{"listener.name", "public"}},
		found: []string{"error filter-missing"},
	},
}
