package extproc

import (
	"policyengine.dev/runtime/extproc/negotiate"
	"policyengine.dev/runtime/extproc/wire"
)

// setShown notes what the filter shows, before any override. The body modes are what
// Envoy tells of this request; headers and trailers are what is said of the filter. Full
// duplex does not imply trailers: Envoy accepts it without them in a route.
func (st *stream) setShown(a *allowance) {
	m, s := &st.in, &a.settings
	st.request.shown = negotiate.Side{Headers: true, Body: m.Protocol.RequestBody, Trailers: s.RequestTrailers}
	st.response.shown = negotiate.Side{Headers: !s.SkipResponseHeaders, Body: m.Protocol.ResponseBody, Trailers: s.ResponseTrailers}
}

// fit returns what the chain needs and is not shown, or nil. It asks for less by a mode
// override where Envoy would send bodies in vain, and for more only where the engine is
// told to, and where it would show that Envoy has ignored that.
func (st *stream) fit() *lackCause {
	request, response := st.plan.request, st.plan.response
	if st.in.EndOfStream {
		// Nothing more comes of the request: all of it runs now.
		request = negotiate.Side{}
	}
	// Every chain that reads bodies depends on trailers, of which Envoy tells nothing
	// itself, or on an override.
	distrusted := (request.Trailers || response.Trailers) && st.distrusted()
	if distrusted {
		st.request.shown.Trailers, st.response.shown.Trailers = false, false
	}
	met := request.Met(st.request.shown) && response.Met(st.response.shown)
	overridable := !st.observing && !distrusted && st.mayOverride()
	switch {
	case met && overridable && st.excess(request, response):
		st.ask(&request, response)
	case !met && overridable && st.kernel.options.PreferModeOverride && negotiate.IgnoringShows(request, response, st.request.shown, st.response.shown):
		st.ask(&request, response)
		st.relied, met = true, true
	}
	st.request.settle(request)
	st.response.settle(response)
	if met || st.observing {
		return nil
	}
	return st.lacking(request, response, distrusted)
}

// ask has the answer to the request's headers ask Envoy for what is demanded.
func (st *stream) ask(request *negotiate.Side, response negotiate.Side) {
	if request.Body == wire.BodyFullDuplex && !st.hasBody() {
		// Envoy would never send the end of a body that turns out to be
		// empty. Pieces are held back by emptying them instead, which
		// works for all but messages with trailers.
		request.Body = wire.BodyStreamed
	}
	st.override = override(*request, response)
	st.request.shown, st.response.shown = *request, response
}

// excess reports whether Envoy would send bodies that nobody wants, on a stream that
// has to stay open for something else.
func (st *stream) excess(request, response negotiate.Side) bool {
	if st.response.shown.Body != response.Body && response.Headers {
		return true
	}
	more := !st.in.EndOfStream && (response.Headers || request.Body != wire.BodyNone)
	return more && st.request.shown.Body != request.Body
}

// hasBody reports whether the request is known to have a body with something in it.
func (st *stream) hasBody() bool {
	n, ok := st.contentLength(&st.request)
	return ok && n > 0
}

// mayOverride reports whether Envoy would heed a mode override, for all that is said of
// the filter.
func (st *stream) mayOverride() bool {
	p := &st.in.Protocol
	return st.allowed.settings.ModeOverride && st.in.HasProtocol && !p.SendBodyWithoutWaiting &&
		p.RequestBody != wire.BodyFullDuplex && p.ResponseBody != wire.BodyFullDuplex
}
