package extproc

import (
	"fmt"

	"policyengine.dev/runtime/kernel"
	"policyengine.dev/runtime/telemetry"
)

var (
	errNoRoute         = kernel.NewCause(telemetry.NoRoute, "Envoy has no route for the request: its filter sends xds.route_name, and this request has none")
	errResponseFirst   = kernel.NewCause(telemetry.RequestNotShown, "Envoy sent a response of an upstream without its request; or it did not send response.code_details, which marks Envoy's own responses")
	errBodyFirst       = kernel.NewCause(telemetry.RequestNotShown, "Envoy sent a body or trailers without the headers before them")
	errIgnoredOverride = kernel.NewCause(telemetry.RequestNotShown, "Envoy ignored a mode override, although the filter is described as allowing it (mode_override)")
	errUnsentTrailers  = kernel.NewCause(telemetry.RequestNotShown, "Envoy did not send the trailers of a request, although the filter is described as sending them (request_trailers)")
	errHeadersNotShown = kernel.NewCause(telemetry.PartNotShown, "the chain needs response headers, and Envoy did not send them, although the filter is described as sending them")
)

// routeCause says where the route's name was looked for.
type routeCause struct{ from string }

func (c *routeCause) Kind() telemetry.Cause { return telemetry.RouteNotSent }

func (c *routeCause) Error() string {
	return fmt.Sprintf("Envoy has not sent %s, which names the route: have the filter send it, or give this path a route that has it. "+
		"A stamp with the word route_name tells paths without a route from this", telemetry.Clip(c.from, telemetry.MaxName))
}
