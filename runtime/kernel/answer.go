package kernel

import (
	"slices"
	"strconv"

	"policyengine.dev/runtime/kernel/wire"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

// maxPiece bounds a piece of a body in full duplex, in bytes.
const maxPiece = 60 << 10

// answer replies to the message in hand, whose phases have run.
func (st *stream) answer() verdict {
	if st.observing {
		return st.next()
	}
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
	var err error
	switch st.in.Kind {
	case wire.RequestHeaders, wire.ResponseHeaders:
		if s.gathering && s.bodyPhases() != 0 {
			return proceed
		}
		err = st.answerHeaders(s)
	case wire.RequestBody, wire.ResponseBody:
		err = st.answerBody(s)
	default:
		err = st.answerTrailers(s)
	}
	if err == errCannot {
		return st.refuse(worker.FilterCannotServeChain)
	}
	if err != nil {
		return st.closed(err)
	}
	return st.next()
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
	if (m.Kind == wire.RequestBody || m.Kind == wire.ResponseBody) && s.shown.body == wire.BodyFullDuplex {
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
	if err := st.mutateHeaders(s); err != nil {
		return err
	}
	if st.override != nil && kind == wire.RequestHeaders {
		st.reply.Override(st.override)
		st.override = nil
		if s.shown.body == wire.BodyStreamed || s.shown.body == wire.BodyFullDuplex {
			st.dropLength(s)
		}
	}
	if body.Changed && len(body.Bytes) > 0 && s.at == atEnd && !s.gathering && st.mayHaveBody(s) {
		data, err := s.codings.Encode(body.Bytes)
		if err != nil {
			return err
		}
		st.reply.ReplaceBody(data)
		st.reply.ReplaceMessage()
	}
	return st.send()
}

// dropLength takes content-length out, for a body whose length may change on its
// way: Envoy has already decided to keep it.
func (st *stream) dropLength(s *side) {
	if _, ok := st.headersOf(s).Get(contentLength); ok {
		st.reply.RemoveHeader(contentLength)
	}
}

// mayHaveBody reports whether the message can have a body at all (RFC 9110, section
// 6.4.1).
func (st *stream) mayHaveBody(s *side) bool {
	if !s.base.IsResponse() {
		return true
	}
	x := st.x.Exchange()
	return x.Request.Method != "HEAD" && x.Response.Status != 204 && x.Response.Status != 304
}

// answerBody answers a piece of the body of side s, or all of it.
func (st *stream) answerBody(s *side) error {
	kind := st.in.Kind
	_, body := st.bodyOf(s.base)
	ran := st.steps > 0
	switch {
	case s.shown.body == wire.BodyFullDuplex:
		if s.gathering {
			if !ran {
				if s.bodyPhases() != 0 {
					return nil
				}
				return st.sendPieces(kind, st.in.Body, st.in.EndOfStream)
			}
			return st.release(s)
		}
		if !ran {
			return st.sendPieces(kind, st.in.Body, st.in.EndOfStream)
		}
		return st.sendPieces(kind, st.chunk.Data, st.chunk.Last)
	case !ran:
		st.reply.Reset(kind)
	case s.whole:
		st.reply.Reset(kind)
		if body.Changed {
			data, err := s.codings.Encode(body.Bytes)
			if err != nil {
				return err
			}
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
	if err := st.answerHeaders(s); err != nil {
		return err
	}
	data := s.gathered
	if _, body := st.bodyOf(s.base); body.Changed {
		var err error
		if data, err = s.codings.Encode(body.Bytes); err != nil {
			return err
		}
	}
	kind := wire.RequestBody
	if s.base.IsResponse() {
		kind = wire.ResponseBody
	}
	return st.sendPieces(kind, data, st.in.EndOfStream)
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
	case s.gathering && s.shown.body == wire.BodyFullDuplex:
		if len(s.gathered) == 0 && body.Changed && len(body.Bytes) > 0 {
			// To Envoy a body that it has not begun to send is spurious.
			return errCannot
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
			return errCannot
		}
	case s.shown.body == wire.BodyFullDuplex:
		kind := wire.RequestBody
		if s.base.IsResponse() {
			kind = wire.ResponseBody
		}
		if err := st.sendPieces(kind, st.chunk.Data, false); err != nil {
			return err
		}
	case len(st.chunk.Data) > 0:
		return errCannot
	}
	st.reply.Reset(st.in.Kind)
	trailers := &x.Request.Trailers
	if s.base.IsResponse() {
		trailers = &x.Response.Trailers
	}
	if trailers.Changed() {
		v := st.newVisitor()
		trailers.VisitChanges(v)
		v.count(trailers.Len())
		if v.err != nil {
			return v.err
		}
		trailers.Settle()
	}
	st.tell()
	return st.send()
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
		v.count(x.Response.Headers.Len())
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
	v.count(x.Request.Headers.Len())
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

// respond answers the client in the upstream's place, which ends the stream.
func (st *stream) respond(out worker.Outcome) verdict {
	if st.observing {
		return finish
	}
	st.kernel.options.Streams.Responded(out.Details)
	r := out.Response
	im := &st.immediate
	im.Status, im.Body, im.GRPCStatus, im.Details = r.Status, r.Body, r.GRPCStatus, out.Details
	im.Headers = im.Headers[:0]
	for _, h := range r.Headers {
		st.addImmediate(h)
	}
	var metadata []byte
	if st.x != nil {
		if d := &st.x.Exchange().Dynamic; d.Len() > 0 {
			metadata = wire.AppendMetadata(nil, Namespace, d)
			d.Clear()
		}
	}
	st.responded = true
	st.out.Buffers = im.Encode(metadata)
	if err := st.grpc.SendMsg(&st.out); err != nil {
		return st.closed(err)
	}
	return finish
}

// addImmediate adds a header to the immediate response: the first of a name
// overwrites, later ones are added.
func (st *stream) addImmediate(h policy.Header) {
	name := exchange.Lower(h.Name)
	if policy.CheckHeaderEdit(name) != nil || !policy.ValidHeaderValue(h.Value) {
		// Envoy would drop it, or refuse the whole answer. What is left is a
		// refusal still.
		return
	}
	im := &st.immediate
	add := slices.ContainsFunc(im.Headers, func(o wire.Header) bool { return o.Name == name })
	im.Headers = append(im.Headers, wire.Header{Name: name, Value: h.Value, Add: add})
}
