package telemetry

import "sync/atomic"

// Cause is the kind of cause for which the engine refused a request or a response by
// itself, with no policy to blame. Each belongs to one reason, but for those about
// headers and bodies, which tell requests from responses by their reason.
type Cause uint8

const (
	// NoConfiguration: there is no valid configuration yet (NOT_READY).
	NoConfiguration Cause = iota
	// RouteNotSent: Envoy has not told the route's name (ROUTE_MISSING).
	RouteNotSent
	// NoRoute: no route of Envoy's serves the request (ROUTE_NOT_FOUND).
	NoRoute
	// RouteWithoutChain: the route is in no entry of routes (ROUTE_UNKNOWN).
	RouteWithoutChain
	// RequestNotShown: a message came without the request's headers before it, or
	// a response without the whole body that policies wait for
	// (REQUEST_PHASE_SKIPPED).
	RequestNotShown
	// PartNotShown: the filter does not show a part that the chain needs
	// (FILTER_CANNOT_SERVE_CHAIN).
	PartNotShown
	// BodyNotWhole: more of a body came behind the whole of it
	// (FILTER_CANNOT_SERVE_CHAIN).
	BodyNotWhole
	// ChangeForbidden: the filter's mutation rules forbid a change of a policy's
	// (FILTER_CANNOT_SERVE_CHAIN).
	ChangeForbidden
	// CodingNotKnown: policies left a content-encoding that the engine cannot
	// write (FILTER_CANNOT_SERVE_CHAIN).
	CodingNotKnown
	// BodyNotRemovable: policies gave a response a status that has no body, and
	// Envoy cannot take its body away any more (FILTER_CANNOT_SERVE_CHAIN).
	BodyNotRemovable
	// AddedHeaders: policies add more headers than Envoy lets a message have at
	// all (FILTER_CANNOT_SERVE_CHAIN).
	AddedHeaders
	// HeaderCount: with what policies add, a message has more headers than Envoy
	// lets it have (HEADERS_TOO_LARGE).
	HeaderCount
	// HeaderBytes: with what policies add, the headers are larger than Envoy lets
	// them be (HEADERS_TOO_LARGE).
	HeaderBytes
	// Tunnel: an upgrade or a CONNECT, and policies want whole bodies
	// (UPGRADE_NOT_SUPPORTED).
	Tunnel
	// BehindTrailers: policies change what Envoy cannot change any more once a
	// message's trailers have arrived (TRAILERS_NOT_SUPPORTED).
	BehindTrailers
	// LengthAnnounced: the content-length is over the limit (BODY_TOO_LARGE).
	LengthAnnounced
	// LengthReceived: a body that came is over the limit (BODY_TOO_LARGE).
	LengthReceived
	// LengthDecoded: a body is over the limit once it is decompressed
	// (BODY_TOO_LARGE).
	LengthDecoded
	// Undecodable: a body is not in the content coding that it claims, or in none
	// that is known (BODY_UNDECODABLE).
	Undecodable
	// NoMemory: the bodies in flight take all memory that they may (OVERLOADED).
	NoMemory
	// CauseCount is the number of causes.
	CauseCount = iota
)

var causeNames = [CauseCount]string{
	"no_configuration", "route_not_sent", "no_route", "route_without_chain", "request_not_shown",
	"part_not_shown", "body_not_whole", "change_forbidden", "coding_not_known", "body_not_removable",
	"added_headers", "header_count", "header_bytes", "tunnel", "behind_trailers",
	"length_announced", "length_received", "length_decoded", "undecodable", "no_memory",
}

// String is the cause's name in metrics, logs and records, such as "part_not_shown".
func (c Cause) String() string {
	if int(c) < len(causeNames) {
		return causeNames[c]
	}
	return "unknown"
}

// Causes counts refusals by their cause. The zero value is empty. Safe for concurrent
// use.
type Causes [CauseCount]atomic.Uint64
