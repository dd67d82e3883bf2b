package negotiate

import (
	"fmt"
	"strings"

	"policyengine.dev/runtime/extproc/wire"
	"policyengine.dev/runtime/kernel"
	"policyengine.dev/runtime/telemetry"
)

// Offer is what is known of what the filter shows of one exchange.
type Offer struct {
	Allowance *Allowance
	// Protocol is what Envoy tells of the filter, and HasProtocol whether it does.
	Protocol    wire.ProtocolConfig
	HasProtocol bool
	// EndOfStream says that the request is headers alone, and HasBody that it is known
	// to have a body that is not empty.
	EndOfStream, HasBody bool
	// Observed says that the filter waits for no reply.
	Observed bool
	// Distrusted says that the filter was found not to do what its settings say.
	Distrusted bool
	// PreferOverride lets the engine ask for request bodies by mode overrides.
	PreferOverride bool
}

// Agreement is what a chain is shown of one exchange.
type Agreement struct {
	// Request and Response are what the filter shows, after the override.
	Request, Response Side
	// RequestBody and ResponseBody are how bodies come to the kernel.
	RequestBody, ResponseBody kernel.Intake
	// Override goes with the answer to the request's headers; nil asks for nothing.
	Override *wire.ModeOverride
	// ResponseOverride goes with the answer to the response's headers; nil asks for nothing.
	// It has the response streamed that is BUFFERED until then, for the sake of its
	// content-length. Nothing depends on Envoy heeding it.
	ResponseOverride *wire.ModeOverride
	// Relied says that the chain depends on Envoy heeding the override.
	Relied bool
}

// Shown is what the filter shows before any override. The body modes are what Envoy tells
// of this request; headers and trailers are what the settings say. Full duplex does not
// imply trailers: Envoy accepts it without them in a route.
func Shown(a *Allowance, p *wire.ProtocolConfig) (request, response Side) {
	s := &a.Settings
	return Side{Headers: true, Body: p.RequestBody, Trailers: s.RequestTrailers},
		Side{Headers: !s.SkipResponseHeaders, Body: p.ResponseBody, Trailers: s.ResponseTrailers}
}

// Depends reports whether the plan depends on settings of the filter that Envoy does not
// tell: every chain that reads bodies depends on trailers or on an override. end says that
// nothing follows the request's headers.
func (p *Plan) Depends(end bool) bool {
	return p.response.Trailers || p.request.Trailers && !end
}

// Agree returns what the chain is shown, and what it lacks of its needs, or nil. It asks
// for less by a mode override where Envoy would send bodies in vain, and for more only
// where the engine is told to and an ignored override would show.
func (p *Plan) Agree(o *Offer) (a Agreement, lack *Lack) {
	request, response := p.request, p.response
	if o.EndOfStream {
		// Nothing more comes of the request: all of it runs now.
		request = Side{}
	}
	a.Request, a.Response = Shown(o.Allowance, &o.Protocol)
	if o.Distrusted {
		a.Request.Trailers, a.Response.Trailers = false, false
	}
	met := request.Met(a.Request) && response.Met(a.Response)
	overridable := !o.Observed && !o.Distrusted && o.mayOverride()
	// Of a response that is only read, content-length stays if it is BUFFERED until its
	// headers have come.
	late := overridable && p.keepsResponse && a.Response.Body == wire.BodyBuffered
	first := response
	if late {
		first.Body = wire.BodyBuffered
	}
	switch {
	case met && overridable && a.excess(o, request, first):
		a.ask(o, &request, first)
	case !met && overridable && o.PreferOverride && IgnoringShows(request, response, a.Request, a.Response):
		a.ask(o, &request, first)
		a.Relied, met = true, true
	}
	if late {
		// Either way it comes in pieces: a whole body is one.
		a.Response.Body = wire.BodyStreamed
		a.ResponseOverride = override(a.Request, a.Response)
	}
	a.RequestBody, a.ResponseBody = intake(request, a.Request), intake(response, a.Response)
	if met || o.Observed {
		return a, nil
	}
	return a, &Lack{request: request.Lacks(a.Request), response: response.Lacks(a.Response), offer: *o}
}

// intake is how a body comes to the kernel.
func intake(demanded, shown Side) kernel.Intake {
	switch {
	case shown.Body == wire.BodyBuffered:
		return kernel.Whole
	case demanded.Body == wire.BodyBuffered:
		return kernel.Gathered
	}
	return kernel.Pieces
}

// ask has the answer to the request's headers ask Envoy for what is demanded.
func (a *Agreement) ask(o *Offer, request *Side, response Side) {
	if request.Body == wire.BodyFullDuplex && !o.HasBody {
		// Envoy would never send the end of a body that turns out to be
		// empty. Pieces are held back by emptying them instead, which
		// works for all but messages with trailers.
		request.Body = wire.BodyStreamed
	}
	a.Override = override(*request, response)
	a.Request, a.Response = *request, response
}

// excess reports whether Envoy would send bodies that nobody wants, on a stream that
// has to stay open for something else.
func (a *Agreement) excess(o *Offer, request, response Side) bool {
	if a.Response.Body != response.Body && response.Headers {
		return true
	}
	more := !o.EndOfStream && (response.Headers || request.Body != wire.BodyNone)
	return more && a.Request.Body != request.Body
}

// mayOverride reports whether Envoy would heed a mode override, by what is known of the
// filter.
func (o *Offer) mayOverride() bool {
	return o.Allowance.Settings.ModeOverride && o.HasProtocol && !o.Protocol.SendBodyWithoutWaiting &&
		o.Protocol.RequestBody != wire.BodyFullDuplex && o.Protocol.ResponseBody != wire.BodyFullDuplex
}

// Lack says what of an exchange a chain needs and the filter does not show. It implements
// worker.Cause.
type Lack struct {
	request, response Side
	offer             Offer
}

// Kind implements worker.Cause.
func (l *Lack) Kind() telemetry.Cause { return telemetry.PartNotShown }

// Error implements error.
func (l *Lack) Error() string {
	var lacking []string
	for _, d := range []struct {
		name string
		Side
	}{{"request", l.request}, {"response", l.response}} {
		if d.Headers {
			lacking = append(lacking, d.name+" headers")
		}
		if d.Body != wire.BodyNone {
			lacking = append(lacking, d.name+" body ("+d.Body.String()+")")
		}
		if d.Trailers {
			lacking = append(lacking, d.name+" trailers")
		}
	}
	p, a := &l.offer.Protocol, l.offer.Allowance
	return fmt.Sprintf("the chain needs %s; the filter's body modes are %s and %s%s",
		strings.Join(lacking, ", "), p.RequestBody, p.ResponseBody, l.why(p, a))
}

// why says why no mode override closes the gap.
func (l *Lack) why(p *wire.ProtocolConfig, a *Allowance) string {
	switch {
	case a.Err != nil:
		return fmt.Sprintf(", and its stamp cannot be read: %v", a.Err)
	case l.offer.Distrusted:
		return fmt.Sprintf(", and over this connection it was found not to do what is said of trailers and mode overrides by %s", a.told())
	case !l.offer.PreferOverride:
		return fmt.Sprintf(", and %s says of headers and trailers what it shows besides; the engine relies on no mode override (filter.preferModeOverride is off)", a.told())
	case !a.Settings.ModeOverride:
		return fmt.Sprintf(", and by %s it allows no mode override", a.told())
	case p.SendBodyWithoutWaiting:
		return ", and with send_body_without_waiting_for_header_response it ignores mode overrides"
	case p.RequestBody == wire.BodyFullDuplex, p.ResponseBody == wire.BodyFullDuplex:
		return ", beside which it ignores mode overrides"
	}
	return ", and that Envoy has ignored a mode override for it would not show"
}
