package extproc

import (
	"log/slog"

	"policyengine.dev/runtime/extproc/negotiate"
	"policyengine.dev/runtime/extproc/wire"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
)

// A response may come of which the request was not shown, or not as the chain needs it:
// the filter is not set up as the engine believes. Its policies have then not decided on
// the request, and the response is refused. Where it is certain that what is said of the
// filter is not true, that is not relied on for further requests either.

// codeDetails is the attribute that tells an upstream's response from one that
// Envoy has made, and viaUpstream its value for the former.
const (
	codeDetails = "response.code_details"
	viaUpstream = "via_upstream"
)

// localReply reports whether the response's headers in hand are known to be Envoy's
// own. Without the attribute they count as an upstream's: by default, Envoy does not
// show its own.
func (st *stream) localReply() bool {
	details, ok := st.in.Attributes.Text(codeDetails)
	return ok && details != "" && details != viaUpstream
}

// beginWithResponse handles a response whose request was not shown. A local reply
// of Envoy's own passes; a response that came from an upstream, or of which that
// cannot be told, answers a request that no policy has seen.
func (st *stream) beginWithResponse() verdict {
	st.setShown(st.kernel.declared)
	if st.localReply() {
		return st.answer()
	}
	return st.refuse(worker.RequestPhaseSkipped, errResponseFirst)
}

// contradicts returns what the message in hand shows of the filter that is not as it is
// said to be: that the request has gone on without what its policies need. It returns nil
// where it shows nothing.
func (st *stream) contradicts() *plainCause {
	r := &st.request
	if st.in.Kind == wire.ResponseHeaders {
		st.local = st.localReply()
	}
	switch {
	case !st.in.Kind.IsResponse() || st.local:
		return nil
	case st.relied && !st.response.shown.Headers:
		// The override has switched the response off.
		return errIgnoredOverride
	case r.whole && r.bodyPhases() != 0:
		// Until policies have seen the whole body Envoy holds the request
		// back, and nothing is sent upstream.
		if st.relied {
			return errIgnoredOverride
		}
		return errUnsentTrailers
	case r.whole && r.seen && r.at != atEnd && r.pending.Has(policy.RequestTrailers):
		// A whole body that does not end the request is followed by trailers,
		// which Envoy sends before anything goes upstream.
		return errUnsentTrailers
	}
	return nil
}

// contradict notes that what is said of the stream's filter is not true.
func (st *stream) contradict(cause *plainCause) {
	k := st.kernel
	k.options.Streams.Contradictions.Add(1)
	f, first := k.findings.Find(st.ctx, &negotiate.Finding{
		Stamp: st.allowed.stamp, Since: k.options.Now(), Route: st.routeName, Problem: cause.text,
	})
	if !first {
		return
	}
	k.options.Logger.Error("a filter does not do what is said of it: over this connection, further requests to chains that depend on it are refused",
		slog.String("problem", f.Problem), slog.String("stamp", f.Stamp), slog.String("connection", f.Connection), slog.String("route", f.Route))
}

// distrusted reports whether something was found against the stream's filter.
func (st *stream) distrusted() bool {
	return st.kernel.findings.Distrusts(st.ctx, st.allowed.stamp)
}
