package check

import (
	"fmt"
	"slices"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	extproc "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"

	"policyengine.dev/tools/pectl/envoyconfig/message"
)

const (
	perRouteMsg     = "envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute"
	filterConfigMsg = "envoy.config.route.v3.FilterConfig"
)

// place is where a route's settings come from: a route configuration, a virtual
// host, a route, or a weighted cluster.
type place struct {
	node *message.Node
	in   scope
}

// block is what typed_per_filter_config has for the engine's filter, at one level.
type block struct {
	node *message.Node
	in   scope
	// off says that Envoy leaves the filter out.
	off bool
	// settings are the filter's own, or nil.
	settings *extproc.ExtProcPerRoute
}

// level adds the block of a place, where it has one.
func (r *router) level(levels []*block, p place) []*block {
	for key, config := range at(p.node, "typed_per_filter_config").Fields {
		b := r.block(key, place{config, p.in})
		if b != nil {
			levels = append(slices.Clip(levels), b)
		}
	}
	return levels
}

// block decodes what is under one key of typed_per_filter_config, if it is for the
// engine's filter.
func (r *router) block(key string, p place) *block {
	kind, fields := extension(p.node)
	b := &block{node: fields, in: p.in}
	if kind == filterConfigMsg {
		b.off = as[*routev3.FilterConfig](p.node).GetDisabled()
		kind, fields = extension(at(fields, "config"))
	}
	mine := r.manager != nil && r.manager.filter != nil && key == r.manager.filter.name
	switch {
	case r.manager != nil && r.manager.filter == nil:
		return nil // reported as a whole
	case kind == perRouteMsg && r.manager != nil && !mine:
		if !r.manager.names[key] {
			r.found(RouteBlockUnused, Warning, p.node, p.in,
				fmt.Sprintf("no filter is called %q, so these settings have no effect", key),
				fmt.Sprintf("call them %q", r.manager.filter.name))
		}
		return nil
	case kind != perRouteMsg && !mine:
		return nil
	}
	if kind == perRouteMatch {
		r.skipping(matcherOf(fields), p.in)
	}
	if kind != perRouteMsg {
		if r.manager != nil && !r.manager.filter.matched && kind != "" && kind != perRouteMatch {
			r.found(RouteBlockType, Warning, p.node, p.in,
				fmt.Sprintf("these settings have no effect: %s is not for an external processing filter", kind), "write "+perRouteMsg)
		}
		return b
	}
	b.settings = as[*extproc.ExtProcPerRoute](fields)
	b.node = fields
	if n := at(b.node, "overrides", "processing_request_modifier"); there(n) {
		r.found(RequestModified, Warning, n, p.in, "an extension changes what the engine is shown", "take it out, unless it is known what it does")
	}
	return b
}

// runs reports whether the filter does anything where levels are in force, and
// reports what switches it off or lets it fail. p is what they are in force for.
func (r *router) runs(levels []*block, p place) bool {
	if r.manager != nil && r.manager.filter == nil {
		return true // reported as a whole
	}
	if len(levels) == 0 {
		if r.manager != nil && r.manager.filter.disabled() {
			r.manager.off[p.node.File()+" "+p.node.Path()] = p.in[len(p.in)-1]
			return false
		}
		return true
	}
	// Whether Envoy runs the filter is up to the most specific block, whatever
	// is in it; what the filter does is up to the most specific one that says
	// something of it.
	const remedy = "take the block out, or give the route a chain without policies"
	last := levels[len(levels)-1]
	if last.off {
		r.found(RouteDisabled, Error, last.node, last.in, "requests pass without any chain: the filter is switched off here", remedy)
		return false
	}
	mostSpecific := true
	for _, b := range slices.Backward(levels) {
		if b.settings == nil {
			continue
		}
		if mostSpecific && b.settings.GetDisabled() {
			r.found(RouteDisabled, Error, b.node, b.in, "requests pass without any chain: the filter is switched off here", remedy)
			return false
		}
		mostSpecific = false
		allow := b.settings.GetOverrides().GetFailureModeAllow()
		if allow.GetValue() {
			r.found(RouteDisabled, Error, at(b.node, "overrides", "failure_mode_allow"), b.in,
				"requests pass without any chain when the engine cannot be reached, fails or takes too long", "take failure_mode_allow out, or set it to false")
		}
		if allow != nil {
			break
		}
	}
	return true
}
