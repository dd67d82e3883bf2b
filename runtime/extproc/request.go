package extproc

import (
	"strconv"

	"google.golang.org/grpc/metadata"

	"policyengine.dev/runtime/extproc/negotiate"
	"policyengine.dev/runtime/extproc/wire"
	"policyengine.dev/runtime/kernel"
	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/exchange"
)

// beginRequest handles the request's headers, with which nearly every stream begins: it
// finds the chain and what the filter has to be asked for.
func (st *stream) beginRequest(m *wire.Message) flow {
	e := &st.exchange
	if next := e.Acquire(); next != kernel.PassOn {
		return st.after(next)
	}
	st.allowance = st.findAllowance()
	route, told := st.route(m)
	if !told {
		return st.noRoute(m)
	}
	if next := e.Find(route, &st.allowance.Terms); next != kernel.PassOn {
		return st.after(next)
	}
	if !e.HasChain() {
		st.show(negotiate.Shown(st.service.declared, &m.Protocol))
		return st.after(kernel.PassOn)
	}
	st.fillRequest(m)
	st.plan = negotiate.PlanFor(e.Needs())
	if lack := st.agree(); lack != nil {
		return st.refuse(worker.FilterCannotServeChain, lack)
	}
	return st.after(e.RequestHeaders(m.EndOfStream, m.Pseudo.Protocol != ""))
}

// findAllowance returns what the stream's filter allows.
func (st *stream) findAllowance() *negotiate.Allowance {
	s := st.service
	stamp := st.metadata(negotiate.StampKey)
	if stamp == "" {
		return s.declared
	}
	a := s.stamps.Of(stamp)
	if a.Err != nil {
		o := s.kernel.Options()
		s.stamps.Warn(o.Logger, o.Elapsed(), a.Err)
	}
	return a
}

// route is the name of the request's route, and whether Envoy has told it.
func (st *stream) route(m *wire.Message) (string, bool) {
	o := &st.service.options
	if o.RouteMetadata == "" {
		return m.Attributes.Text(o.RouteAttribute)
	}
	// Envoy leaves out metadata that would be empty.
	name := st.metadata(o.RouteMetadata)
	return name, name != ""
}

// noRoute refuses a request of which Envoy has not told the route. Envoy has none for it if
// its filter sends the name of Envoy's own too, and that is missing.
func (st *stream) noRoute(m *wire.Message) flow {
	o := &st.service.options
	if _, routed := m.Attributes.Text(DefaultRouteAttribute); !routed && st.allowance.Settings.RouteName {
		return st.refuse(worker.RouteNotFound, errNoRoute)
	}
	from := "the attribute " + o.RouteAttribute
	if o.RouteMetadata != "" {
		from = "the gRPC metadata " + o.RouteMetadata
	}
	return st.refuse(worker.RouteMissing, &routeCause{from})
}

// metadata is the first value of a key of the stream's initial metadata, or empty.
func (st *stream) metadata(key string) string {
	if values := metadata.ValueFromIncomingContext(st.ctx, key); len(values) > 0 {
		return values[0]
	}
	return ""
}

// agree settles what the filter shows of the exchange, and returns what the chain lacks,
// or nil.
func (st *stream) agree() *negotiate.Lack {
	m := &st.reader.in
	o := negotiate.Offer{
		Allowance: st.allowance, Protocol: m.Protocol, HasProtocol: m.HasProtocol, EndOfStream: m.EndOfStream,
		Observed: st.exchange.Observed(), PreferOverride: st.service.options.PreferModeOverride,
	}
	if st.plan.Depends(m.EndOfStream) {
		o.Distrusted = st.service.findings.Distrusts(st.ctx, st.allowance.Stamp)
	}
	if st.plan.HoldsRequest() {
		n, announced := st.exchange.ContentLength(kernel.Request)
		o.HasBody = announced && n > 0
	}
	a, lack := st.plan.Agree(&o)
	st.show(a.Request, a.Response)
	st.override, st.responseOverride, st.relied = a.Override, a.ResponseOverride, a.Relied
	st.exchange.TakeBody(kernel.Request, a.RequestBody)
	st.exchange.TakeBody(kernel.Response, a.ResponseBody)
	return lack
}

// Narrowed implements kernel.Carrier. It asks for the whole that the chain needed at first
// if Envoy would not show that it had ignored an override for a part of that.
func (st *stream) Narrowed() bool {
	whole := st.plan
	st.plan = negotiate.PlanFor(st.exchange.Needs())
	if st.agree() == nil {
		return true
	}
	st.plan = whole
	return st.agree() == nil
}

// show notes what the filter shows.
func (st *stream) show(request, response negotiate.Side) {
	st.request.show(request)
	st.response.show(response)
}

// fillRequest hands the request's headers to the exchange.
func (st *stream) fillRequest(m *wire.Message) {
	x := st.exchange.Content()
	x.Request.Method, x.Request.Scheme = m.Pseudo.Method, m.Pseudo.Scheme
	x.Request.Authority, x.Request.Path = m.Pseudo.Authority, m.Pseudo.Path
	handOver(&x.Request.Headers, m)
	st.told.request = m.Attributes
	x.Attributes = &st.told
	if st.service.options.TraceContext {
		x.TraceParent, x.TraceState = st.metadata("traceparent"), st.metadata("tracestate")
	}
}

// fillResponse hands the response's headers to the exchange.
func (st *stream) fillResponse(m *wire.Message) {
	x := st.exchange.Content()
	x.Response.Status, _ = strconv.Atoi(m.Pseudo.Status)
	handOver(&x.Response.Headers, m)
	if m.Attributes != "" {
		st.toldAll = attributes{st.told.request, m.Attributes}
		x.Attributes = &st.toldAll
	}
}

// fillTrailers hands trailers to the exchange.
func (st *stream) fillTrailers(s *side, m *wire.Message) {
	x := st.exchange.Content()
	if s.direction.IsResponse() {
		handOver(&x.Response.Trailers, m)
	} else {
		handOver(&x.Request.Trailers, m)
	}
}

// handOver makes the message's fields those of h, and h's storage the message's.
func handOver(h *exchange.Headers, m *wire.Message) {
	fields := m.Fields
	m.Fields = h.Storage()
	h.Reset(fields)
}

// Describe implements kernel.Carrier.
func (st *stream) Describe(d *telemetry.Decision) {
	if m := &st.reader.in; m.Kind == wire.RequestHeaders {
		d.Describe(m.Pseudo.Method, m.Pseudo.Authority, m.Pseudo.Path, field(m, "x-request-id"))
		d.TraceParent, d.TraceState = field(m, "traceparent"), field(m, "tracestate")
	}
	if st.service.options.TraceContext && st.metadata("traceparent") != "" {
		d.TraceParent, d.TraceState = st.metadata("traceparent"), st.metadata("tracestate")
	}
}

// field is the first value of a header of the message, or empty. The name is in lower
// case.
func field(m *wire.Message, name string) string {
	for i := range m.Fields {
		if m.Fields[i].Name == name {
			return m.Fields[i].Value
		}
	}
	return ""
}
