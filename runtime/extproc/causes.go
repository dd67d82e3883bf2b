package extproc

import (
	"fmt"

	"policyengine.dev/runtime/kernel"
	"policyengine.dev/runtime/telemetry"
)

var (
	errNoRoute         = kernel.NewCause(telemetry.NoRoute, "Envoy has no route for the request: its filter sends xds.route_name, and there is none")
	errResponseFirst   = kernel.NewCause(telemetry.RequestNotShown, "a response came from an upstream, and its request was not shown; or response.code_details, by which Envoy's own responses are known, was not sent")
	errBodyFirst       = kernel.NewCause(telemetry.RequestNotShown, "a body or trailers came, and the headers before them were not shown")
	errIgnoredOverride = kernel.NewCause(telemetry.RequestNotShown, "Envoy has ignored a mode override, although the filter is said to allow it (mode_override)")
	errUnsentTrailers  = kernel.NewCause(telemetry.RequestNotShown, "Envoy has not sent the trailers of a request, although the filter is said to send them (request_trailers)")
	errHeadersNotShown = kernel.NewCause(telemetry.PartNotShown, "the chain needs response headers; the filter was said to show them, and a response began without")
)

// routeCause says where the route's name was looked for.
type routeCause struct{ from string }

func (c *routeCause) Kind() telemetry.Cause { return telemetry.RouteNotSent }

func (c *routeCause) Error() string {
	return fmt.Sprintf("Envoy has not sent %s, which names the route: have the filter send it, or give this path a route that has it. "+
		"A stamp with the word route_name tells paths without a route from this", telemetry.Clip(c.from, telemetry.MaxName))
}
