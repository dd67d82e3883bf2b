// Package generate writes the parts of an Envoy configuration that an engine needs:
// the external processing filter, the cluster of the engine, the listener's buffer
// limit, and what single routes need besides.
package generate

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	extproc "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"

	"policyengine.dev/runtime/config"
	"policyengine.dev/runtime/extproc/negotiate"
	"policyengine.dev/tools/pectl/envoyconfig/needs"
)

// The defaults of [Options].
const (
	DefaultFilterName     = "envoy.filters.http.ext_proc"
	DefaultClusterName    = "policy-engine"
	DefaultMessageTimeout = time.Second
	DefaultMaxRequests    = 1_000_000
)

// DefaultStreamWindow is how much Envoy holds of a message over HTTP/2 where nothing
// is said: its initial_stream_window_size, in bytes. maxStreamWindow is the most.
const (
	DefaultStreamWindow = 16 << 20
	maxStreamWindow     = math.MaxInt32
)

// Options say how the configuration is to be. The zero value is good, but for
// engines that Envoy cannot find, or not trust, by engine.yaml alone.
type Options struct {
	// FilterName is the HTTP filter's name; empty counts as [DefaultFilterName].
	FilterName string
	// ClusterName is the cluster's; empty counts as [DefaultClusterName].
	ClusterName string
	// Addresses are where Envoy finds engines: host:port or unix:/path. Empty
	// is the first listener of engine.yaml.
	Addresses []string
	// Listener is the address, as engine.yaml has it, of the listener that
	// Envoy connects to; empty is the first one. It says whether TLS is spoken.
	Listener string
	// MessageTimeout is how long Envoy waits for an answer; 0 counts as
	// [DefaultMessageTimeout].
	MessageTimeout time.Duration
	// FixedModes leaves mode overrides off. Without it the engine uses them to be
	// spared bodies that a request's conditions have ruled out.
	FixedModes bool
	// PreferModeOverride leaves the processing mode out of routes where the engine
	// can ask for request bodies by mode overrides. The engine has to prefer that
	// too (filter.preferModeOverride of engine.yaml).
	PreferModeOverride bool
	// KeepContentLength writes BUFFERED into routes whose chain only reads the pieces of a
	// body, so that Envoy leaves content-length.
	KeepContentLength bool
	// Routing lets policies change method and authority also where no chain
	// reroutes.
	Routing bool
	// RequestAttributes and ResponseAttributes are attributes that policies
	// read, besides those that conditions do.
	RequestAttributes, ResponseAttributes []string
	// MaxHeaders is the connection manager's max_headers_count, where it has
	// one; 0 stands for Envoy's default.
	MaxHeaders int
	// MaxHeadersKB is its max_request_headers_kb, where it has one; 0 is Envoy's
	// default.
	MaxHeadersKB int
	// MaxRequests bounds the requests in flight; 0 counts as
	// [DefaultMaxRequests].
	MaxRequests uint32
	// TLS is needed where the engine's listener speaks TLS.
	TLS TLS
}

// TLS says how Envoy trusts an engine and how the engine trusts Envoy. Paths are on
// Envoy's machine.
type TLS struct {
	// CA is the file of the authorities that the engine's certificate comes
	// from, SAN a name that it carries: a DNS name, or a URI, which has "://"
	// in it.
	CA, SAN string
	// Certificate and Key are Envoy's own, for engines that ask for them.
	Certificate, Key string
}

// Document is a configuration in parts. Its fields are in a fixed order; the same
// input gives the same bytes.
type Document struct{ root object }

// New returns the configuration that the engine needs. The error joins all that is
// wrong with the options.
func New(n *needs.Needs, o Options) (*Document, error) {
	g := generator{needs: n, options: o.withDefaults()}
	g.modes()
	g.settings = g.filterSettings()
	var d Document
	d.root = d.root.with("http_filter", g.httpFilter(),
		"Put this into http_filters, before the router, of every HttpConnectionManager whose requests need chains.\n",
		"Filters before it see requests first and may answer them without a chain.")
	d.root = d.root.with("cluster", g.cluster(), "Put this into static_resources.clusters, or into the clusters of your control plane.")
	if limit := g.bufferLimit(); limit > 0 {
		d.root = d.root.with("listener", object{}.with("per_connection_buffer_limit_bytes", limit),
			"Put this into the listener. Envoy buffers whole bodies up to this limit, 1 MiB by default. It answers larger\n",
			"requests with 413 and larger responses with 500.")
	}
	d.root = d.root.with("connection_manager", g.connectionManager(), "Put this into every HttpConnectionManager with the filter.")
	if routes := g.routes(); len(routes) > 0 {
		d.root = d.root.with("routes", routes,
			"Put these into the routes with these names. The engine refuses a chain that reads bodies if the route's\n",
			"processing_mode does not send them. Change Envoy first, then the chain.")
	}
	return &d, errors.Join(g.problems...)
}

// connectionManager is what a connection manager says beside its filters.
func (g *generator) connectionManager() object {
	o := object{}.
		with("normalize_path", true,
			"Routes, conditions and policies compare paths. Without these settings, //admin, /./admin, /%61dmin and\n",
			"/x%2F..%2Fadmin differ from /admin for them, but many upstreams treat them as the same path.").
		with("merge_slashes", true).
		with("path_with_escaped_slashes_action", "UNESCAPE_AND_REDIRECT")
	if limit := g.bufferLimit(); limit > DefaultStreamWindow {
		o = o.with("http2_protocol_options", object{}.with("initial_stream_window_size", min(limit, maxStreamWindow)),
			"Over HTTP/2, Envoy buffers at most the stream's window (16 MiB by default), regardless of the listener's limit.")
	}
	return o
}

func (o Options) withDefaults() Options {
	if o.FilterName == "" {
		o.FilterName = DefaultFilterName
	}
	if o.ClusterName == "" {
		o.ClusterName = DefaultClusterName
	}
	if o.MessageTimeout <= 0 {
		o.MessageTimeout = DefaultMessageTimeout
	}
	if o.MaxRequests == 0 {
		o.MaxRequests = DefaultMaxRequests
	}
	return o
}

type generator struct {
	needs    *needs.Needs
	options  Options
	settings negotiate.Settings
	problems []error
}

func (g *generator) problem(format string, args ...any) {
	g.problems = append(g.problems, fmt.Errorf(format, args...))
}

// modes looks whether the options about modes go together, and with the engine.
func (g *generator) modes() {
	if !g.options.PreferModeOverride {
		return
	}
	if g.options.FixedModes {
		g.problem("--prefer-mode-override and --fixed-modes exclude each other: give only one of them")
	}
	if !g.needs.Engine.Filter.PreferModeOverride {
		g.problem("the engine does not request bodies by mode overrides, so it would refuse chains that read them: set filter.preferModeOverride to true in engine.yaml, or remove --prefer-mode-override")
	}
}

// filterSettings is what the filter is set up to do.
func (g *generator) filterSettings() negotiate.Settings {
	s := negotiate.Settings{
		ModeOverride: !g.options.FixedModes, MessageTimeout: g.options.MessageTimeout,
		// Response headers that come although an override has switched them off
		// show that it was ignored.
		SkipResponseHeaders: !g.options.PreferModeOverride, Routing: g.options.Routing, MaxHeaders: g.options.MaxHeaders,
		MaxHeadersKB: g.options.MaxHeadersKB, RouteName: true,
	}
	for _, c := range g.needs.Chains {
		s.SkipResponseHeaders = s.SkipResponseHeaders && !c.Response.Headers
		s.Routing = s.Routing || c.Reroute
	}
	return s
}

func (g *generator) httpFilter() object {
	return object{}.with("name", g.options.FilterName).with("typed_config", g.externalProcessor())
}

const typeURL = "type.googleapis.com/"

func (g *generator) externalProcessor() object {
	base := &extproc.ProcessingMode{
		RequestHeaderMode: extproc.ProcessingMode_SEND, ResponseHeaderMode: extproc.ProcessingMode_SEND,
		RequestTrailerMode: extproc.ProcessingMode_SKIP, ResponseTrailerMode: extproc.ProcessingMode_SKIP,
	}
	if g.settings.SkipResponseHeaders {
		base.ResponseHeaderMode = extproc.ProcessingMode_SKIP
	}
	o := object{}.
		with("@type", typeURL+"envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor").
		with("grpc_service", object{}.
			with("envoy_grpc", object{}.with("cluster_name", g.options.ClusterName)).
			with("initial_metadata", g.initialMetadata(),
				"Tells the engine this filter's settings, which the protocol does not transmit. Keep it consistent with the fields below.")).
		with("failure_mode_allow", false, "If the engine cannot be reached, requests must not pass unchecked.").
		with("message_timeout", duration(g.options.MessageTimeout)).
		with("processing_mode", mode(base)).
		with("allow_mode_override", g.settings.ModeOverride)
	if attributes := g.requestAttributes(); len(attributes) > 0 {
		o = o.with("request_attributes", attributes)
	}
	if attributes := g.responseAttributes(); len(attributes) > 0 {
		o = o.with("response_attributes", attributes)
	}
	return o.
		with("mutation_rules", object{}.
			with("allow_all_routing", g.settings.Routing).
			with("disallow_is_error", true, "Makes a forbidden change an error. Otherwise Envoy drops it silently.")).
		with("metadata_options", object{}.with("receiving_namespaces", object{}.with("untyped", list{needs.Namespace})))
}

func (g *generator) initialMetadata() list {
	metadata := list{header(negotiate.StampKey, g.settings.Stamp())}
	if key := g.needs.Engine.Route.StreamMetadata; key != "" {
		metadata = append(metadata, header(key, "%ROUTE_NAME%"))
	}
	return metadata
}

func header(key, value string) object { return object{}.with("key", key).with("value", value) }

func mode(m *extproc.ProcessingMode) object {
	return object{}.
		with("request_header_mode", m.RequestHeaderMode.String()).
		with("response_header_mode", m.ResponseHeaderMode.String()).
		with("request_body_mode", m.RequestBodyMode.String()).
		with("response_body_mode", m.ResponseBodyMode.String()).
		with("request_trailer_mode", m.RequestTrailerMode.String()).
		with("response_trailer_mode", m.ResponseTrailerMode.String())
}

// duration is d as protobuf's JSON has it.
func duration(d time.Duration) string {
	seconds := fmt.Sprintf("%d.%09d", d/time.Second, d%time.Second)
	return strings.TrimSuffix(strings.TrimRight(seconds, "0"), ".") + "s"
}

func (g *generator) requestAttributes() list {
	// The route's own name tells a path without a route, wherever the engine
	// reads the name from.
	names := append(slices.Clone(g.options.RequestAttributes), config.DefaultRouteAttribute)
	for _, c := range g.needs.Chains {
		names = append(names, c.RequestAttributes...)
	}
	return attributes(g.needs.Engine.Route.Attribute, names)
}

func (g *generator) responseAttributes() list {
	names := slices.Clone(g.options.ResponseAttributes)
	for _, c := range g.needs.Chains {
		names = append(names, c.ResponseAttributes...)
	}
	if g.settings.SkipResponseHeaders {
		return attributes("", names)
	}
	// Some of Envoy's own responses are shown all the same.
	return attributes(needs.CodeDetails, names)
}

// attributes are the names, each once, first in front of the others.
func attributes(first string, names []string) list {
	slices.Sort(names)
	var all list
	if first != "" {
		all = append(all, first)
	}
	for _, name := range slices.Compact(names) {
		if name != first {
			all = append(all, name)
		}
	}
	return all
}

// bufferLimit is the largest body that Envoy has to hold, or 0.
func (g *generator) bufferLimit() int64 {
	var limit int64
	for _, r := range g.needs.Routes {
		keeps := g.options.KeepContentLength && (r.Chain.KeepsRequestLength || r.Chain.KeepsResponseLength)
		if r.Chain.Buffers() || keeps {
			limit = max(limit, r.Chain.BufferLimit())
		}
	}
	return min(limit, math.MaxUint32)
}

// routes are the blocks of the routes that need one.
func (g *generator) routes() object {
	var all object
	namespace, key, inMetadata := g.needs.RouteMetadata()
	for _, r := range g.needs.Routes {
		var block object
		if inMetadata {
			block = block.with("metadata", object{}.
				with("filter_metadata", object{}.with(namespace, object{}.with(key, r.Name))))
		}
		if overrides := g.overrides(r.Chain); overrides != nil {
			block = block.with("typed_per_filter_config", object{}.with(g.options.FilterName, object{}.
				with("@type", typeURL+"envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute").
				with("overrides", overrides)))
		}
		if block != nil {
			all = all.with(r.Name, block)
		}
	}
	return all
}

// overrides are the filter's settings for the routes of a chain, where those of the
// filter will not do.
//
// mode is the processing mode of the chain's routes.
func (g *generator) mode(c *needs.Chain) *extproc.ProcessingMode {
	if g.options.KeepContentLength {
		return c.LengthMode()
	}
	return c.Mode()
}

// A chain that reads bodies is shown them by its routes' own processing mode, of which
// Envoy tells the engine with each request. A mode override could be ignored.
func (g *generator) overrides(c *needs.Chain) object {
	if !c.NeedsOwnMode(g.options.PreferModeOverride) {
		return nil
	}
	// The processing mode is replaced whole, so everything is said again, and
	// the stamp with it.
	s := g.settings
	m := g.mode(c)
	if c.Request.Trailers {
		// Should a request go on without the chain after all, its response
		// shows it. Otherwise the stream ends before the response.
		m.ResponseHeaderMode = extproc.ProcessingMode_SEND
	}
	s.SkipResponseHeaders = m.ResponseHeaderMode == extproc.ProcessingMode_SKIP
	s.RequestTrailers, s.ResponseTrailers = c.Request.Trailers, c.Response.Trailers
	return object{}.
		with("processing_mode", mode(m)).
		with("grpc_initial_metadata", list{header(negotiate.StampKey, s.Stamp())})
}
