package extproc

import (
	"slices"

	"policyengine.dev/runtime/extproc/wire"
	"policyengine.dev/runtime/telemetry"
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

// recordRefusal records and logs a refusal on a stream that has no chain, which would do
// so otherwise.
func (st *stream) recordRefusal(out worker.Outcome, cause worker.Cause) {
	o := &st.kernel.options
	if st.observing {
		return
	}
	suppressed, logs := o.Refusals.Turn(out.Details, false, int64(o.Elapsed()))
	if !logs && o.Recorder == nil {
		return
	}
	d := &telemetry.Decision{Began: o.Now(), Route: telemetry.Clip(st.routeName, telemetry.MaxName)}
	d.Denied, d.Status, d.Reason, d.Details = true, out.Response.Status, out.Response.Reason, out.Details
	d.Explain(cause)
	if st.snapshot != nil {
		d.Config = st.snapshot.Version()
	}
	if m := &st.in; m.Kind == wire.RequestHeaders {
		d.Describe(m.Pseudo.Method, m.Pseudo.Authority, m.Pseudo.Path, field(m, "x-request-id"))
		d.TraceParent, d.TraceState = field(m, "traceparent"), field(m, "tracestate")
	}
	if o.TraceContext && st.metadata("traceparent") != "" {
		d.TraceParent, d.TraceState = st.metadata("traceparent"), st.metadata("tracestate")
	}
	if logs {
		o.Refusals.Write(d, suppressed)
	}
	if o.Recorder != nil {
		o.Recorder.Record(d)
	}
}

// field is the first value of a header of the message's, or empty. The name is in lower
// case.
func field(m *wire.Message, name string) string {
	for i := range m.Fields {
		if m.Fields[i].Name == name {
			return m.Fields[i].Value
		}
	}
	return ""
}
