package main

import "policyengine.dev/envoy_test/harness"

// bufferLimit is Envoy's, large enough for the body that is measured.
const bufferLimit = 1 << 20

// bootstrap is an Envoy with the engine's filter, disabled on routes under /bare, with
// HTTP/2 on every leg and no limit that many requests in flight could reach.
func bootstrap(upstream string) harness.Bootstrap {
	bare := harness.Route("bare", "/bare/")
	bare["typed_per_filter_config"] = map[string]any{"envoy.filters.http.ext_proc": map[string]any{
		"@type": "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute", "disabled": true,
	}}
	// The two routes differ in nothing else than the filter.
	return harness.Bootstrap{
		Upstream: upstream, UpstreamHTTP2: true,
		Routes: []any{bare, harness.Route("headers", "/headers"), harness.Route("body", "/body")},
		Connection: map[string]any{
			"codec_type":             "HTTP2",
			"http2_protocol_options": map[string]any{"max_concurrent_streams": 1000},
			"access_log":             nil,
		},
		Listener: map[string]any{"per_connection_buffer_limit_bytes": bufferLimit},
	}
}
