package kernel

import (
	"strconv"

	"google.golang.org/grpc/metadata"

	"policyengine.dev/runtime/kernel/wire"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

// beginRequest handles the request's headers, with which nearly every stream
// begins: it finds the chain and what the filter has to be asked for.
func (st *stream) beginRequest() verdict {
	k := st.kernel
	if st.snapshot = k.source.Acquire(); st.snapshot == nil {
		return st.respond(worker.NotReady.Outcome())
	}
	route, ok := st.route()
	if !ok {
		return st.respond(worker.RouteMissing.Outcome())
	}
	chain, ok := st.snapshot.Chain(route)
	if !ok {
		if st.snapshot.OnUnknownRoute() != worker.ContinueUnknownRoute {
			return st.respond(worker.RouteUnknown.Outcome())
		}
		st.setShown(k.declared)
		return st.answer()
	}
	st.needs = chain.Needs()
	st.plan = planFor(&st.needs)
	st.allowed = k.allowance(st)
	st.setShown(st.allowed)
	st.x = chain.Begin()
	st.fillRequest(route)
	st.request.pending = st.needs.Phases & requestPhases
	st.response.pending = st.needs.Phases & responsePhases
	if !st.fit() || st.tunnels() {
		return st.refuse(worker.FilterCannotServeChain)
	}
	return st.headers(&st.request)
}

const (
	requestPhases  policy.PhaseSet = 1<<policy.ResponseHeaders - 1
	responsePhases                 = ^requestPhases
)

// route is the name of the request's route, and whether Envoy has told it.
func (st *stream) route() (string, bool) {
	k := st.kernel
	if k.options.RouteMetadata == "" {
		return st.in.Attributes.Text(k.options.RouteAttribute)
	}
	values := metadata.ValueFromIncomingContext(st.ctx, k.options.RouteMetadata)
	if len(values) == 0 {
		return "", false
	}
	return values[0], true
}

// setShown notes what the filter shows, before any override.
func (st *stream) setShown(a *allowance) {
	m, s := &st.in, &a.settings
	st.request.shown = shown{headers: true, body: m.Protocol.RequestBody, trailers: s.RequestTrailers}
	st.response.shown = shown{headers: !s.SkipResponseHeaders, body: m.Protocol.ResponseBody, trailers: s.ResponseTrailers}
	for _, side := range []*side{&st.request, &st.response} {
		if side.shown.body == wire.BodyFullDuplex {
			// Envoy accepts full duplex only with trailers.
			side.shown.trailers = true
		}
	}
}

// fit sees to it that Envoy shows what the chain needs, by a mode override where it
// has to be. It reports false where that cannot be had.
func (st *stream) fit() bool {
	request, response := st.plan.request, st.plan.response
	if st.in.EndOfStream {
		// Nothing more comes of the request: all of it runs now.
		request = demand{}
	}
	met := request.met(st.request.shown) && response.met(st.response.shown)
	if !st.observing && (!met || st.excess(request, response)) && st.mayOverride() {
		st.override = override(request, response)
		st.request.shown, st.response.shown = request.exact(), response.exact()
		met = true
	}
	st.request.settle(request)
	st.response.settle(response)
	return met || st.observing
}

// excess reports whether Envoy would send bodies that nobody wants, on a stream that
// has to stay open for something else.
func (st *stream) excess(request, response demand) bool {
	if st.response.shown.body != response.body && response.headers {
		return true
	}
	more := !st.in.EndOfStream && (response.headers || request.body != wire.BodyNone)
	return more && st.request.shown.body != request.body
}

// tunnels reports whether the exchange becomes a tunnel (an upgrade, or CONNECT)
// while policies want whole bodies: what goes through a tunnel never ends, and Envoy
// would hold it for ever.
func (st *stream) tunnels() bool {
	if !st.request.whole && !st.response.whole {
		return false
	}
	if st.in.Pseudo.Protocol != "" || st.in.Pseudo.Method == "CONNECT" {
		return true
	}
	_, upgrade := st.x.Exchange().Request.Headers.Get("upgrade")
	return upgrade
}

// mayOverride reports whether Envoy would heed a mode override.
func (st *stream) mayOverride() bool {
	p := &st.in.Protocol
	return st.allowed.settings.ModeOverride && st.in.HasProtocol && !p.SendBodyWithoutWaiting &&
		p.RequestBody != wire.BodyFullDuplex && p.ResponseBody != wire.BodyFullDuplex
}

// fillRequest hands the request's headers to the exchange.
func (st *stream) fillRequest(route string) {
	x, m := st.x.Exchange(), &st.in
	x.Route = route
	x.Request.Method, x.Request.Scheme = m.Pseudo.Method, m.Pseudo.Scheme
	x.Request.Authority, x.Request.Path = m.Pseudo.Authority, m.Pseudo.Path
	handOver(&x.Request.Headers, m)
	st.told.request = m.Attributes
	x.Attributes = &st.told
}

// fillResponse hands the response's headers to the exchange.
func (st *stream) fillResponse() {
	x, m := st.x.Exchange(), &st.in
	x.Response.Status, _ = strconv.Atoi(m.Pseudo.Status)
	handOver(&x.Response.Headers, m)
	if m.Attributes != "" {
		st.toldAll = attributes{st.told.request, m.Attributes}
		x.Attributes = &st.toldAll
	}
}

// handOver makes the message's fields those of h, and h's storage the message's.
func handOver(h *exchange.Headers, m *wire.Message) {
	fields := m.Fields
	m.Fields = h.Storage()
	h.Reset(fields)
}

// headers handles the headers of side s.
func (st *stream) headers(s *side) verdict {
	st.run(s, s.base)
	if s.at == atEnd {
		// What there is of the message is here, body phases included.
		s.whole, s.gathering = true, false
		if s.bodyPhases() != 0 {
			st.setBody(s, []byte{})
			st.finishBody(s)
		}
		s.pending &^= policy.Phases(s.base + toTrailers)
	} else if s.whole && st.tooLong(s) {
		return st.refuse(tooLarge(s))
	}
	return st.advance()
}

// finishBody runs the body phases that are left, the body being there.
func (st *stream) finishBody(s *side) {
	st.run(s, s.base+toBody)
	st.run(s, s.base+toChunks)
}

// setBody gives policies the whole body.
func (st *stream) setBody(s *side, b []byte) {
	_, body := st.bodyOf(s.base)
	*body = exchange.Body{Bytes: b, Present: true}
}

// body handles a piece of the body of side s, or all of it.
func (st *stream) body(s *side) verdict {
	m := &st.in
	last := s.at == atEnd
	switch {
	case s.bodyPhases() == 0:
	case s.gathering:
		s.gathered = append(s.gathered, m.Body...)
		if int64(len(s.gathered)) > st.bodyLimit() {
			return st.refuse(tooLarge(s))
		}
		if last {
			st.setBody(s, s.gathered)
			st.finishBody(s)
		}
	case s.whole:
		if int64(len(m.Body)) > st.bodyLimit() {
			return st.refuse(tooLarge(s))
		}
		st.setBody(s, m.Body)
		st.finishBody(s)
	default:
		st.chunk = worker.Chunk{Data: m.Body, Last: last}
		st.run(s, s.base+toChunks)
		if !last {
			s.pending = s.pending.With(s.base + toChunks)
		}
	}
	if last {
		s.pending &^= policy.Phases(s.base + toTrailers)
	}
	return st.advance()
}

// trailers handles the trailers of side s.
func (st *stream) trailers(s *side) verdict {
	x := st.x.Exchange()
	if s.base.IsResponse() {
		handOver(&x.Response.Trailers, &st.in)
	} else {
		handOver(&x.Request.Trailers, &st.in)
	}
	if s.bodyPhases() != 0 {
		if s.whole {
			if s.gathered == nil {
				s.gathered = []byte{}
			}
			st.setBody(s, s.gathered)
		} else {
			st.chunk = worker.Chunk{Data: []byte{}, Last: true}
		}
		st.finishBody(s)
	}
	st.run(s, s.base+toTrailers)
	return st.advance()
}

// skippedRequest reports that a response has come although whole-body policies have
// not seen the request's body, and so cannot have let the request pass.
func (st *stream) skippedRequest() bool {
	return st.request.whole && st.request.bodyPhases() != 0
}

// bodyLimit bounds a whole body, in bytes.
func (st *stream) bodyLimit() int64 {
	if st.needs.BodyLimit > 0 {
		return st.needs.BodyLimit
	}
	return st.kernel.options.BodyLimit
}

// tooLong reports whether the headers announce a body over the limit.
func (st *stream) tooLong(s *side) bool {
	if s.bodyPhases() == 0 {
		return false
	}
	v, ok := st.headersOf(s).Get(contentLength)
	if !ok {
		return false
	}
	n, err := strconv.ParseInt(v, 10, 64)
	return err == nil && n > st.bodyLimit()
}

func (st *stream) headersOf(s *side) *exchange.Headers {
	x := st.x.Exchange()
	if s.base.IsResponse() {
		return &x.Response.Headers
	}
	return &x.Request.Headers
}

func tooLarge(s *side) worker.Reason {
	if s.base.IsResponse() {
		return worker.ResponseBodyTooLarge
	}
	return worker.BodyTooLarge
}

// codeDetails is the attribute that tells an upstream's response from one that
// Envoy has made, and viaUpstream its value for the former.
const (
	codeDetails = "response.code_details"
	viaUpstream = "via_upstream"
)

// beginWithResponse handles a response whose request was not shown. A local reply
// of Envoy's own passes; a response that came from an upstream, or of which that
// cannot be told, answers a request that no policy has seen.
func (st *stream) beginWithResponse() verdict {
	st.setShown(st.kernel.declared)
	details, ok := st.in.Attributes.Text(codeDetails)
	if ok && details != "" && details != viaUpstream {
		return st.answer()
	}
	return st.respond(worker.RequestPhaseSkipped.Outcome())
}
