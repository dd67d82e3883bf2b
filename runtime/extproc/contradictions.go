package extproc

import (
	"log/slog"

	"policyengine.dev/runtime/extproc/negotiate"
	"policyengine.dev/runtime/extproc/wire"
	"policyengine.dev/runtime/kernel"
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
func localReply(m *wire.Message) bool {
	details, ok := m.Attributes.Text(codeDetails)
	return ok && details != "" && details != viaUpstream
}

// beginWithResponse handles a response whose request was not shown. A local reply
// of Envoy's own passes; a response that came from an upstream, or of which that
// cannot be told, answers a request that no policy has seen.
func (st *stream) beginWithResponse(m *wire.Message) flow {
	st.show(negotiate.Shown(st.service.declared, &m.Protocol))
	if localReply(m) {
		return st.after(kernel.PassOn)
	}
	return st.refuse(worker.RequestPhaseSkipped, errResponseFirst)
}

// contradicts returns what the message in hand shows of the filter that is not as its
// settings say: that the request has gone on without what its policies need. It returns nil
// if the message shows nothing.
func (st *stream) contradicts(m *wire.Message) *kernel.Cause {
	e := &st.exchange
	if m.Kind == wire.ResponseHeaders {
		st.local = localReply(m)
	}
	switch {
	case !m.Kind.IsResponse() || st.local:
		return nil
	case st.relied && !st.response.shown.Headers:
		// The override has switched the response off.
		return errIgnoredOverride
	case e.TakesWhole(kernel.Request) && e.BodyPending(kernel.Request):
		// Until policies have seen the whole body Envoy holds the request
		// back, and nothing is sent upstream.
		if st.relied {
			return errIgnoredOverride
		}
		return errUnsentTrailers
	case e.TakesWhole(kernel.Request) && e.SawWhole(kernel.Request) && st.request.at != atEnd && e.Pending(kernel.Request).Has(policy.RequestTrailers):
		// A whole body that does not end the request is followed by trailers,
		// which Envoy sends before anything goes upstream.
		return errUnsentTrailers
	}
	return nil
}

// contradict notes that the settings of the stream's filter are not true.
func (st *stream) contradict(cause *kernel.Cause) {
	o := st.service.kernel.Options()
	o.Streams.Contradictions.Add(1)
	f, first := st.service.findings.Find(st.ctx, &negotiate.Finding{
		Stamp: st.allowance.Stamp, Since: o.Now(), Route: st.exchange.Route(), Problem: cause.Error(),
	})
	if !first {
		return
	}
	o.Logger.Error("a filter does not behave as its stamp or engine.yaml says: over this connection, further requests to chains that depend on it are refused",
		slog.String("problem", f.Problem), slog.String("stamp", f.Stamp), slog.String("connection", f.Connection), slog.String("route", f.Route))
}
