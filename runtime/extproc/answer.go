package extproc

import (
	"slices"

	"policyengine.dev/runtime/extproc/wire"
	"policyengine.dev/runtime/kernel"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

// Namespace is the namespace of the dynamic metadata that policies set. The filter
// has to list it in metadata_options.receiving_namespaces.untyped.
const Namespace = "policyengine"

// answer answers the message in hand, which goes on with what its phases have changed.
func (st *stream) answer() error {
	e, m := &st.exchange, &st.reader.in
	switch {
	case e.Observed():
		return nil
	case !e.HasChain():
		return st.pass()
	}
	s := st.sideOf(m.Kind)
	switch m.Kind {
	case wire.RequestHeaders, wire.ResponseHeaders:
		return s.body.headers()
	case wire.RequestBody, wire.ResponseBody:
		return s.body.piece()
	}
	return st.answerTrailers(s)
}

// pass lets the message in hand go on as it is.
func (st *stream) pass() error {
	m := &st.reader.in
	if m.Kind == wire.RequestBody || m.Kind == wire.ResponseBody {
		return st.sideOf(m.Kind).body.pass(m)
	}
	return st.answerPlainly()
}

// answerPlainly answers the message in hand without any change.
func (st *stream) answerPlainly() error {
	st.reply.Reset(st.reader.in.Kind)
	st.overrideResponse()
	return st.send()
}

// send sends the reply that was composed.
func (st *stream) send() error {
	st.out.Buffers = st.reply.Finish()
	return st.grpc.SendMsg(&st.out)
}

// answerHeaders answers the headers of side s. complete says that nothing of the message
// follows, so that the whole body goes with them.
func (st *stream) answerHeaders(s *side, complete bool) error {
	e := &st.exchange
	st.reply.Reset(s.headersKind())
	loses := e.LosesBody(s.direction)
	e.CorrectLength(s.direction)
	if err := st.changeHeaders(s); err != nil {
		return err
	}
	if loses {
		if drop, err := s.body.lose(); err != nil {
			return err
		} else if drop {
			return st.dropBody(s)
		}
	}
	if st.override != nil && s == &st.request {
		st.reply.Override(st.override)
		st.override = nil
		if s.body.resizes() && !st.plan.KeepsRequest() {
			// Envoy has already decided to keep content-length, by which a longer
			// body would end early to the other side.
			sets, removes := st.reply.Changes()
			if err := e.DropLength(&st.reply, sets, removes); err != nil {
				return err
			}
		}
	}
	st.overrideResponse()
	if _, filled := e.BodyChanged(s.direction); complete && filled && e.MayHaveBody(s.direction) {
		data, _, err := e.WholeBody(s.direction)
		if err != nil {
			return err
		}
		st.reply.ReplaceBody(data)
		st.reply.ReplaceMessage()
	}
	return st.send()
}

// overrideResponse puts the mode override for the response into the reply, if the reply
// answers the response's headers.
func (st *stream) overrideResponse() {
	if st.responseOverride != nil && st.reader.in.Kind == wire.ResponseHeaders {
		st.reply.Override(st.responseOverride)
		st.responseOverride = nil
	}
}

// changeHeaders puts what has changed of the headers into the reply.
func (st *stream) changeHeaders(s *side) error {
	st.tell()
	reroute, err := st.exchange.HeaderChanges(s.direction, &st.reply)
	if err == nil && reroute {
		st.reply.ClearRouteCache()
	}
	return err
}

// answerTrailers answers the trailers of side s.
func (st *stream) answerTrailers(s *side) error {
	if st.exchange.RanBody() {
		if answered, err := s.body.beforeTrailers(); answered || err != nil {
			return err
		}
	}
	st.reply.Reset(st.reader.in.Kind)
	if err := st.exchange.TrailerChanges(s.direction, &st.reply); err != nil {
		return err
	}
	st.tell()
	return st.send()
}

// tell puts dynamic metadata that was not sent yet into the reply.
func (st *stream) tell() {
	if b := st.dynamicMetadata(); b != nil {
		st.reply.DynamicMetadata(b)
	}
}

// dynamicMetadata is what was not sent yet of it, encoded, or nil.
func (st *stream) dynamicMetadata() []byte {
	x := st.exchange.Content()
	if x == nil || x.Dynamic.Len() == 0 {
		return nil
	}
	b := wire.AppendMetadata(nil, Namespace, &x.Dynamic)
	x.Dynamic.Clear()
	return b
}

// respond answers the client in the upstream's place, which ends the stream.
func (st *stream) respond() flow {
	out := st.exchange.Answer()
	r := out.Response
	im := &st.immediate
	im.Status, im.Body, im.GRPCStatus, im.Details = r.Status, r.Body, r.GRPCStatus, out.Details
	im.Headers = im.Headers[:0]
	for _, h := range r.Headers {
		st.addImmediate(h)
	}
	st.out.Buffers = im.Encode(st.dynamicMetadata())
	if err := st.grpc.SendMsg(&st.out); err != nil {
		return st.closed(err)
	}
	st.stage = answered
	return over
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

var _ kernel.Carrier = (*stream)(nil)
