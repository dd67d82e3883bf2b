package harness

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
)

// The names in the configuration that [Bootstrap] makes.
const (
	// MainListener is the listener that requests are sent to.
	MainListener = "main"
	// UpstreamCluster and EngineCluster are the clusters of the upstream and of
	// the engine.
	UpstreamCluster = "upstream"
	EngineCluster   = "policy-engine"
)

// filterName is the name of the engine's filter.
const filterName = "envoy.filters.http.ext_proc"

const typeURL = "type.googleapis.com/"

// Bootstrap describes an Envoy with one listener, whose requests pass the engine on
// their way to the upstream. Values that stand for parts of Envoy's configuration
// are in JSON's Go types and in Envoy's own field names (snake case).
type Bootstrap struct {
	// Upstream is host:port.
	Upstream string
	// UpstreamHTTP2 has Envoy talk HTTP/2 to the upstream.
	UpstreamHTTP2 bool
	// Engine is host:port or unix:/path.
	Engine string
	// Routes are envoy.config.route.v3.Route messages. Without any there is one
	// named "default" for every path.
	Routes []any
	// Before and After are HTTP filters around the engine's.
	Before, After []any
	// ExtProc, Connection, Cluster and Listener are merged into the engine's
	// filter, the connection manager, the engine's cluster and the listener: a
	// mapping into a mapping, any other value in the place of what is there. A
	// null takes a field out.
	ExtProc, Connection, Cluster, Listener map[string]any
	// FilterChain is merged into the listener's filter chain.
	FilterChain map[string]any
	// UpstreamCluster is merged into the upstream's cluster.
	UpstreamCluster map[string]any
	// Clusters are more clusters, as host:port of what talks HTTP/2 there, by
	// their names.
	Clusters map[string]string
	// Runtime are values of Envoy's runtime, by their keys.
	Runtime map[string]any
	// VirtualHost is merged into the virtual host of all routes.
	VirtualHost map[string]any
}

// JSON is the bootstrap configuration, for [EnvoyOptions].
func (b Bootstrap) JSON() ([]byte, error) {
	engine, err := address(b.Engine)
	if err != nil {
		return nil, fmt.Errorf("the engine's address: %w", err)
	}
	upstream, err := address(b.Upstream)
	if err != nil {
		return nil, fmt.Errorf("the upstream's address: %w", err)
	}
	listener := map[string]any{
		"name": MainListener, "address": socket("127.0.0.1", 0),
		"filter_chains": []any{merged(map[string]any{"filters": []any{
			extension("envoy.filters.network.http_connection_manager",
				"envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", b.connection()),
		}}, b.FilterChain)},
	}
	clusters := []any{
		cluster(UpstreamCluster, upstream, b.UpstreamHTTP2, b.UpstreamCluster),
		cluster(EngineCluster, engine, true, b.Cluster),
	}
	for _, name := range slices.Sorted(maps.Keys(b.Clusters)) {
		at, err := address(b.Clusters[name])
		if err != nil {
			return nil, fmt.Errorf("the address of the cluster %s: %w", name, err)
		}
		clusters = append(clusters, cluster(name, at, true, nil))
	}
	bootstrap := map[string]any{
		"admin":            map[string]any{"address": socket("127.0.0.1", 0)},
		"static_resources": map[string]any{"listeners": []any{merged(listener, b.Listener)}, "clusters": clusters},
	}
	if len(b.Runtime) > 0 {
		bootstrap["layered_runtime"] = map[string]any{"layers": []any{map[string]any{"name": "static", "static_layer": b.Runtime}}}
	}
	return json.MarshalIndent(bootstrap, "", "  ")
}

func (b Bootstrap) connection() map[string]any {
	routes := b.Routes
	if len(routes) == 0 {
		routes = []any{Route("default", "/")}
	}
	var filters []any
	filters = append(filters, b.Before...)
	filters = append(filters, extension(filterName,
		"envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor", merged(extProc(), b.ExtProc)))
	filters = append(filters, b.After...)
	filters = append(filters, extension("envoy.filters.http.router", "envoy.extensions.filters.http.router.v3.Router", map[string]any{}))
	return merged(map[string]any{
		"stat_prefix": "ingress", "codec_type": "AUTO", "http_filters": filters,
		"normalize_path": true, "merge_slashes": true, "path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT",
		"route_config": map[string]any{"name": "routes", "virtual_hosts": []any{merged(map[string]any{
			"name": "all", "domains": []any{"*"}, "routes": routes,
		}, b.VirtualHost)}},
		"access_log": []any{extension("envoy.access_loggers.file", "envoy.extensions.access_loggers.file.v3.FileAccessLog", map[string]any{
			"path": accessLogFile, "log_format": map[string]any{"json_format": accessLogFormat},
		})},
	}, b.Connection)
}

// Route is a route to the upstream for the paths that begin with prefix.
func Route(name, prefix string) map[string]any {
	return map[string]any{
		"name": name, "match": map[string]any{"prefix": prefix}, "route": map[string]any{"cluster": UpstreamCluster, "timeout": "60s"},
	}
}

// extProc is the filter as an operator is told to set it up, but for its timeout,
// which leaves room for a machine that is busy with other tests.
func extProc() map[string]any {
	return map[string]any{
		"grpc_service":        map[string]any{"envoy_grpc": map[string]any{"cluster_name": EngineCluster}},
		"failure_mode_allow":  false,
		"allow_mode_override": true,
		"message_timeout":     fmt.Sprintf("%ds", int(MessageTimeout.Seconds())),
		"request_attributes":  []any{"xds.route_name"},
		"processing_mode": map[string]any{
			"request_header_mode": "SEND", "response_header_mode": "SEND",
			"request_body_mode": "NONE", "response_body_mode": "NONE",
			"request_trailer_mode": "SKIP", "response_trailer_mode": "SKIP",
		},
	}
}

// cluster raises the limits that Envoy sets to 1024 by default: each request holds a
// stream to the engine, and what is over the limit fails. It raises those of outbound
// frames as well: Envoy closes a connection on which more streams are reset at a time.
func cluster(name string, at map[string]any, http2 bool, overrides map[string]any) map[string]any {
	protocol := map[string]any{"http_protocol_options": map[string]any{}}
	if http2 {
		protocol = map[string]any{"http2_protocol_options": map[string]any{
			"max_outbound_frames": 1_000_000, "max_outbound_control_frames": 1_000_000,
		}}
	}
	const options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
	return merged(map[string]any{
		"name": name, "type": "STATIC", "connect_timeout": "10s",
		"circuit_breakers": map[string]any{"thresholds": []any{map[string]any{
			"max_connections": 100_000, "max_pending_requests": 100_000, "max_requests": 100_000,
		}}},
		"typed_extension_protocol_options": map[string]any{options: map[string]any{
			"@type": typeURL + options, "explicit_http_config": protocol,
		}},
		"load_assignment": map[string]any{"cluster_name": name, "endpoints": []any{map[string]any{
			"lb_endpoints": []any{map[string]any{"endpoint": map[string]any{"address": at}}},
		}}},
	}, overrides)
}

func extension(name, message string, config map[string]any) map[string]any {
	return map[string]any{"name": name, "typed_config": merged(map[string]any{"@type": typeURL + message}, config)}
}

func address(s string) (map[string]any, error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		return map[string]any{"pipe": map[string]any{"path": path}}, nil
	}
	host, text, err := net.SplitHostPort(s)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return nil, err
	}
	return socket(host, int(port)), nil
}

func socket(host string, port int) map[string]any {
	return map[string]any{"socket_address": map[string]any{"address": host, "port_value": port}}
}

// merged is base with overrides in it: see [Bootstrap]. Neither is modified.
func merged(base, overrides map[string]any) map[string]any {
	all := make(map[string]any, len(base)+len(overrides))
	for k, v := range base {
		all[k] = v
	}
	for k, v := range overrides {
		inner, isMap := v.(map[string]any)
		old, wasMap := all[k].(map[string]any)
		switch {
		case v == nil:
			delete(all, k)
		case isMap && wasMap:
			all[k] = merged(old, inner)
		default:
			all[k] = v
		}
	}
	return all
}
