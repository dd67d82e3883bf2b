package check

import (
	"fmt"
	"slices"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	http "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"

	"policyengine.dev/tools/pectl/envoyconfig/message"
)

// service looks at the cluster that a setup leads to.
func (c *checker) service(s *setup) {
	if s.service.GetEnvoyGrpc() == nil {
		return // the engine's name was given for it, and Envoy knows no more of it
	}
	name := s.service.GetEnvoyGrpc().GetClusterName()
	n, ok := c.resources.clusters[name]
	if ok {
		c.cluster(n)
		return
	}
	if s.fragment {
		return // nor is anything else there
	}
	severity, problem := Error, fmt.Sprintf("there is no cluster %q: every request is answered 500", name)
	if c.resources.dynamic[clusters] {
		severity, problem = Warning, fmt.Sprintf("the cluster %q comes from elsewhere, and was not checked", name)
	}
	c.found(ClusterMissing, severity, at(s.at, "grpc_service"), s.in, problem,
		"give the file that it is in as well; pectl envoy-config writes one")
}

// upstreamFilters looks for the engine's filter behind the router, where it cannot do
// what it is there for.
func (c *checker) upstreamFilters(n *message.Node) {
	list := at(n, "typed_extension_protocol_options", httpOptions)
	for i, f := range at(list, "http_filters").Items {
		if c.isEngine(at(f, "typed_config")) {
			c.found(FilterUpstream, Warning, f, scope{}.within("cluster", at(n, "name").Text()).within("filter", named(f, "name", i)),
				"behind the router chains run once for every attempt, and not at all for requests that Envoy answers or redirects itself",
				"put it into http_filters of the connection manager, and take it out here")
		}
	}
}

const (
	httpOptions = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
	upstreamTLS = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
)

func (c *checker) cluster(n *message.Node) {
	name := at(n, "name").Text()
	if c.clusters[name] {
		return
	}
	c.clusters[name] = true
	in := scope{}.within("cluster", name)
	msg := as[*clusterv3.Cluster](n)
	c.looked.EngineClusters++
	if options, speaks := http2Options(n, msg); !speaks {
		c.found(ClusterHTTP2, Error, at(n, "typed_extension_protocol_options"), in, "Envoy does not speak HTTP/2 with the engine, so that no request is ever answered",
			"set explicit_http_config.http2_protocol_options in "+httpOptions)
	} else {
		c.frames(n, options, in)
		c.streams(n, options, in)
	}
	c.breakers(n, msg, in)
	c.tls(n, in)
	if len(msg.GetHealthChecks()) == 0 {
		c.found(ClusterHealth, Note, n, in, "an engine that drains, or is not ready yet, gets requests nevertheless", "add a gRPC health check")
	}
}

// http2Options are the options for HTTP/2 of a cluster, nil where it has none, and
// whether it speaks HTTP/2.
func http2Options(n *message.Node, msg *clusterv3.Cluster) (options *core.Http2ProtocolOptions, speaks bool) {
	typed := at(n, "typed_extension_protocol_options", httpOptions)
	if !there(typed) {
		//lint:ignore SA1019 existing configurations have it.
		options = msg.GetHttp2ProtocolOptions()
		return options, options != nil
	}
	o := as[*http.HttpProtocolOptions](typed)
	if o.GetAutoConfig() != nil { // with ALPN the engine chooses HTTP/2
		return o.GetAutoConfig().GetHttp2ProtocolOptions(), true
	}
	options = o.GetExplicitHttpConfig().GetHttp2ProtocolOptions()
	return options, options != nil
}

// Envoy's defaults for frames that wait to be sent on a connection.
const (
	defaultFrames        = 10_000
	defaultControlFrames = 1_000
)

// frames looks at the limits of frames that wait to be sent to the engine. Each
// stream that Envoy resets is a control frame.
func (c *checker) frames(n *message.Node, o *core.Http2ProtocolOptions, in scope) {
	frames, control := uint32(defaultFrames), uint32(defaultControlFrames)
	if v := o.GetMaxOutboundFrames(); v != nil {
		frames = v.GetValue()
	}
	if v := o.GetMaxOutboundControlFrames(); v != nil {
		control = v.GetValue()
	}
	for name, limit := range map[string][2]uint32{
		"max_outbound_frames": {frames, defaultFrames}, "max_outbound_control_frames": {control, defaultControlFrames},
	} {
		if limit[0] <= limit[1] {
			c.found(ClusterFrames, Error, at(n, "typed_extension_protocol_options"), in,
				fmt.Sprintf("%s is %d: when more clients go away at a time, Envoy closes its connection to the engine and answers every other request on it with 500", name, limit[0]),
				fmt.Sprintf("set %s in http2_protocol_options to 1000000", name))
		}
	}
}

// defaultStreams is how many streams Envoy puts on a connection by default.
const defaultStreams = 1024

// streams compares how many streams Envoy puts on a connection with how many the engine
// accepts.
func (c *checker) streams(n *message.Node, o *core.Http2ProtocolOptions, in scope) {
	streams := uint32(defaultStreams)
	if v := o.GetMaxConcurrentStreams(); v != nil {
		streams = v.GetValue()
	}
	if most := c.needs.Engine.Limits.ConcurrentStreams; most > 0 && streams > most {
		c.found(ClusterStreams, Error, at(n, "typed_extension_protocol_options"), in,
			fmt.Sprintf("Envoy puts %d streams on a connection, and the engine accepts %d (limits.concurrentStreams)", streams, most),
			fmt.Sprintf("set max_concurrent_streams in http2_protocol_options to %d, or raise the engine's limit", most))
	}
}

// defaultLimit is that of each of Envoy's circuit breakers.
const defaultLimit = 1024

func (c *checker) breakers(n *message.Node, msg *clusterv3.Cluster, in scope) {
	place := at(n, "circuit_breakers")
	requests, pending := uint32(defaultLimit), uint32(defaultLimit)
	for i, t := range msg.GetCircuitBreakers().GetThresholds() {
		if t.GetPriority() != core.RoutingPriority_DEFAULT {
			continue // the filter's streams have the default priority
		}
		place = at(n, "circuit_breakers", "thresholds", i)
		if t.GetMaxRequests() != nil {
			requests = t.GetMaxRequests().GetValue()
		}
		if t.GetMaxPendingRequests() != nil {
			pending = t.GetMaxPendingRequests().GetValue()
		}
		break
	}
	for name, limit := range map[string]uint32{"max_requests": requests, "max_pending_requests": pending} {
		if limit <= defaultLimit {
			c.found(ClusterLimits, Error, place, in,
				fmt.Sprintf("%s is %d: every HTTP request holds a stream to the engine, and what is over the limit is answered 500", name, limit),
				fmt.Sprintf("set %s far above what Envoy has in flight, 1000000 for example", name))
		}
	}
}

// tls looks whether cluster and engine agree, where all of the engine's listeners
// are alike.
func (c *checker) tls(n *message.Node, in scope) {
	kind, fields := extension(at(n, "transport_socket", "typed_config"))
	speaks := kind == upstreamTLS
	var with, without bool
	for _, l := range c.needs.Engine.Listeners {
		with, without = with || l.TLS != nil, without || l.TLS == nil
	}
	plain := kind == "" || kind == "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"
	switch {
	case with && !without && plain && !there(at(n, "transport_socket_matches")):
		c.found(ClusterTLS, Error, n, in, "the engine's listeners speak TLS and the cluster does not: every request is answered 500", "add a transport_socket for TLS")
	case without && !with && speaks:
		c.found(ClusterTLS, Error, at(n, "transport_socket"), in, "the cluster speaks TLS and the engine's listeners do not: every request is answered 500", "take transport_socket out, or give the listener tls in engine.yaml")
	}
	if !speaks {
		return
	}
	t := as[*tls.UpstreamTlsContext](fields)
	common := t.GetCommonTlsContext()
	context := common.GetValidationContext()
	if combined := common.GetCombinedValidationContext(); combined != nil {
		context = combined.GetDefaultValidationContext()
	}
	verified := common.GetValidationContext() != nil || common.GetCombinedValidationContext() != nil ||
		common.GetValidationContextSdsSecretConfig() != nil
	named := common.GetValidationContextSdsSecretConfig() != nil || len(context.GetMatchTypedSubjectAltNames()) > 0 || t.GetAutoSniSanValidation()
	switch {
	case !verified:
		c.found(ClusterTLS, Warning, at(n, "transport_socket"), in, "Envoy does not verify the engine's certificate, so an attacker on the network can answer in the engine's place", "add a validation_context with trusted_ca and match_typed_subject_alt_names")
	case !named:
		c.found(ClusterTLS, Warning, at(n, "transport_socket"), in, "any certificate of these authorities passes for the engine's", "add match_typed_subject_alt_names to the validation_context")
	}
	alpn := common.GetAlpnProtocols()
	if len(alpn) > 0 && !slices.Contains(alpn, "h2") {
		c.found(ClusterTLS, Error, at(n, "transport_socket"), in, "alpn_protocols lacks h2, without which gRPC servers refuse the connection", "add h2")
	}
}
