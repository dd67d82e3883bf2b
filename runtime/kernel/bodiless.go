package kernel

import (
	"net/http"

	"policyengine.dev/sdk/policy"
)

// A response's status says whether it has a body (RFC 9110, section 6.4.1). A proxy may
// send what it has whatever the status says, so that the client of a response whose status
// a policy changed would take a body for the next response.

// bodiless reports whether a response with the status has no body: 204, 304, and 205,
// which must not bring any content (section 15.3.6).
func bodiless(status int) bool {
	switch status {
	case http.StatusNoContent, http.StatusResetContent, http.StatusNotModified:
		return true
	}
	return false
}

// MayHaveBody reports whether the message of a direction can have a body at all (RFC 9110,
// sections 6.4.1 and 15.3.6).
func (e *Exchange) MayHaveBody(d Direction) bool {
	if d != Response {
		return true
	}
	x := e.executor.Exchange()
	return !bodiless(x.Response.Status) && x.Request.Method != http.MethodHead
}

// LosesBody reports whether policies gave a response that comes with a body a status with
// which there is none.
func (e *Exchange) LosesBody(d Direction) bool {
	if d != Response {
		return false
	}
	x := e.executor.Exchange()
	return bodiless(x.Response.Status) && !bodiless(e.came) && x.Request.Method != http.MethodHead
}

// ForgetBody says that nothing more of the response's body will come, since the carrier
// had the proxy drop it. Its phases do not run.
func (e *Exchange) ForgetBody() {
	e.sides[Response].pending &^= policy.Phases(policy.ResponseBody, policy.ResponseBodyChunks)
}

// CorrectLength removes a content-length that the changes of policies made wrong, if the
// message that goes on has no body by which that would be seen. The carrier calls it
// before it takes the changes of headers.
func (e *Exchange) CorrectLength(d Direction) {
	if d != Response {
		return
	}
	x := e.executor.Exchange()
	h := &x.Response.Headers
	if h.Count(contentLength) == 0 {
		return
	}
	switch {
	case e.LosesBody(d), x.Response.Status == http.StatusNoContent && e.came != http.StatusNoContent:
		// RFC 9110, section 8.6: never with a 204; with others it would be the
		// length of what is not sent.
	case bodiless(e.came) && e.MayHaveBody(d):
		// A 304 may tell the length of a body that does not come.
	case e.sides[d].ended && !e.MayHaveBody(d) && e.changesBodies(d):
		if !e.mayChange(contentLength) {
			return
		}
	default:
		return
	}
	h.Remove(contentLength)
}

// changesBodies reports that a GET for which this is the response to a HEAD, or the 304,
// would not have the body that the upstream tells the length of.
func (e *Exchange) changesBodies(d Direction) bool {
	return e.body(d).Changed || e.needs.Phases.Has(policy.ResponseBodyChunks)
}
