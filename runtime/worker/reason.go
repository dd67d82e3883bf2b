package worker

import (
	"net/http"

	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/sdk/policy"
)

// Reason is why the engine itself answers a request. Its String is the same in the
// response, in Envoy's response code details, in metrics, logs and decision records.
type Reason uint8

// The reasons. None is a decision of a policy. What a client can bring about is a 4xx,
// what an upstream can a 502; the others are for the operator to mend.
const (
	// RouteUnknown: the route has no chain.
	RouteUnknown Reason = iota
	// RouteMissing: the proxy did not say which route it chose.
	RouteMissing
	// RouteNotFound: no route of the proxy's serves the request.
	RouteNotFound
	// FilterCannotServeChain: the chain needs more than the filter allows.
	FilterCannotServeChain
	// RequestPhaseSkipped: the response of an upstream came and the request
	// had not been shown.
	RequestPhaseSkipped
	// PolicyError: a policy could not decide.
	PolicyError
	// PolicyPanic: a policy panicked.
	PolicyPanic
	// PolicyStalled: too many calls of the policy have not returned.
	PolicyStalled
	// PolicyNotSupported: no worker offers the policy.
	PolicyNotSupported
	// NotReady: no valid configuration yet.
	NotReady
	// WorkerDown: every worker that offers the policy is down.
	WorkerDown
	// PolicyTimeout: a policy took longer than it may.
	PolicyTimeout
	// BodyTooLarge: a request's body is over the limit.
	BodyTooLarge
	// ResponseBodyTooLarge: a response's body is over the limit.
	ResponseBodyTooLarge
	// BodyUndecodable: policies want a request's body plain, and it is in a
	// content coding that is not known, or not in the one that it claims.
	BodyUndecodable
	// ResponseBodyUndecodable: as BodyUndecodable, of a response.
	ResponseBodyUndecodable
	// Overloaded: bodies in flight take all memory that they may, so that there is
	// none for a request.
	Overloaded
	// ResponseOverloaded: as Overloaded, of a response.
	ResponseOverloaded
	// HeadersTooLarge: a request's headers leave no room for what policies add, or
	// are larger than a condition may read.
	HeadersTooLarge
	// ResponseHeadersTooLarge: a response's headers leave no room for what policies
	// add.
	ResponseHeadersTooLarge
	// UpgradeNotSupported: the request asks for a tunnel, and policies want whole
	// bodies, which a tunnel has not.
	UpgradeNotSupported
	// TrailersNotSupported: policies change what the proxy can no longer change
	// behind the request's trailers.
	TrailersNotSupported
	// ResponseTrailersNotSupported: as TrailersNotSupported, of a response.
	ResponseTrailersNotSupported
	// ReasonCount is the number of reasons.
	ReasonCount = iota
)

var reasons = [ReasonCount]struct {
	name   string
	status int
	detail string
}{
	RouteUnknown:                 {"ROUTE_UNKNOWN", 500, "The gateway has no policy chain for this route."},
	RouteMissing:                 {"ROUTE_MISSING", 500, "The gateway could not tell which route this request is on."},
	RouteNotFound:                {"ROUTE_NOT_FOUND", 404, "The gateway has no route for this request."},
	FilterCannotServeChain:       {"FILTER_CANNOT_SERVE_CHAIN", 500, "The gateway is not set up for this route's policies."},
	RequestPhaseSkipped:          {"REQUEST_PHASE_SKIPPED", 500, "The gateway saw a response to a request that it had not checked."},
	PolicyError:                  {"POLICY_ERROR", 500, "A policy could not decide about this request."},
	PolicyPanic:                  {"POLICY_PANIC", 500, "A policy failed on this request."},
	PolicyStalled:                {"POLICY_STALLED", 500, "A policy is not responding."},
	PolicyNotSupported:           {"POLICY_NOT_SUPPORTED", 500, "The gateway lacks a policy that this route needs."},
	NotReady:                     {"NOT_READY", 503, "The gateway is not ready yet."},
	WorkerDown:                   {"WORKER_DOWN", 503, "The gateway's policies are not available."},
	PolicyTimeout:                {"POLICY_TIMEOUT", 504, "A policy took too long."},
	BodyTooLarge:                 {"BODY_TOO_LARGE", 413, "The request's body is larger than this route allows."},
	ResponseBodyTooLarge:         {"BODY_TOO_LARGE", 502, "The response's body is larger than this route allows."},
	BodyUndecodable:              {"BODY_UNDECODABLE", 415, "The request's body is not in a content coding that this route can read."},
	ResponseBodyUndecodable:      {"BODY_UNDECODABLE", 502, "The response's body is not in a content coding that this route can read."},
	HeadersTooLarge:              {"HEADERS_TOO_LARGE", 431, "The request's headers or query are larger than this route can take."},
	ResponseHeadersTooLarge:      {"HEADERS_TOO_LARGE", 502, "The response's headers are larger than this route can take."},
	UpgradeNotSupported:          {"UPGRADE_NOT_SUPPORTED", 400, "This route does not support upgrades or CONNECT."},
	TrailersNotSupported:         {"TRAILERS_NOT_SUPPORTED", 400, "This route cannot take these trailers. Send a Content-Length, or no trailers."},
	ResponseTrailersNotSupported: {"TRAILERS_NOT_SUPPORTED", 502, "This route cannot pass this response's trailers on."},
	Overloaded:                   {"OVERLOADED", 503, "The gateway has no memory left for this request."},
	ResponseOverloaded:           {"OVERLOADED", 503, "The gateway has no memory left for the response."},
}

// String is the reason's name, such as "POLICY_ERROR".
func (r Reason) String() string {
	if int(r) < len(reasons) {
		return reasons[r].name
	}
	return "UNKNOWN"
}

// Refusal is an answer that the engine makes itself, with no policy to blame.
type Refusal struct {
	Reason Reason
	// Cause says what led to it, for the log, the record and the metrics.
	Cause Cause
}

// Cause is what led to a refusal. Its text is made only where it is written down. It may
// be long, and have in it what a client has sent: whoever writes it bounds it.
type Cause interface {
	error
	Kind() telemetry.Cause
}

// Status is the HTTP status that goes with the reason.
func (r Reason) Status() int { return reasons[r].status }

var responses = func() (all [ReasonCount]*policy.ImmediateResponse) {
	for i := range all {
		r := reasons[i]
		all[i] = policy.Reject(r.status, r.name, r.detail)
		// A request to which an upstream has responded has had its effect already.
		if r.status == http.StatusServiceUnavailable && Reason(i) != ResponseOverloaded {
			all[i].Headers = append(all[i].Headers, policy.Header{Name: "retry-after", Value: "1"})
		}
	}
	return all
}()

// Response is the answer for the reason: problem details without a cause. It is
// shared and must not be modified.
func (r Reason) Response() *policy.ImmediateResponse { return responses[r] }

// EngineDetails begins Envoy's response code details of every answer of the engine. A
// policy's name and version, as in "jwt-validation@v2.0.0.", follow where it was one.
const EngineDetails = "policy_engine."

const detailsPrefix = EngineDetails

var reasonDetails = func() (all [ReasonCount]string) {
	for i := range all {
		all[i] = detailsPrefix + reasons[i].name
	}
	return all
}()

// Outcome is the outcome that answers with the reason, where no policy is to blame
// and no chain is known.
func (r Reason) Outcome() Outcome {
	return Outcome{Kind: Respond, Response: r.Response(), Details: reasonDetails[r]}
}
