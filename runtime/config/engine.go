package config

import (
	"io/fs"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"policyengine.dev/runtime/worker"
)

// Engine is the static configuration of an engine: engine.yaml with every default
// filled in. [LoadEngine] makes one. It is not modified once it is made.
type Engine struct {
	// Listeners are where Envoy connects to; one or more. By default
	// 127.0.0.1:9001 alone.
	Listeners []Listener
	// Admin is where health, metrics and dumps are served: 127.0.0.1:9002 by
	// default.
	Admin Address
	// Pprof serves profiles there too; off by default.
	Pprof bool
	// Chains is the file, or the directory of files, that chains and routes
	// are read from. It is absolute. Empty if they come from a control plane.
	Chains string
	// XDS is the control plane that they come from, or nil.
	XDS *XDS
	// OnInvalidStart says what becomes of an engine whose first configuration
	// of chains and routes is not valid, or not there: it ends, by default, or waits
	// if they come from a control plane.
	OnInvalidStart OnInvalidStart
	// Route says where Envoy tells the route's name.
	Route RouteSource
	// Limits bound what a request may cost.
	Limits Limits
	// Connections bounds the life of Envoy's connections.
	Connections Connections
	// Drain says how the process ends.
	Drain Drain
	// Filter is what Envoy's filter allows, where the filter does not say so
	// itself in its gRPC metadata.
	Filter Filter
	// Backends are the servers that policies may ask by name; none by default.
	Backends []Backend
	// Telemetry is what the engine tells of itself.
	Telemetry Telemetry
}

// OnInvalidStart says what an engine does that starts with chains and routes which
// are not valid. Whatever it does, nothing passes unchecked meanwhile.
type OnInvalidStart uint8

const (
	// ExitOnInvalidStart ends the process, with every problem.
	ExitOnInvalidStart OnInvalidStart = iota
	// WaitOnInvalidStart has the engine tell that it is not ready, answer every
	// request NOT_READY, and take the first configuration that is valid.
	WaitOnInvalidStart
)

// Listener is one place where Envoy connects to.
type Listener struct {
	Address Address
	// Mode are the permissions of a Unix socket: 0660 by default. 0 for TCP.
	Mode fs.FileMode
	// Peers says which processes may connect to a Unix socket.
	Peers Peers
	// TLS is nil for a plaintext listener.
	TLS *TLS
}

// Address is where to listen.
type Address struct {
	// Network is "tcp" or "unix", and Address what net.Listen wants with it:
	// host:port, or the absolute path of a socket.
	Network, Address string
}

// String is the address as it is written in engine.yaml.
func (a Address) String() string {
	if a.Network == unixNetwork {
		return unixNetwork + ":" + a.Address
	}
	return a.Address
}

// Local reports whether only processes of the same machine can connect: a Unix
// socket or a loopback address. A host name counts as one only if it is localhost.
func (a Address) Local() bool {
	if a.Network == unixNetwork {
		return true
	}
	host := a.Address[:max(0, strings.LastIndexByte(a.Address, ':'))]
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// Peers is who may connect to a Unix socket, by the credentials that the kernel
// tells (SO_PEERCRED), beyond what the socket's mode says. A peer passes when its
// user or its group is listed. The zero value lets everybody in whom the mode does.
type Peers struct {
	UIDs []uint32
	GIDs []uint32
}

// TLS names the files of a listener's certificates. They are read when the engine
// starts and again when they change. Paths are absolute.
type TLS struct {
	// Certificate is the PEM file of the engine's chain, leaf first, and Key
	// that of its private key.
	Certificate, Key string
	// ClientCA is the PEM file of the authorities that a client's certificate
	// must come from; empty asks for none.
	ClientCA string
	// AllowedSANs lists the names of which a client's certificate must carry
	// one: an entry with "://" is a URI such as a SPIFFE id, any other a DNS
	// name. Compared as a whole; there are no wildcards. Empty allows every
	// certificate of ClientCA.
	AllowedSANs []string
}

// RouteSource says where Envoy tells the name of the route that it chose. One of
// the fields is set.
type RouteSource struct {
	// Attribute is an attribute that the filter is told to send. By default
	// xds.route_name; for a key of the route's metadata, as
	// [MetadataAttribute] spells it.
	Attribute string
	// StreamMetadata is a key of the gRPC stream's initial metadata, which a
	// route's ExtProcPerRoute or the format string %ROUTE_NAME% can set. Lower
	// case.
	StreamMetadata string
}

// DefaultRouteAttribute is the attribute that is the route's name in Envoy's
// configuration.
const DefaultRouteAttribute = "xds.route_name"

// MetadataAttribute is the attribute to ask Envoy for one string of the route's
// metadata: attributes are CEL expressions, and only leaves come across.
func MetadataAttribute(namespace, key string) string {
	return `xds.route_metadata.filter_metadata["` + namespace + `"]["` + key + `"]`
}

// Limits bound what a request may cost.
type Limits struct {
	// Body bounds a whole body in bytes, for chains that set no bodyLimit; 10
	// MiB by default.
	Body int64
	// Memory bounds the bodies of all requests in flight together, in bytes. 0,
	// the default, is half of what the process may use (GOMEMLIMIT, or the
	// control group's limit), and 512 MiB where that has no limit.
	Memory int64
	// ConcurrentStreams bounds the HTTP requests in flight on one connection
	// of Envoy's; 1024 by default, which is also Envoy's own default
	// (max_concurrent_streams in the cluster's http2_protocol_options). Envoy
	// opens further connections for more. A cluster that sets more needs as
	// much here: Envoy does not know the engine's bound before a connection is
	// used, and streams beyond it are refused, which fails their requests. 0 is
	// no bound.
	ConcurrentStreams uint32
}

// Connections bounds the life of Envoy's connections, so that a fleet of engines
// is balanced anew after one of them has come or gone.
type Connections struct {
	// MaxAge is when a connection is asked to take no further streams; 30
	// minutes by default, 0 for never.
	MaxAge time.Duration
	// MaxAgeGrace is how long its open streams may then still take; 5 minutes
	// by default.
	MaxAgeGrace time.Duration
}

// Drain says how the process ends after SIGTERM.
type Drain struct {
	// Delay is how long health says NOT_SERVING before connections are asked
	// to go away: longer than Envoy takes to notice. 5 seconds by default,
	// which does for the health check that pectl envoy-config writes.
	Delay time.Duration
	// Deadline is how long streams in flight may then take. 20 seconds by
	// default: with the delay, less than the 30 that Kubernetes gives.
	Deadline time.Duration
}

// Filter is what Envoy's ext_proc filter is configured to allow, which the
// protocol itself does not tell. The defaults are Envoy's own.
type Filter struct {
	// MessageTimeout is message_timeout; 200 ms by default.
	MessageTimeout time.Duration
	// AllowModeOverride is allow_mode_override; false by default.
	AllowModeOverride bool
	// PreferModeOverride has the engine ask for request bodies by mode overrides
	// where a route's own processing mode does not show them; false by
	// default. It counts for filters with a stamp, too.
	PreferModeOverride bool
	// AllowedOverrideModes is allowed_override_modes; empty, the default,
	// allows every mode. Envoy compares the modes as they are written.
	AllowedOverrideModes []ProcessingMode
	// ProcessingMode is processing_mode, of which Envoy tells only the body
	// modes.
	ProcessingMode ProcessingMode
	// MutationRules is mutation_rules.
	MutationRules MutationRules
	// MaxHeaders and MaxHeadersKB are the connection manager's limits on the
	// headers of a request (max_headers_count and max_request_headers_kb): 100 and
	// 60 by default.
	MaxHeaders, MaxHeadersKB int
	// RouteName says that request_attributes has xds.route_name; false by
	// default. A request without it is answered ROUTE_NOT_FOUND then.
	RouteName bool
}

// ProcessingMode is what Envoy sends: envoy.extensions.filters.http.ext_proc.v3.ProcessingMode.
// The zero value is Envoy's default: headers, and nothing else.
type ProcessingMode struct {
	RequestHeaders, ResponseHeaders, RequestTrailers, ResponseTrailers HeaderMode
	RequestBody, ResponseBody                                          BodyMode
}

// HeaderMode is ProcessingMode.HeaderSendMode, with the same numbers.
type HeaderMode uint8

// The header modes. HeaderModeDefault sends headers and skips trailers.
const (
	HeaderModeDefault HeaderMode = iota
	HeaderModeSend
	HeaderModeSkip
)

// BodyMode is ProcessingMode.BodySendMode, with the same numbers.
type BodyMode uint8

// The body modes.
const (
	BodyModeNone BodyMode = iota
	BodyModeStreamed
	BodyModeBuffered
	BodyModeBufferedPartial
	BodyModeFullDuplexStreamed
)

// MutationRules is envoy.config.common.mutation_rules.v3.HeaderMutationRules. The
// zero value is Envoy's default: the Host header, :authority, :scheme, :method and
// x-envoy-* may not be changed.
type MutationRules struct {
	AllowAllRouting, AllowEnvoy, DisallowSystem, DisallowAll, DisallowIsError bool
	// AllowExpression and DisallowExpression are RE2 expressions; empty is
	// none.
	AllowExpression, DisallowExpression string
}

// Telemetry is what the engine tells of itself, besides the metrics on the admin
// listener.
type Telemetry struct {
	Logs    Logs
	Metrics Metrics
	Tracing Tracing
}

// Metrics says what /metrics tells apart.
type Metrics struct {
	// Detail says how far apart the steps of chains are counted; each by itself by default.
	Detail worker.Detail
}

// Logs says what is written to standard error.
type Logs struct {
	// Level is the lowest level written; info by default.
	Level slog.Level
	// JSON writes one JSON object a line, the default; else key=value text.
	JSON bool
	// Refusals says which refused requests get a line.
	Refusals RefusalLogs
}

// RefusalLogs says which requests that were answered in the upstream's place, with a
// status of 400 or more, get a line in the log, whatever its level.
type RefusalLogs struct {
	// Enabled is true by default.
	Enabled bool
	// PerReason is how many lines a second each policy and reason gets, 2 by
	// default, and PerSecond how many all policies together, 20 by default. The
	// engine's own reasons are bounded by PerReason alone.
	PerReason, PerSecond int
}

// Tracing says where spans go. The zero value traces nothing.
type Tracing struct {
	// Endpoint is host:port of an OTLP collector (gRPC); empty is off.
	Endpoint string
	// Insecure sends spans in plaintext.
	Insecure bool
	// SampleRatio is the part of the requests without a sampled parent that
	// are traced, from 0 to 1; 1 by default.
	SampleRatio float64
}

// DefaultEngine is the configuration of an engine.yaml that says only where the
// chains are.
func DefaultEngine() Engine {
	return Engine{
		Listeners:   []Listener{{Address: Address{tcpNetwork, "127.0.0.1:9001"}}},
		Admin:       Address{tcpNetwork, "127.0.0.1:9002"},
		Route:       RouteSource{Attribute: DefaultRouteAttribute},
		Limits:      Limits{Body: 10 << 20, ConcurrentStreams: 1024},
		Connections: Connections{MaxAge: 30 * time.Minute, MaxAgeGrace: 5 * time.Minute},
		Drain:       Drain{Delay: 5 * time.Second, Deadline: 20 * time.Second},
		Filter:      Filter{MessageTimeout: 200 * time.Millisecond, MaxHeaders: 100, MaxHeadersKB: 60},
		Telemetry:   Telemetry{Logs: Logs{JSON: true, Refusals: RefusalLogs{Enabled: true, PerReason: 2, PerSecond: 20}}, Tracing: Tracing{SampleRatio: 1}},
	}
}
