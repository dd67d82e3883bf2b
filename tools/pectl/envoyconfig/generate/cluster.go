package generate

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"policyengine.dev/runtime/config"
)

// endpoint is one address where Envoy finds an engine.
type endpoint struct {
	path string // of a Unix socket, or
	host string
	port uint16
}

func (g *generator) cluster() object {
	listener := g.listener()
	endpoints := g.endpoints(listener)
	discovery, local := "STATIC", true
	for _, e := range endpoints {
		ip, err := netip.ParseAddr(e.host)
		if e.path == "" && err != nil {
			discovery = "STRICT_DNS"
		}
		local = local && (e.path != "" || err == nil && ip.IsLoopback())
	}
	const options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
	c := object{}.
		with("name", g.options.ClusterName).
		with("type", discovery).
		with("connect_timeout", duration(min(g.options.MessageTimeout, time.Second)),
			"Connecting counts against message_timeout.").
		with("lb_policy", "LEAST_REQUEST").
		with("typed_extension_protocol_options", object{}.with(options, object{}.
			with("@type", typeURL+options).
			with("explicit_http_config", object{}.with("http2_protocol_options", g.http2())))).
		with("circuit_breakers", object{}.with("thresholds", list{g.thresholds("DEFAULT"), g.thresholds("HIGH")}),
			"Every request in flight holds a stream to the engine. Requests over a limit (1024 by default) are answered 500.").
		with("health_checks", list{healthCheck()},
			"A draining engine fails this check and still accepts requests for drain.delay. That must be longer than Envoy's\n",
			"detection time: interval, plus one second until all threads have the change.").
		with("outlier_detection", outliers(),
			"Ejects an engine that disappears. Only failed or broken streams count, and a proxy's answers that the engine is\n",
			"gone. Answers of chains never count. An ejected engine returns with its next successful health check.").
		with("common_lb_config", object{}.with("healthy_panic_threshold", object{}.with("value", 1)),
			"Unhealthy engines get requests only if no engine is healthy. By default they do as soon as half are unhealthy.")
	if !local {
		c = c.with("upstream_connection_options", object{}.with("tcp_keepalive", object{}.
			with("keepalive_time", 30).with("keepalive_interval", 5).with("keepalive_probes", 3)))
	}
	if listener != nil && listener.TLS != nil {
		c = c.with("transport_socket", g.transportSocket(listener.TLS))
	}
	return c.with("load_assignment", object{}.
		with("cluster_name", g.options.ClusterName).
		with("endpoints", list{object{}.with("lb_endpoints", lbEndpoints(endpoints))}))
}

// envoyStreams is how many streams Envoy puts on a connection by default.
const envoyStreams = 1024

// http2 is how Envoy speaks HTTP/2 with an engine. Envoy closes a connection, and so fails
// every request on it, when more frames wait to be sent than it may have. Streams over the
// engine's limit fail, too, if Envoy sends them before it is told of the limit.
func (g *generator) http2() object {
	const most = 1_000_000
	o := object{}
	if n := g.needs.Engine.Limits.ConcurrentStreams; n > 0 && n != envoyStreams {
		o = o.with("max_concurrent_streams", n, "As many as the engine accepts (limits.concurrentStreams).")
	}
	return o.
		with("max_outbound_frames", most,
			"When clients disconnect, Envoy resets their streams with a control frame each. If more than this many frames wait\n",
			"(1000 by default), Envoy closes the connection to the engine and answers every other request on it with 500.").
		with("max_outbound_control_frames", most)
}

// healthCheck sets every interval: Envoy would take a minute for an engine that has
// no requests.
func healthCheck() object {
	const every = "1s"
	return object{}.
		with("timeout", "1s").with("interval", every).with("no_traffic_interval", every).
		with("unhealthy_interval", every).with("unhealthy_edge_interval", every).with("healthy_edge_interval", every).
		with("unhealthy_threshold", 2).with("healthy_threshold", 1).
		with("grpc_health_check", object{})
}

// outliers leaves engines out that cannot be reached, and for nothing else. The kinds
// of failure that are switched off are on by default: an error of the engine's own,
// which somebody may know how to provoke, and a share of failures compared with other
// engines'.
func outliers() object {
	return object{}.
		with("split_external_local_origin_errors", true).
		with("consecutive_local_origin_failure", 1).with("enforcing_consecutive_local_origin_failure", 100).
		with("consecutive_gateway_failure", 5).with("enforcing_consecutive_gateway_failure", 100).
		with("enforcing_consecutive_5xx", 0).
		with("enforcing_success_rate", 0).with("enforcing_local_origin_success_rate", 0).
		with("interval", "1s").with("base_ejection_time", "5s").with("max_ejection_time", "5s").
		with("max_ejection_percent", 50)
}

func (g *generator) thresholds(priority string) object {
	const pools = 100_000 // far more connections than HTTP/2 opens
	return object{}.
		with("priority", priority).
		with("max_connections", min(pools, g.options.MaxRequests)).
		with("max_pending_requests", g.options.MaxRequests).
		with("max_requests", g.options.MaxRequests)
}

// listener is the engine's listener that Envoy connects to, or nil.
func (g *generator) listener() *config.Listener {
	listeners := g.needs.Engine.Listeners
	if g.options.Listener == "" {
		if len(listeners) == 0 {
			g.problem("the engine has no listener")
			return nil
		}
		return &listeners[0]
	}
	var known []string
	for i := range listeners {
		if listeners[i].Address.String() == g.options.Listener {
			return &listeners[i]
		}
		known = append(known, listeners[i].Address.String())
	}
	g.problem("the engine has no listener %q: it has %s", g.options.Listener, strings.Join(known, ", "))
	return nil
}

func (g *generator) endpoints(l *config.Listener) []endpoint {
	addresses := g.options.Addresses
	if len(addresses) == 0 {
		if l == nil {
			return nil
		}
		addresses = []string{l.Address.String()}
		if l.Address.Network == "tcp" && !reachable(l.Address.Address) {
			g.problem("the engine listens on %s, to which Envoy cannot connect: give the address with --address", l.Address)
			return nil
		}
	}
	var all []endpoint
	sockets, names := false, false
	for _, a := range addresses {
		e, ok := parseEndpoint(a)
		if !ok {
			g.problem("%q is not an address: write host:port or unix:/path", a)
			continue
		}
		_, err := netip.ParseAddr(e.host)
		sockets = sockets || e.path != ""
		names = names || e.path == "" && err != nil
		all = append(all, e)
	}
	if sockets && names {
		g.problem("one cluster cannot have both Unix sockets and host names: remove one kind")
	}
	return all
}

// reachable reports whether a listener's address says where to connect to.
func reachable(address string) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || port == "0" {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return err != nil || !ip.IsUnspecified()
}

func parseEndpoint(a string) (endpoint, bool) {
	if path, ok := strings.CutPrefix(a, "unix:"); ok {
		return endpoint{path: path}, path != ""
	}
	host, text, err := net.SplitHostPort(a)
	if err != nil || host == "" {
		return endpoint{}, false
	}
	port, err := strconv.ParseUint(text, 10, 16)
	return endpoint{host: host, port: uint16(port)}, err == nil && port > 0
}

func lbEndpoints(endpoints []endpoint) list {
	var all list
	for _, e := range endpoints {
		address := object{}.with("socket_address", object{}.with("address", e.host).with("port_value", e.port))
		if e.path != "" {
			address = object{}.with("pipe", object{}.with("path", e.path))
		}
		all = append(all, object{}.with("endpoint", object{}.with("address", address)))
	}
	return all
}

// transportSocket is how Envoy speaks TLS with the engine. An engine whose
// certificate is not verified could be anybody, so there is no way to do without.
func (g *generator) transportSocket(engine *config.TLS) object {
	t := g.options.TLS
	if t.CA == "" || t.SAN == "" {
		g.problem("the engine's listener uses TLS: give its certificate authority with --tls-ca and its name with --tls-san")
	}
	if (t.Certificate == "") != (t.Key == "") {
		g.problem("give --tls-certificate and --tls-key together")
	}
	if engine.ClientCA != "" && t.Certificate == "" {
		g.problem("the engine's listener requires a client certificate: give Envoy one with --tls-certificate and --tls-key")
	}
	kind, san := "DNS", t.SAN
	if strings.Contains(san, "://") {
		kind = "URI"
	} else if _, err := netip.ParseAddr(san); err == nil {
		kind = "IP_ADDRESS"
	}
	common := object{}.
		with("tls_params", object{}.with("tls_minimum_protocol_version", "TLSv1_2")).
		with("alpn_protocols", list{"h2"})
	if t.Certificate != "" {
		common = common.with("tls_certificates", list{object{}.
			with("certificate_chain", file(t.Certificate)).with("private_key", file(t.Key))})
	}
	common = common.with("validation_context", object{}.
		with("trusted_ca", file(t.CA)).
		with("match_typed_subject_alt_names", list{object{}.
			with("san_type", kind).with("matcher", object{}.with("exact", san))}))
	socket := object{}.with("@type", typeURL+"envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext")
	if kind == "DNS" {
		socket = socket.with("sni", san)
	}
	return object{}.
		with("name", "envoy.transport_sockets.tls").
		with("typed_config", socket.with("common_tls_context", common))
}

func file(path string) object { return object{}.with("filename", path) }
