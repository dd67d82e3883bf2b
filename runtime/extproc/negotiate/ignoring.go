package negotiate

import "policyengine.dev/runtime/extproc/wire"

// IgnoringShows reports whether it would show for certain that Envoy has ignored a mode
// override, before the chain has decided on a request. The override asks for what is
// demanded of both directions, instead of what is shown.
//
// It is the upstream's response that shows it. Where the chain demands nothing of the
// response, the override switches its headers off, and they come nevertheless. Where a
// whole request body is demanded, the response comes before that body. What else does not
// come may as well be missing since an upstream has answered early, somebody has broken
// off, or there is nothing.
//
// Nor must a body come in another mode than the demanded one: the chain would take a part
// of it for the whole.
func IgnoringShows(request, response, shownRequest, shownResponse Side) bool {
	switch {
	case !shownResponse.Headers, shownRequest.Body != wire.BodyNone && shownRequest.Body != request.Body:
		return false
	case !response.Headers:
		return true
	}
	return request.Body == wire.BodyBuffered && response.Met(shownResponse)
}
