package check

// Rule is something that is looked for.
type Rule struct {
	ID string
	// What says what is looked for, and why it matters.
	What string
}

// The rules, as findings name them.
const (
	FilterMissing      = "filter-missing"
	FilterDisabled     = "filter-disabled"
	FilterOptional     = "filter-optional"
	FilterConditional  = "filter-conditional"
	FilterUnseen       = "filter-unseen"
	FilterUpstream     = "filter-upstream"
	FilterTwice        = "filter-twice"
	FilterOrder        = "filter-order"
	RouteChangedLater  = "route-changed-later"
	NotGRPC            = "not-grpc"
	FailureModeAllow   = "failure-mode-allow"
	Observability      = "observability-mode"
	ImmediateResponses = "immediate-responses-off"
	HeadersSkipped     = "request-headers-skipped"
	HeadersWithheld    = "headers-withheld"
	MessageTimeout     = "message-timeout"
	StampMissing       = "stamp-missing"
	StampUnreadable    = "stamp-unreadable"
	StampMismatch      = "stamp-mismatch"
	HeaderLimit        = "header-limit"
	NotShown           = "not-shown"
	ModeOverrideOff    = "mode-override-off"
	ModeOverrideList   = "mode-override-list"
	FullDuplexBlocks   = "full-duplex-blocks-override"
	BufferedOverride   = "buffered-by-override"
	FullDuplexOverride = "full-duplex-by-override"
	FullDuplexTrailers = "full-duplex-without-trailers"
	SendWithoutWaiting = "send-body-without-waiting"
	BodyInVain         = "body-sent-in-vain"
	RouteNameMissing   = "route-name-missing"
	AttributeMissing   = "attribute-missing"
	CodeDetailsMissing = "code-details-missing"
	InitialMetadata    = "initial-metadata"
	RerouteOff         = "reroute-off"
	RouteCacheCleared  = "route-cache-cleared"
	MutationRules      = "mutation-rules"
	DynamicMetadata    = "dynamic-metadata"
	RequestModified    = "request-modified"
	ClusterMissing     = "cluster-missing"
	ClusterHTTP2       = "cluster-http2"
	ClusterLimits      = "cluster-limits"
	ClusterFrames      = "cluster-frames"
	ClusterStreams     = "cluster-streams"
	ClusterTLS         = "cluster-tls"
	ClusterHealth      = "cluster-health"
	BufferLimit        = "buffer-limit"
	UpgradeBypass      = "upgrade-bypass"
	UpgradeBuffered    = "upgrade-buffered"
	PathsAsWritten     = "paths-as-written"
	ClientCertHeader   = "client-cert-header"
	Decompressor       = "decompressor-behind"
	RouteElsewhere     = "route-elsewhere"
	RouteBlockType     = "route-block-type"
	RouteDisabled      = "route-disabled"
	RouteBlockUnused   = "route-block-unused"
	RouteUnnamed       = "route-unnamed"
	RouteUnknown       = "route-unknown"
	RouteUnused        = "route-unused"
	RoutesUnseen       = "routes-unseen"
	NotExamined        = "not-examined"
	UnknownField       = "unknown-field"
	Unreadable         = "unreadable"
)

// Rules are all rules, in the order of the documentation.
var Rules = []Rule{
	{FilterMissing, "A connection manager has no filter that leads to the engine: none of its requests pass a chain. A note where all it does is redirect."},
	{FilterDisabled, "The filter is switched off where nothing else is said, and something does not say it."},
	{FilterOptional, "The filter is left out in silence by an Envoy that does not know it."},
	{FilterConditional, "The filter is inside another one that decides whether it runs, or something else stands in its place for a time."},
	{FilterUnseen, "What may be the engine's filter comes from elsewhere, and was not looked at."},
	{FilterUpstream, "The engine's filter stands behind the router, among the filters of a cluster."},
	{FilterTwice, "Two filters lead to the engine: each request is charged, limited and changed twice."},
	{FilterOrder, "A filter in front of the engine's answers requests that no chain has seen: from a cache, or by itself. Or the engine's filter stands behind the router."},
	{RouteChangedLater, "A filter behind the engine's may have the route chosen anew: the chain that ran is then not that of the route that is taken."},
	{NotGRPC, "The filter does not speak gRPC with the engine."},
	{FailureModeAllow, "Requests pass when the engine cannot be reached, fails, or takes too long."},
	{Observability, "Envoy waits for no answer: nothing is ever refused or changed."},
	{ImmediateResponses, "Envoy takes every answer that a chain makes itself for a fault of the engine: the client gets a 500 in its place, or the request passes where the filter fails open."},
	{HeadersSkipped, "Request headers are not sent, so no request policy runs."},
	{HeadersWithheld, "Some headers are kept from the engine, so that policies decide on another request than the upstream gets."},
	{MessageTimeout, "Envoy gives up sooner than the engine believes, or at once."},
	{StampMissing, "The filter does not tell the engine what it is set up to do, and engine.yaml says something else."},
	{StampUnreadable, "The filter's stamp cannot be read by the engine."},
	{StampMismatch, "The filter's stamp says something else than its fields."},
	{HeaderLimit, "The connection manager lets messages have more headers than the engine believes, or fewer."},
	{NotShown, "A chain needs bodies, trailers or response headers that the processing mode of its routes does not show: the engine refuses its requests."},
	{ModeOverrideOff, "A chain needs more than the filter shows, and Envoy ignores the engine's mode overrides, or the engine is not told that it may send them."},
	{ModeOverrideList, "allowed_override_modes lacks a mode that a chain needs. Envoy compares modes as they are written, and ignores others in silence."},
	{FullDuplexBlocks, "FULL_DUPLEX_STREAMED in the filter's own processing mode has Envoy ignore mode overrides everywhere."},
	{BufferedOverride, "A chain that wants whole request bodies gets them by a mode override only, which comes too late where Envoy's buffer is full by then: such a request hangs until the stream's idle timeout."},
	{FullDuplexOverride, "A chain that holds back pieces of request bodies gets full duplex by a mode override only, which comes too late where a body may be empty: bodies without a declared length are streamed instead, and refused where trailers follow."},
	{FullDuplexTrailers, "A body in full duplex without trailers, which Envoy accepts in a route: a message with trailers passes before its chain has decided, and what policies hold back is lost."},
	{SendWithoutWaiting, "Bodies are sent without waiting for the reply to headers, which has Envoy ignore mode overrides."},
	{BodyInVain, "Bodies are sent that no chain wants, and cannot be switched off."},
	{RouteNameMissing, "The engine is not told the route's name, and refuses everything."},
	{AttributeMissing, "An attribute that a condition reads is not sent: the condition errs."},
	{CodeDetailsMissing, "The engine cannot tell Envoy's own early responses from an upstream's, and replaces them by a 500."},
	{InitialMetadata, "Metadata with which Envoy cannot make a gRPC client. It starts all the same, and then lets every request pass, whatever failure_mode_allow says, or ends at the first one."},
	{RerouteOff, "A chain wants the route chosen anew, and the filter does not allow it."},
	{RouteCacheCleared, "The route is chosen anew after every chain: the chain that ran may not be that of the route that is taken."},
	{MutationRules, "The filter drops changes that policies make."},
	{DynamicMetadata, "The filter drops metadata that policies set for other filters and the access log."},
	{RequestModified, "An extension changes what the engine is shown or what it has answered."},
	{ClusterMissing, "The engine's cluster is not there: every request is answered 500."},
	{ClusterHTTP2, "The engine's cluster does not speak HTTP/2, which gRPC needs."},
	{ClusterLimits, "The cluster's circuit breaker allows at most 1024 requests in flight: what is over it is answered 500."},
	{ClusterStreams, "The cluster puts more streams on a connection than the engine accepts: those that Envoy sends before it is told of the engine's limit are refused, and their requests are answered 500."},
	{ClusterFrames, "The cluster's limits of outbound HTTP/2 frames are so low that clients that go away at the same time make Envoy close its connection to the engine: every other request on it is answered 500."},
	{ClusterTLS, "Cluster and engine do not agree on TLS, or the engine's certificate is not verified."},
	{ClusterHealth, "Without health checks, engines that drain or are not ready get requests."},
	{BufferLimit, "Envoy's buffer limit is below a chain's body limit: Envoy answers 413 to requests, 500 for responses, that the chain allows."},
	{UpgradeBypass, "Upgraded connections have filters of their own, and the engine's is not among them."},
	{UpgradeBuffered, "Upgrades are allowed on routes whose chain wants whole bodies: the engine refuses them, since a tunnel has no end."},
	{PathsAsWritten, "Envoy does not normalise paths, so that a client that writes a path in another way (//admin, /./admin, /%61dmin) gets past a route, a condition or a policy that compares paths. An error where a condition does."},
	{ClientCertHeader, "Envoy passes the client's own x-forwarded-client-cert header on. An error where a condition or a parameter names that header, and any client can send it."},
	{Decompressor, "A decompressor behind the engine's filter: a compressed response hangs where a chain wants its whole body, and loses its body where it goes through in pieces."},
	{RouteElsewhere, "A route's settings have the filter ask another cluster than the engine's."},
	{RouteBlockType, "A route's settings for the filter are of a type that belongs to another filter, and so have no effect."},
	{RouteDisabled, "The filter is switched off, or allowed to fail, for a route or a virtual host."},
	{RouteBlockUnused, "A route's settings are under another name than the filter's, and so have no effect."},
	{RouteUnnamed, "A route has no name, so that the engine knows no chain for it."},
	{RouteUnknown, "The engine has no chain for a route."},
	{RouteUnused, "The engine has a chain for a route that no listener has."},
	{RoutesUnseen, "Routes come from elsewhere, and were not looked at."},
	{NotExamined, "An extension whose message this program does not know. What it does was not examined."},
	{UnknownField, "A field that Envoy v1.36 does not know."},
	{Unreadable, "Something that Envoy does not take there, or a field that is given under both of its names. It was left out, and everything else was examined."},
}
