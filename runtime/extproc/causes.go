package extproc

import (
	"fmt"
	"strings"

	"policyengine.dev/runtime/extproc/negotiate"
	"policyengine.dev/runtime/extproc/wire"
	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/runtime/worker"
)

// refusal is an error that says with which reason the kernel refuses an exchange, and
// why.
type refusal worker.Refusal

func refused(reason worker.Reason, cause worker.Cause) *refusal {
	return &refusal{Reason: reason, Cause: cause}
}

func (r *refusal) Error() string { return r.Reason.String() + ": " + r.Cause.Error() }

// plainCause is a cause that has nothing more to say than this text.
type plainCause struct {
	kind telemetry.Cause
	text string
}

func (c *plainCause) Error() string         { return c.text }
func (c *plainCause) Kind() telemetry.Cause { return c.kind }

var (
	errNoConfiguration = &plainCause{telemetry.NoConfiguration, "no valid configuration of chains and routes is in force"}
	errNoRoute         = &plainCause{telemetry.NoRoute, "Envoy has no route for the request: its filter sends xds.route_name, and there is none"}
	errResponseFirst   = &plainCause{telemetry.RequestNotShown, "a response came from an upstream, and its request was not shown; or response.code_details, by which Envoy's own responses are known, was not sent"}
	errBodyFirst       = &plainCause{telemetry.RequestNotShown, "a body or trailers came, and the headers before them were not shown"}
	errIgnoredOverride = &plainCause{telemetry.RequestNotShown, "Envoy has ignored a mode override, although the filter is said to allow it (mode_override)"}
	errUnsentTrailers  = &plainCause{telemetry.RequestNotShown, "Envoy has not sent the trailers of a request, although the filter is said to send them (request_trailers)"}
	errBodyNotWhole    = &plainCause{telemetry.BodyNotWhole, "more of the body came after what Envoy said was the whole of it"}
	errHeadersNotShown = &plainCause{telemetry.PartNotShown, "the chain needs response headers; the filter was said to show them, and a response began without"}
	errNarrowed        = &plainCause{telemetry.PartNotShown, "the filter does not show a part of what the chain needs"}
	errNoMemory        = &plainCause{telemetry.NoMemory, "the bodies in flight take all memory that they may (limits.memory)"}
	errTunnel          = &plainCause{telemetry.Tunnel, "the request is an upgrade or a CONNECT, and policies of the chain want a whole body, which a tunnel does not have"}
	errNotRemovable    = &plainCause{telemetry.BodyNotRemovable, "a policy gave the response a status that has no body, and Envoy cannot remove the body of this one: policies want its trailers, or it is sent in full duplex"}
	errChangedBehind   = &plainCause{telemetry.BehindTrailers, "the message has trailers and no body, and policies changed its headers or its body, which Envoy can do then in full duplex only"}
	errHeldBehind      = &plainCause{telemetry.BehindTrailers, "policies still held back a part of the body when its trailers came, before which Envoy can send it in full duplex only"}
	errTrailersBehind  = &plainCause{telemetry.BehindTrailers, "the message has trailers and no body, and policies added a body and changed the trailers, of which Envoy can do one"}
)

// routeCause says which route was looked up, or where its name was looked for.
type routeCause struct {
	kind telemetry.Cause
	name string
}

func (c *routeCause) Kind() telemetry.Cause { return c.kind }

func (c *routeCause) Error() string {
	name := telemetry.Clip(c.name, telemetry.MaxName)
	if c.kind == telemetry.RouteWithoutChain {
		return fmt.Sprintf("no entry of routes matches the route %q", name)
	}
	return fmt.Sprintf("Envoy has not sent %s, which names the route: have the filter send it, or give this path a route that has it. "+
		"A stamp with the word route_name tells paths without a route from this", name)
}

// lackCause says what of an exchange a chain needs and the filter does not show.
type lackCause struct {
	request, response negotiate.Side
	protocol          wire.ProtocolConfig
	// told is who says what the filter allows: its stamp, or engine.yaml.
	told string
	// override says that the filter heeds mode overrides, and prefers that the
	// engine would ask for bodies by them.
	override, prefers bool
	// distrusted says that the filter was found not to do what is said of it.
	distrusted bool
	// stamp is why the filter's stamp could not be read.
	stamp error
}

func (c *lackCause) Kind() telemetry.Cause { return telemetry.PartNotShown }

func (c *lackCause) Error() string {
	var lacking []string
	for _, d := range []struct {
		name string
		negotiate.Side
	}{{"request", c.request}, {"response", c.response}} {
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
	var b strings.Builder
	fmt.Fprintf(&b, "the chain needs %s; the filter's body modes are %s and %s", strings.Join(lacking, ", "), c.protocol.RequestBody, c.protocol.ResponseBody)
	switch {
	case c.stamp != nil:
		fmt.Fprintf(&b, ", and its stamp cannot be read: %v", c.stamp)
	case c.distrusted:
		fmt.Fprintf(&b, ", and over this connection it was found not to do what is said of trailers and mode overrides by %s", c.told)
	case !c.prefers:
		fmt.Fprintf(&b, ", and %s says of headers and trailers what it shows besides; the engine relies on no mode override (filter.preferModeOverride is off)", c.told)
	case !c.override:
		fmt.Fprintf(&b, ", and by %s it allows no mode override", c.told)
	case c.protocol.SendBodyWithoutWaiting:
		b.WriteString(", and with send_body_without_waiting_for_header_response it ignores mode overrides")
	case c.protocol.RequestBody == wire.BodyFullDuplex, c.protocol.ResponseBody == wire.BodyFullDuplex:
		b.WriteString(", beside which it ignores mode overrides")
	default:
		b.WriteString(", and that Envoy has ignored a mode override for it would not show")
	}
	return b.String()
}

// lacking is why the chain cannot have what it needs.
func (st *stream) lacking(request, response negotiate.Side, distrusted bool) *lackCause {
	c := &lackCause{
		request: request.Lacks(st.request.shown), response: response.Lacks(st.response.shown),
		protocol: st.in.Protocol, override: st.allowed.settings.ModeOverride, stamp: st.allowed.err, told: "its stamp",
		prefers: st.kernel.options.PreferModeOverride, distrusted: distrusted,
	}
	if st.allowed == st.kernel.declared {
		c.told = "engine.yaml"
	}
	return c
}

// changeCause names a header that policies changed and that may not be.
type changeCause struct{ name string }

func (c *changeCause) Kind() telemetry.Cause { return telemetry.ChangeForbidden }

func (c *changeCause) Error() string {
	return fmt.Sprintf("the filter's mutation rules do not let %q be changed", telemetry.Clip(c.name, telemetry.MaxName))
}

const (
	headerCount = "headers"
	headerBytes = "bytes of headers"
)

// sizeCause says by how much headers are too many or too large.
type sizeCause struct {
	kind telemetry.Cause
	// what is counted: headerCount or headerBytes.
	what string
	// has is what the message would have, added what of it policies set, and limit
	// what Envoy lets it have: headers, or bytes.
	has, added, limit int
}

func (c *sizeCause) Kind() telemetry.Cause { return c.kind }

func (c *sizeCause) Error() string {
	return fmt.Sprintf("the message would have %d %s, of which policies set %d; the limit is %d", c.has, c.what, c.added, c.limit)
}

// lengthCause says by how much a body is too long.
type lengthCause struct {
	kind       telemetry.Cause
	has, limit int64
}

func (c *lengthCause) Kind() telemetry.Cause { return c.kind }

func (c *lengthCause) Error() string {
	switch c.kind {
	case telemetry.LengthAnnounced:
		return fmt.Sprintf("content-length announces %d bytes; the limit is %d", c.has, c.limit)
	case telemetry.LengthDecoded:
		return fmt.Sprintf("the body is over %d bytes once it is decompressed", c.limit)
	}
	if c.has == 0 {
		return fmt.Sprintf("more of the body has come than the limit, which is %d bytes", c.limit)
	}
	return fmt.Sprintf("%d bytes of the body have come; the limit is %d", c.has, c.limit)
}

// codingCause says what is wrong with a body's content coding.
type codingCause struct {
	kind   telemetry.Cause
	coding string
	err    error
}

func (c *codingCause) Kind() telemetry.Cause { return c.kind }

func (c *codingCause) Error() string {
	return fmt.Sprintf("content-encoding is %q: %v", telemetry.Clip(c.coding, telemetry.MaxName), c.err)
}
