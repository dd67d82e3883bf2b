package extproc

import (
	"net/http"

	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
)

// A response's status says whether it has a body (RFC 9110, section 6.4.1). Envoy sends
// what it has whatever the status says, so that a policy that changes the status would
// have the client take a body for the next response.

// bodiless reports whether a response with the status has no body: 204, 304, and 205,
// which must not bring any content (section 15.3.6).
func bodiless(status int) bool {
	switch status {
	case http.StatusNoContent, http.StatusResetContent, http.StatusNotModified:
		return true
	}
	return false
}

// losesBody reports whether policies have given a response that comes with a body, for
// all that its own status says, one with which there is none.
func (st *stream) losesBody(s *side) bool {
	if !s.base.IsResponse() {
		return false
	}
	x := st.x.Exchange()
	return bodiless(x.Response.Status) && !bodiless(st.came) && x.Request.Method != http.MethodHead
}

// mayEmpty reports whether a body can be emptied piece by piece, in full duplex, under
// the response's status: its headers go out before its end is known. With a 304 Envoy
// might mark the end of a chunked body, for which the client does not look behind such
// a status.
func (st *stream) mayEmpty() bool {
	return st.x.Exchange().Response.Status != http.StatusNotModified
}

// dropBody answers the headers of a response that loses its body. Nothing more is shown
// of it then.
func (st *stream) dropBody(s *side) error {
	if s.pending.Has(policy.ResponseTrailers) {
		// Its trailers would pass without the policies that want them.
		return refused(worker.FilterCannotServeChain, errNotRemovable)
	}
	s.pending &^= policy.Phases(policy.ResponseBody, policy.ResponseBodyChunks)
	st.reply.ReplaceBody(nil)
	st.reply.ReplaceMessage()
	return st.send()
}

// unlessLost is a piece of the side's body as it is to be sent.
func (st *stream) unlessLost(s *side, piece []byte) []byte {
	if st.losesBody(s) {
		return nil
	}
	return piece
}

// mendLength takes out a content-length that the changes of policies have made wrong,
// where the message that goes on has no body by which it would be seen. loses is what
// losesBody says.
func (st *stream) mendLength(s *side, loses bool) {
	if !s.base.IsResponse() {
		return
	}
	x := st.x.Exchange()
	h := &x.Response.Headers
	if h.Count(contentLength) == 0 {
		return
	}
	switch {
	case loses, x.Response.Status == http.StatusNoContent && st.came != http.StatusNoContent:
		// RFC 9110, section 8.6: never with a 204; with others it would be the
		// length of what is not sent.
	case bodiless(st.came) && st.mayHaveBody(s):
		// A 304 may tell the length of a body that does not come.
	case s.at == atEnd && !st.mayHaveBody(s) && st.changesBodies(s):
		if !st.newVisitor().rules(contentLength) {
			return
		}
	default:
		return
	}
	h.Remove(contentLength)
}

// changesBodies reports that a GET for which this is the response to a HEAD, or the 304,
// would not have the body that the upstream tells the length of.
func (st *stream) changesBodies(s *side) bool {
	_, body := st.bodyOf(s.base)
	return body.Changed || st.needs.Phases.Has(policy.ResponseBodyChunks)
}
