package check

import (
	"policyengine.dev/tools/pectl/envoyconfig/message"
)

// unread reports what was left out when the configuration was read. Everything else
// is checked nevertheless.
func (c *checker) unread() {
	for _, p := range c.resources.problems {
		in := scopeOf(p.At)
		switch p.Kind {
		case message.Unreadable:
			c.found(Unreadable, Error, p.At, in, "Envoy does not take this, and it was left out here: "+p.Text, "mend it: envoy --mode validate says more")
		case message.UnknownField:
			c.found(UnknownField, Warning, p.At, in, "Envoy v1.36 does not take this: "+p.Text, "mend it, or use the Envoy that knows it")
		case message.GivenTwice:
			c.found(Unreadable, Error, p.At, in, "Envoy takes either of the two, as chance has it: "+p.Text, "keep one of the two")
		case message.UnknownType:
			severity := Warning
			if aside(p.At) {
				severity = Note
			}
			c.found(NotExamined, severity, p.At, in, "what this extension does was not examined: its message is not one of Envoy v1.36's: "+p.Text,
				"see to it by hand that no request gets past the engine's filter in it")
		}
	}
}

// asides are messages whose extensions have no part in what happens to a request.
var asides = map[string]bool{
	"envoy.config.accesslog.v3.AccessLog": true, "envoy.config.metrics.v3.StatsSink": true, "envoy.config.trace.v3.Tracing.Http": true,
	"envoy.config.overload.v3.ResourceMonitor": true, "envoy.config.core.v3.TransportSocket": true,
}

func aside(n *message.Node) bool {
	for ; n != nil; n = n.Parent() {
		if asides[n.Type()] {
			return true
		}
	}
	return false
}

// scopeOf is what a place belongs to, by the messages around it that have a name.
func scopeOf(n *message.Node) scope {
	if n == nil {
		return nil
	}
	in := scopeOf(n.Parent())
	what := map[string]string{
		listenerMsg: "listener", httpFilterMsg: "filter", routesMsg: "route configuration", hostMsg: "virtual host", routeMsg: "route", clusterMsg: "cluster",
	}[n.Type()]
	if name := at(n, "name").Text(); what != "" && name != "" {
		in = in.within(what, name)
	}
	return in
}

const httpFilterMsg = "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter"
