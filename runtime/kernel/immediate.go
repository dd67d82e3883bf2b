package kernel

import (
	"slices"

	"policyengine.dev/runtime/kernel/wire"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

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
