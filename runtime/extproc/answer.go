package extproc

import (
	"net/http"
	"slices"
	"strconv"

	"policyengine.dev/runtime/extproc/wire"
	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/exchange"
)

// maxPiece bounds a piece of a body in full duplex, in bytes.
const maxPiece = 60 << 10

// answer replies to the message in hand, whose phases have run.
func (st *stream) answer() verdict {
	if st.x == nil {
		if v := st.pass(); v != proceed {
			return v
		}
		return st.next()
	}
	s := &st.request
	if st.in.Kind.IsResponse() {
		s = &st.response
	}
	if st.needs.Conditional && !st.narrow() {
		return st.refuse(worker.FilterCannotServeChain, errNarrowed)
	}
	headers := st.in.Kind == wire.RequestHeaders || st.in.Kind == wire.ResponseHeaders
	if headers && s.at != atEnd && s.whole && s.bodyPhases() != 0 {
		if n, ok := st.contentLength(s); ok && n > st.bodyLimit() {
			return st.tooLarge(s, telemetry.LengthAnnounced, n)
		}
	}
	if headers && s.at != atEnd && s.whole && st.tooMuch(s) {
		return st.overloaded(s)
	}
	if st.observing {
		return st.next()
	}
	var err error
	switch {
	case headers && s.gathering && s.bodyPhases() != 0:
		return proceed
	case headers:
		err = st.answerHeaders(s)
	case st.in.Kind == wire.RequestBody, st.in.Kind == wire.ResponseBody:
		err = st.answerBody(s)
	default:
		err = st.answerTrailers(s)
	}
	if r, ok := err.(*refusal); ok {
		return st.refuse(r.Reason, r.Cause)
	}
	if err != nil {
		return st.closed(err)
	}
	return st.next()
}

// narrow takes out of what is waited for that in which no step can run any more, now
// that conditions have been decided, and asks Envoy for no more than what is left. It
// reports false where that is not to be had, which cannot be: what fits a chain fits
// a part of it.
func (st *stream) narrow() bool {
	left := st.x.Needs()
	before := st.request.pending | st.response.pending
	st.needs = left
	if before&^left.Phases == 0 {
		return true
	}
	st.request.pending &= left.Phases
	st.response.pending &= left.Phases
	if st.in.Kind != wire.RequestHeaders {
		// What Envoy shows has been settled.
		return true
	}
	whole := st.plan
	for _, st.plan = range []*plan{planFor(&st.needs), whole} {
		st.override, st.relied = nil, false
		st.setShown(st.allowed)
		// Envoy may be asked for the whole where it would not show that it has
		// ignored an override for a part.
		if st.fit() == nil {
			return true
		}
	}
	return false
}

// next ends the stream where nothing more can come that matters.
func (st *stream) next() verdict {
	if st.request.pending == 0 && st.response.pending == 0 && !st.request.open() && !st.response.open() {
		return finish
	}
	return proceed
}

// pass lets the message in hand go on as it is.
func (st *stream) pass() verdict {
	if st.observing {
		return proceed
	}
	m := &st.in
	s := &st.request
	if m.Kind.IsResponse() {
		s = &st.response
	}
	st.reply.Reset(m.Kind)
	if (m.Kind == wire.RequestBody || m.Kind == wire.ResponseBody) && s.shown.Body == wire.BodyFullDuplex {
		if err := st.sendPieces(m.Kind, m.Body, m.EndOfStream); err != nil {
			return st.closed(err)
		}
		return proceed
	}
	if err := st.send(); err != nil {
		return st.closed(err)
	}
	return proceed
}

// send sends the reply that was composed.
func (st *stream) send() error {
	st.out.Buffers = st.reply.Finish()
	return st.grpc.SendMsg(&st.out)
}

// answerHeaders answers the headers of side s.
func (st *stream) answerHeaders(s *side) error {
	kind := wire.RequestHeaders
	if s.base.IsResponse() {
		kind = wire.ResponseHeaders
	}
	st.reply.Reset(kind)
	_, body := st.bodyOf(s.base)
	loses := st.losesBody(s)
	st.mendLength(s, loses)
	if err := st.mutateHeaders(s); err != nil {
		return err
	}
	if loses && s.at != atEnd && (s.bodyPhases() == 0 || !s.whole) && s.shown.Body != wire.BodyFullDuplex {
		return st.dropBody(s)
	}
	if loses && s.shown.Body == wire.BodyFullDuplex && !st.mayEmpty() {
		return refused(worker.FilterCannotServeChain, errNotRemovable)
	}
	if st.override != nil && kind == wire.RequestHeaders {
		st.reply.Override(st.override)
		st.override = nil
		if s.shown.Body == wire.BodyStreamed || s.shown.Body == wire.BodyFullDuplex {
			if err := st.dropLength(s); err != nil {
				return err
			}
		}
	}
	if body.Changed && len(body.Bytes) > 0 && s.at == atEnd && !s.gathering && st.mayHaveBody(s) {
		data, _, err := st.encode(s, body)
		if err != nil {
			return err
		}
		st.reply.ReplaceBody(data)
		st.reply.ReplaceMessage()
	}
	return st.send()
}

// dropLength takes content-length out, for a body whose length may change on its
// way: Envoy has already decided to keep it. Where the filter would not heed that, a
// longer body would end, to the other side, in the midst of itself.
func (st *stream) dropLength(s *side) error {
	length, ok := st.headersOf(s).Get(contentLength)
	if !ok {
		return nil
	}
	v := st.newVisitor()
	v.RemoveHeader(contentLength)
	// The exchange has it still.
	rest := requestPseudo(&st.x.Exchange().Request)
	rest.count, rest.bytes = rest.count-1, rest.bytes-len(contentLength)-len(length)
	v.fits(st.headersOf(s), rest)
	return v.err
}

// mayHaveBody reports whether the message can have a body at all (RFC 9110, sections
// 6.4.1 and 15.3.6).
func (st *stream) mayHaveBody(s *side) bool {
	if !s.base.IsResponse() {
		return true
	}
	x := st.x.Exchange()
	return !bodiless(x.Response.Status) && x.Request.Method != http.MethodHead
}

// answerBody answers a piece of the body of side s, or all of it.
func (st *stream) answerBody(s *side) error {
	kind := st.in.Kind
	_, body := st.bodyOf(s.base)
	ran := st.steps > 0
	switch {
	case s.shown.Body == wire.BodyFullDuplex:
		if s.gathering {
			if !ran {
				if s.bodyPhases() != 0 {
					return nil
				}
				return st.sendPieces(kind, st.unlessLost(s, st.in.Body), st.in.EndOfStream)
			}
			return st.release(s)
		}
		if !ran {
			return st.sendPieces(kind, st.unlessLost(s, st.in.Body), st.in.EndOfStream)
		}
		return st.sendPieces(kind, st.unlessLost(s, st.chunk.Data), st.chunk.Last)
	case !ran:
		st.reply.Reset(kind)
	case s.whole:
		st.reply.Reset(kind)
		data, changed, err := st.encode(s, body)
		if err != nil {
			return err
		}
		if st.losesBody(s) {
			data, changed = nil, true
			st.mendLength(s, true)
		}
		if changed {
			if h := st.headersOf(s); h.Count(contentLength) > 0 {
				h.Set(contentLength, strconv.Itoa(len(data)))
			}
			st.reply.ReplaceBody(data)
		}
		if err := st.mutateHeaders(s); err != nil {
			return err
		}
	default:
		st.reply.Reset(kind)
		st.tell()
		if st.chunk.Changed {
			st.reply.ReplaceBody(st.chunk.Data)
		}
	}
	return st.send()
}

// release answers the headers that waited for the body, and sends the body.
func (st *stream) release(s *side) error {
	_, body := st.bodyOf(s.base)
	data, changed, err := st.encode(s, body)
	if err != nil {
		return err
	}
	if !changed {
		data = s.gathered
	}
	if err := st.answerHeaders(s); err != nil {
		return err
	}
	kind := wire.RequestBody
	if s.base.IsResponse() {
		kind = wire.ResponseBody
	}
	return st.sendPieces(kind, st.unlessLost(s, data), st.in.EndOfStream)
}

// sendPieces sends a body, or a piece of one, in full duplex.
func (st *stream) sendPieces(kind wire.Kind, data []byte, last bool) error {
	if len(data) == 0 && !last {
		return nil
	}
	for {
		n := min(len(data), maxPiece)
		rest := data[n:]
		st.reply.Reset(kind)
		st.tell()
		st.reply.StreamBody(data[:n], last && len(rest) == 0)
		if err := st.send(); err != nil {
			return err
		}
		if data = rest; len(data) == 0 {
			return nil
		}
	}
}

// answerTrailers answers the trailers of side s.
func (st *stream) answerTrailers(s *side) error {
	x := st.x.Exchange()
	_, body := st.bodyOf(s.base)
	bodyRan := st.steps > 0 && st.agenda[0] != s.base+toTrailers
	switch {
	case !bodyRan:
	case s.gathering && s.shown.Body == wire.BodyFullDuplex:
		if len(s.gathered) == 0 && body.Changed && len(body.Bytes) > 0 {
			return st.addBody(s)
		}
		if err := st.release(s); err != nil {
			return err
		}
	case s.whole:
		// The answer to trailers cannot change what came before them.
		changed := x.Request.HeadersChanged()
		if s.base.IsResponse() {
			changed = x.Response.HeadersChanged()
		}
		if changed || body.Changed && len(body.Bytes) > 0 {
			return refused(trailersNotSupported(s), errChangedBehind)
		}
	case s.shown.Body == wire.BodyFullDuplex:
		kind := wire.RequestBody
		if s.base.IsResponse() {
			kind = wire.ResponseBody
		}
		if err := st.sendPieces(kind, st.unlessLost(s, st.chunk.Data), false); err != nil {
			return err
		}
	case len(st.chunk.Data) > 0:
		return refused(trailersNotSupported(s), errHeldBehind)
	}
	st.reply.Reset(st.in.Kind)
	trailers := &x.Request.Trailers
	if s.base.IsResponse() {
		trailers = &x.Response.Trailers
	}
	if trailers.Changed() {
		v := st.newVisitor()
		trailers.VisitChanges(v)
		v.fits(trailers, size{})
		if v.err != nil {
			return v.err
		}
		trailers.Settle()
	}
	st.tell()
	return st.send()
}

// addBody gives a body to a message of headers and trailers alone, in full duplex. To
// Envoy a body that it has not begun to send is spurious; but it has not been answered
// the headers yet, and takes a body with them. Then it sends the trailers as they are,
// and wants no answer to them.
func (st *stream) addBody(s *side) error {
	x := st.x.Exchange()
	trailers := &x.Request.Trailers
	if s.base.IsResponse() {
		trailers = &x.Response.Trailers
	}
	if trailers.Changed() {
		return refused(trailersNotSupported(s), errTrailersBehind)
	}
	s.gathering = false
	return st.answerHeaders(s)
}

func trailersNotSupported(s *side) worker.Reason {
	if s.base.IsResponse() {
		return worker.ResponseTrailersNotSupported
	}
	return worker.TrailersNotSupported
}

// mutateHeaders puts what has changed of the headers into the reply.
func (st *stream) mutateHeaders(s *side) error {
	x := st.x.Exchange()
	st.tell()
	v := st.newVisitor()
	if s.base.IsResponse() {
		if !x.Response.HeadersChanged() {
			return nil
		}
		if x.Response.StatusChanged() {
			v.system(":status", strconv.Itoa(x.Response.Status))
		}
		x.Response.Headers.VisitChanges(v)
		v.fits(&x.Response.Headers, responsePseudo())
		if v.err == nil {
			x.Response.SettleHeaders()
		}
		return v.err
	}
	if !x.Request.HeadersChanged() {
		return nil
	}
	if x.Request.MethodChanged() {
		v.system(":method", x.Request.Method)
	}
	if x.Request.AuthorityChanged() {
		v.system(":authority", x.Request.Authority)
	}
	if x.Request.PathChanged() {
		v.system(":path", x.Request.Path)
	}
	x.Request.Headers.VisitChanges(v)
	v.fits(&x.Request.Headers, requestPseudo(&x.Request))
	if v.err != nil {
		return v.err
	}
	if st.needs.Reroute && st.reroutes(&x.Request) {
		st.reply.ClearRouteCache()
	}
	x.Request.SettleHeaders()
	return nil
}

// reroutes reports whether something has changed that routing reads.
func (st *stream) reroutes(r *exchange.Request) bool {
	if r.MethodChanged() || r.AuthorityChanged() || r.PathChanged() {
		return true
	}
	for name := range r.Headers.Touched() {
		if slices.Contains(st.needs.RerouteHeaders, name) {
			return true
		}
	}
	return false
}

// tell puts dynamic metadata that was not sent yet into the reply.
func (st *stream) tell() {
	if st.x == nil {
		return
	}
	if d := &st.x.Exchange().Dynamic; d.Len() > 0 {
		st.reply.DynamicMetadata(wire.AppendMetadata(nil, Namespace, d))
		d.Clear()
	}
}

// Namespace is the namespace of the dynamic metadata that policies set. The filter
// has to list it in metadata_options.receiving_namespaces.untyped.
const Namespace = "policyengine"
