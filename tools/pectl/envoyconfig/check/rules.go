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
	{FilterMissing, "A connection manager has no filter for the engine, so its requests pass no chain. A note if the connection manager only redirects."},
	{FilterDisabled, "The filter is disabled by default, and a route or a runtime setting that should enable it is missing."},
	{FilterOptional, "The filter is marked optional. An Envoy without this extension skips it silently."},
	{FilterConditional, "The filter is nested in another filter that decides whether it runs, or another configuration can replace it temporarily."},
	{FilterUnseen, "A filter that may be the engine's comes from another source and was not checked."},
	{FilterUpstream, "The engine's filter is an upstream filter of a cluster, after the router."},
	{FilterTwice, "Two filters call the engine, so each request is charged, limited and changed twice."},
	{FilterOrder, "A filter before the engine's answers requests without a chain, for example from a cache. Or the engine's filter is placed after the router."},
	{RouteChangedLater, "A filter after the engine's may change the route. The chain that ran then belongs to another route."},
	{NotGRPC, "The filter does not call the engine over gRPC."},
	{FailureModeAllow, "Requests pass if the engine cannot be reached, fails, or takes too long."},
	{Observability, "Envoy does not wait for replies, so nothing is ever refused or changed."},
	{ImmediateResponses, "Envoy treats immediate responses as failures of the engine. The client gets a 500 instead, or the request passes if the filter fails open."},
	{HeadersSkipped, "Request headers are not sent, so no request policy runs."},
	{HeadersWithheld, "Some headers are not sent to the engine, so policies decide on a different request than the upstream gets."},
	{MessageTimeout, "Envoy's message timeout is zero, or shorter than the engine assumes."},
	{StampMissing, "The filter does not tell the engine its settings, and engine.yaml declares other settings."},
	{StampUnreadable, "The engine cannot read the filter's stamp."},
	{StampMismatch, "The filter's stamp differs from its fields."},
	{HeaderLimit, "The connection manager's header limits differ from those that the engine assumes."},
	{NotShown, "A chain needs bodies, trailers or response headers that its routes' processing mode does not send, so the engine refuses its requests."},
	{ModeOverrideOff, "A chain needs more than the filter sends, and Envoy ignores mode overrides, or the engine does not know that it may send them."},
	{ModeOverrideList, "allowed_override_modes lacks a mode that a chain needs. Envoy compares the modes literally and ignores others silently."},
	{FullDuplexBlocks, "FULL_DUPLEX_STREAMED in the filter's own processing mode makes Envoy ignore all mode overrides."},
	{BufferedOverride, "A chain needs whole request bodies and gets them only by a mode override. The override is too late if Envoy's buffer is already full; the request then hangs until the stream's idle timeout."},
	{FullDuplexOverride, "A chain holds back pieces of request bodies and gets full duplex only by a mode override. The override is too late for a body that may be empty. Bodies without a declared length are therefore streamed, and refused if trailers follow."},
	{FullDuplexTrailers, "A route has full duplex without trailers. A message with trailers then passes before its chain has decided, and held-back data is lost."},
	{SendWithoutWaiting, "Bodies are sent before the reply to headers, which makes Envoy ignore mode overrides."},
	{BodyInVain, "Bodies are sent that no chain needs, and the engine cannot turn this off."},
	{RouteNameMissing, "The filter does not send the route's name, so the engine refuses every request."},
	{AttributeMissing, "An attribute that a condition reads is not sent, so the condition fails."},
	{CodeDetailsMissing, "The engine cannot distinguish Envoy's own early responses from the upstream's, and replaces them with a 500."},
	{InitialMetadata, "Envoy cannot create a gRPC client with this metadata. It starts anyway, and then lets every request pass regardless of failure_mode_allow, or crashes at the first request."},
	{RerouteOff, "A chain needs the route to be selected again, and the filter does not allow it."},
	{RouteCacheCleared, "Envoy selects the route again after every chain, so the chain that ran may belong to another route."},
	{MutationRules, "The filter drops changes that policies make."},
	{DynamicMetadata, "The filter drops metadata that policies set for other filters and the access log."},
	{RequestModified, "An extension changes what Envoy sends to the engine, or the engine's reply."},
	{ClusterMissing, "The engine's cluster does not exist, so every request is answered 500."},
	{ClusterHTTP2, "The engine's cluster does not use HTTP/2, which gRPC needs."},
	{ClusterLimits, "The cluster's circuit breaker allows at most 1024 requests in flight. Requests over it are answered 500."},
	{ClusterStreams, "The cluster opens more streams on a connection than the engine accepts. Streams that Envoy opens before it learns the engine's limit are refused, and their requests are answered 500."},
	{ClusterFrames, "The cluster's limits of outbound HTTP/2 frames are too low. If many clients disconnect at once, Envoy closes its connection to the engine, and every other request on it is answered 500."},
	{ClusterTLS, "The TLS settings of cluster and engine do not match, or Envoy does not verify the engine's certificate."},
	{ClusterHealth, "The cluster has no health checks, so engines that drain or are not ready still get requests."},
	{BufferLimit, "Envoy's buffer limit is below a chain's body limit. Envoy answers 413 to requests, and 500 for responses, that the chain allows."},
	{UpgradeBypass, "Upgraded connections have their own filters, without the engine's."},
	{UpgradeBuffered, "Upgrades are allowed on routes whose chain needs whole bodies. The engine refuses them, because a tunnel has no end."},
	{PathsAsWritten, "Envoy does not normalise paths. A client that spells a path differently (//admin, /./admin, /%61dmin) bypasses a route, a condition or a policy that compares paths. An error if a condition compares paths."},
	{ClientCertHeader, "Envoy forwards the client's own x-forwarded-client-cert header. An error if a condition or a parameter names that header and any client can send it."},
	{Decompressor, "A decompressor is placed after the engine's filter. A compressed response hangs if a chain needs its whole body, and loses its body if it is streamed."},
	{RouteElsewhere, "A route's settings make the filter call another cluster than the engine's."},
	{RouteBlockType, "A route's settings for the filter have a type of another filter, and therefore no effect."},
	{RouteDisabled, "The filter is disabled, or allowed to fail, for a route or a virtual host."},
	{RouteBlockUnused, "A route's settings are under another name than the filter's, and therefore have no effect."},
	{RouteUnnamed, "A route has no name, so the engine cannot find its chain."},
	{RouteUnknown, "The engine has no chain for a route."},
	{RouteUnused, "The engine has a chain for a route that no listener has."},
	{RoutesUnseen, "Routes come from another source and were not checked."},
	{NotExamined, "pectl does not know the message of an extension, so the extension was not checked."},
	{UnknownField, "Envoy v1.36 does not have this field."},
	{Unreadable, "Envoy does not accept this value here, or a field is set under both of its names. The value was skipped and everything else checked."},
}
