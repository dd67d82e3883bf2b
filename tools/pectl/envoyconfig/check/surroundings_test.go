package check_test

const (
	decompressor = `{name: unzip, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.decompressor.v3.Decompressor, decompressor_library: {name: gzip,
  typed_config: {"@type": type.googleapis.com/envoy.extensions.compression.gzip.decompressor.v3.Gzip}}}}`
	holder         = `{name: hold, typed_config: ` + buffer + `}`
	bufferPerRoute = `{"@type": type.googleapis.com/envoy.extensions.filters.http.buffer.v3.BufferPerRoute, `
)

// elsewhere is a route's service that is another one's.
const elsewhere = `{` + perRoute + `, overrides: {grpc_service: {envoy_grpc: {cluster_name: other}}, grpc_initial_metadata: [{key: x-policy-engine-filter, value: ` + overrides + ` skip_response_headers}]}}`

// surroundingExamples are about what is around the engine's filter.
var surroundingExamples = []example{
	{
		name: "paths as clients write them", wrong: [][2]string{{"hcm.normalize_path", ""}, {"hcm.merge_slashes", ""}, {"hcm.path_with_escaped_slashes_action", ""}},
		found: []string{"warning paths-as-written"}, texts: []string{"normalize_path, merge_slashes, path_with_escaped_slashes_action"},
	},
	{
		name: "paths with double slashes, and a condition that compares paths", chains: []string{"paths", "headers"}, wrong: [][2]string{{"hcm.merge_slashes", "false"}},
		found: []string{"error paths-as-written"}, texts: []string{`a condition in chain "paths"`, "lacks merge_slashes"},
	},
	{
		name: "escaped slashes that are kept", chains: []string{"paths"}, base: [][2]string{{"hcm.path_with_escaped_slashes_action", "reject_request"}},
		wrong: [][2]string{{"hcm.path_with_escaped_slashes_action", "KEEP_UNCHANGED"}}, found: []string{"error paths-as-written"},
	},
	{
		name: "a client's own word of its certificate, which a condition reads", chains: []string{"certs"}, base: [][2]string{{"hcm.forward_client_cert_details", "SANITIZE_SET"}},
		wrong: [][2]string{{"hcm.forward_client_cert_details", "always_forward_only"}}, found: []string{"error client-cert-header"}, texts: []string{"any client"},
	},
	{
		name: "a proxy's word of a certificate", chains: []string{"certs"}, wrong: [][2]string{{"hcm.forward_client_cert_details", "APPEND_FORWARD"}},
		found: []string{"warning client-cert-header"}, texts: []string{"a client with any certificate"},
	},
	{
		name: "a client's own x-forwarded-client-cert, which no condition reads", base: [][2]string{{"hcm.forward_client_cert_details", "FORWARD_ONLY"}},
		wrong: [][2]string{{"hcm.forward_client_cert_details", "ALWAYS_FORWARD_ONLY"}}, found: []string{"warning client-cert-header"},
	},
	{
		name: "a decompressor behind, and whole bodies of responses", chains: []string{"bodies"}, base: [][2]string{{"hcm.http_filters.+0", decompressor}},
		wrong: [][2]string{{"hcm.http_filters.+2", decompressor}}, found: []string{"error decompressor-behind"}, texts: []string{"hangs", "put it in front"},
	},
	{
		name: "a decompressor behind, and bodies in pieces", chains: []string{"decoded"},
		base:  [][2]string{{"hcm.http_filters.+1", decompressor}, {"hcm.http_filters.1.typed_config.response_direction_config", "{common_config: {enabled: {default_value: no}}}"}},
		wrong: [][2]string{{"hcm.http_filters.1.typed_config.response_direction_config", ""}}, found: []string{"error decompressor-behind"},
	},
	{
		name: "a decompressor behind, and no bodies", base: [][2]string{{"hcm.http_filters.+1", decompressor}},
		wrong: [][2]string{{"cluster.health_checks", ""}}, found: []string{"note cluster-health"},
	},
	{
		name: "a route whose filter asks somebody else", base: [][2]string{{"static_resources.clusters.+1", "&cluster"}, {"static_resources.clusters.1.name", "other"}},
		wrong: [][2]string{{"route" + blocks, elsewhere}}, found: []string{"error route-elsewhere"}, texts: []string{`asks "other"`},
	},
	{
		name: "a route with settings of another filter", wrong: [][2]string{{"route" + blocks, bufferPerRoute + `disabled: true}`}},
		found: []string{"warning route-block-type"}, texts: []string{"BufferPerRoute is not for"}, bypass: true, status: 500, // they have no effect
	},
	{
		name: "a virtual host with settings of another filter, in a TypedStruct", wrong: [][2]string{{"host" + blocks,
			`{"@type": a/xds.type.v3.TypedStruct, type_url: a/envoy.extensions.filters.http.buffer.v3.BufferPerRoute, value: {disabled: yes}}`}},
		found: []string{"warning route-block-type"},
	},
	{
		name: "a buffer filter in front that lifts the limit, and not on every route", chains: []string{"bodies"}, needs: requestsOnly,
		base: [][2]string{
			{"listener.per_connection_buffer_limit_bytes", "4096"}, {"hcm.http2_protocol_options.initial_stream_window_size", "65536"},
			{"hcm.http_filters.+0", holder}, {"hcm.http_filters.0.typed_config.max_request_bytes", "8000000"},
		},
		wrong: [][2]string{{"route.typed_per_filter_config.hold", bufferPerRoute + `disabled: True}`}},
		found: []string{"error buffer-limit", "error buffer-limit"},
	},
	{
		name: "a buffer filter in front that holds less than the chain allows", chains: []string{"bodies"}, needs: requestsOnly,
		base:  [][2]string{{"hcm.http_filters.+0", holder}, {"hcm.http_filters.0.typed_config.max_request_bytes", "8000000"}},
		wrong: [][2]string{{"host.typed_per_filter_config.hold", bufferPerRoute + `buffer: {max_request_bytes: 1000}}`}},
		found: []string{"error buffer-limit", "error buffer-limit"}, texts: []string{"a request of 1000 and more", "set max_request_bytes of filter hold to 4259840"},
	},
}
