package extproc

import (
	"errors"
	"slices"
	"strconv"

	"google.golang.org/grpc/metadata"

	"policyengine.dev/runtime/extproc/wire"
	"policyengine.dev/runtime/kernel/coding"
	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

// beginRequest handles the request's headers, with which nearly every stream
// begins: it finds the chain and what the filter has to be asked for.
func (st *stream) beginRequest() verdict {
	k := st.kernel
	if st.snapshot = k.source.Acquire(); st.snapshot == nil {
		return st.refuse(worker.NotReady, errNoConfiguration)
	}
	route, ok := st.route()
	if !ok {
		return st.noRoute()
	}
	st.routeName = route
	chain, ok := st.snapshot.Chain(route)
	if !ok {
		if st.snapshot.OnUnknownRoute() != worker.ContinueUnknownRoute {
			return st.refuse(worker.RouteUnknown, &routeCause{telemetry.RouteWithoutChain, route})
		}
		st.setShown(k.declared)
		return st.answer()
	}
	st.needs = chain.Needs()
	st.plan = planFor(&st.needs)
	st.allowed = k.allowance(st)
	st.setShown(st.allowed)
	if st.observing {
		st.x = st.snapshot.BeginShadow(chain)
	} else {
		st.x = st.snapshot.Begin(chain)
	}
	st.fillRequest(route)
	st.request.pending = st.needs.Phases & requestPhases
	st.response.pending = st.needs.Phases & responsePhases
	if lacks := st.fit(); lacks != nil {
		return st.refuse(worker.FilterCannotServeChain, lacks)
	}
	if st.tunnels() {
		return st.refuse(worker.UpgradeNotSupported, errTunnel)
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
	// Envoy leaves out metadata that would be empty.
	name := st.metadata(k.options.RouteMetadata)
	return name, name != ""
}

// noRoute refuses a request of which Envoy has not told the route. There is none where
// the filter sends the name of Envoy's own, too, and that is not there.
func (st *stream) noRoute() verdict {
	k := st.kernel
	if _, routed := st.in.Attributes.Text(DefaultRouteAttribute); !routed && k.allowance(st).settings.RouteName {
		return st.refuse(worker.RouteNotFound, errNoRoute)
	}
	from := "the attribute " + k.options.RouteAttribute
	if k.options.RouteMetadata != "" {
		from = "the gRPC metadata " + k.options.RouteMetadata
	}
	return st.refuse(worker.RouteMissing, &routeCause{telemetry.RouteNotSent, from})
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

// fillRequest hands the request's headers to the exchange.
func (st *stream) fillRequest(route string) {
	x, m := st.x.Exchange(), &st.in
	x.Route = route
	x.Request.Method, x.Request.Scheme = m.Pseudo.Method, m.Pseudo.Scheme
	x.Request.Authority, x.Request.Path = m.Pseudo.Authority, m.Pseudo.Path
	handOver(&x.Request.Headers, m)
	st.told.request = m.Attributes
	x.Attributes = &st.told
	if st.kernel.options.TraceContext {
		x.TraceParent, x.TraceState = st.metadata("traceparent"), st.metadata("tracestate")
	}
}

// metadata is the first value of a key of the stream's initial metadata, or empty.
func (st *stream) metadata(key string) string {
	if values := metadata.ValueFromIncomingContext(st.ctx, key); len(values) > 0 {
		return values[0]
	}
	return ""
}

// fillResponse hands the response's headers to the exchange.
func (st *stream) fillResponse() {
	x, m := st.x.Exchange(), &st.in
	x.Response.Status, _ = strconv.Atoi(m.Pseudo.Status)
	st.came = x.Response.Status
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
	st.readCodings(s)
	st.run(s, s.base)
	if s.at == atEnd {
		// What there is of the message is here, body phases included.
		s.whole, s.gathering = true, false
		s.pending &^= policy.Phases(s.base + toTrailers)
		if s.bodyPhases() != 0 {
			if v := st.wholeBody(s, []byte{}); v != proceed {
				return v
			}
		}
	}
	return st.advance()
}

// wholeBody gives policies the whole body and runs their phases.
func (st *stream) wholeBody(s *side, b []byte) verdict {
	if n := int64(len(b)); n > st.bodyLimit() {
		return st.tooLarge(s, telemetry.LengthReceived, n)
	}
	// Policies may look at it until the stream ends.
	st.keep()
	if st.decodes(s) {
		plain, err := st.decode(s, b)
		switch {
		case errors.Is(err, coding.ErrNoMemory):
			return st.overloaded(s)
		case errors.Is(err, coding.ErrTooLarge):
			return st.tooLarge(s, telemetry.LengthDecoded, 0)
		case err != nil:
			return st.refuse(undecodable(s), &codingCause{telemetry.Undecodable, st.contentEncoding(s), err})
		}
		b, s.decoded = plain, true
	}
	_, body := st.bodyOf(s.base)
	*body = exchange.Body{Bytes: b, Present: true}
	s.seen = true
	st.run(s, s.base+toBody)
	st.run(s, s.base+toChunks)
	return proceed
}

// body handles a piece of the body of side s, or all of it.
func (st *stream) body(s *side) verdict {
	m := &st.in
	if s.seen {
		// It was not the whole body, then, on which policies have decided.
		return st.refuse(worker.FilterCannotServeChain, errBodyNotWhole)
	}
	last := s.at == atEnd
	if last {
		s.pending &^= policy.Phases(s.base + toTrailers)
	}
	v := proceed
	switch {
	case s.bodyPhases() == 0:
	case s.gathering:
		if n := int64(len(s.gathered) + len(m.Body)); n > st.bodyLimit() {
			return st.tooLarge(s, telemetry.LengthReceived, n)
		}
		if !st.gather(s, m.Body) {
			return st.overloaded(s)
		}
		if last {
			v = st.wholeBody(s, slices.Clip(s.gathered))
		}
	case s.whole:
		v = st.wholeBody(s, m.Body)
	default:
		st.chunk = worker.Chunk{Data: m.Body, Last: last}
		st.run(s, s.base+toChunks)
		if !last {
			s.pending = s.pending.With(s.base + toChunks)
		}
	}
	if v != proceed {
		return v
	}
	return st.advance()
}

// believed is how many times more than has come of a body memory is taken for, where its
// length is announced.
const believed = 8

// gather puts a piece behind what has been gathered of a body. It reports false where
// there is no memory for it.
func (st *stream) gather(s *side, piece []byte) bool {
	need := len(s.gathered) + len(piece)
	if room := cap(s.gathered); need > room {
		// Twice as much each time, until enough is here to believe what was
		// announced.
		room = max(2*room, need)
		if n, ok := st.contentLength(s); ok && int64(need) < n && n <= believed*int64(need) {
			room = int(n)
		}
		if !st.takeKept(int64(room - cap(s.gathered))) {
			return false
		}
		s.gathered = append(make([]byte, 0, room), s.gathered...)
	}
	s.gathered = append(s.gathered, piece...)
	return true
}

// trailers handles the trailers of side s.
func (st *stream) trailers(s *side) verdict {
	x := st.x.Exchange()
	if s.base.IsResponse() {
		handOver(&x.Response.Trailers, &st.in)
	} else {
		handOver(&x.Request.Trailers, &st.in)
	}
	switch {
	case s.bodyPhases() == 0:
	case s.whole:
		if s.gathered == nil {
			s.gathered = []byte{}
		}
		if v := st.wholeBody(s, slices.Clip(s.gathered)); v != proceed {
			return v
		}
	default:
		st.chunk = worker.Chunk{Data: []byte{}, Last: true}
		st.run(s, s.base+toChunks)
	}
	st.run(s, s.base+toTrailers)
	return st.advance()
}

// bodyLimit bounds a whole body, in bytes.
func (st *stream) bodyLimit() int64 {
	if st.needs.BodyLimit > 0 {
		return st.needs.BodyLimit
	}
	return st.kernel.options.BodyLimit
}

// tooMuch reports whether the headers announce a body for which no memory is left.
func (st *stream) tooMuch(s *side) bool {
	if s.bodyPhases() == 0 {
		return false
	}
	n, ok := st.contentLength(s)
	return ok && !st.kernel.options.Memory.Fits(n)
}

// contentLength is what the headers say of the body's length, if they do.
func (st *stream) contentLength(s *side) (n int64, ok bool) {
	v, ok := st.headersOf(s).Get(contentLength)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(v, 10, 64)
	return n, err == nil
}

func (st *stream) headersOf(s *side) *exchange.Headers {
	x := st.x.Exchange()
	if s.base.IsResponse() {
		return &x.Response.Headers
	}
	return &x.Request.Headers
}

// tooLarge refuses a body over the limit. n is its length so far, where it is known.
func (st *stream) tooLarge(s *side, kind telemetry.Cause, n int64) verdict {
	cause := &lengthCause{kind, n, st.bodyLimit()}
	if s.base.IsResponse() {
		return st.refuse(worker.ResponseBodyTooLarge, cause)
	}
	return st.refuse(worker.BodyTooLarge, cause)
}

func undecodable(s *side) worker.Reason {
	if s.base.IsResponse() {
		return worker.ResponseBodyUndecodable
	}
	return worker.BodyUndecodable
}
