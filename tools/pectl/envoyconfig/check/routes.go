package check

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	extproc "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"policyengine.dev/sdk/strictyaml"
	"policyengine.dev/tools/pectl/envoyconfig/needs"
)

const (
	perRouteMsg     = "envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute"
	filterConfigMsg = "envoy.config.route.v3.FilterConfig"
)

// routesOf looks at the routes of a connection manager.
func (c *checker) routesOf(m *manager) {
	if n := at(m.node, "route_config"); there(n) {
		c.routeConfiguration(n, m, m.in)
		return
	}
	elsewhere, place := "", at(m.node, "scoped_routes")
	if m.msg.GetRds() != nil {
		place, elsewhere = at(m.node, "rds"), m.msg.GetRds().GetRouteConfigName()
		if n, ok := c.resources.routes[elsewhere]; ok {
			c.routeConfiguration(n, m, m.in)
			return
		}
	}
	m.unseen, c.complete = true, false
	c.found(RoutesUnseen, Warning, place, m.in, strings.TrimSpace("routes come from elsewhere, and were not looked at "+quoted(elsewhere)),
		"give the file that they are in as well, or Envoy's /config_dump")
}

func quoted(s string) string {
	if s == "" {
		return ""
	}
	return fmt.Sprintf("(%q)", s)
}

// place is where a route's settings come from: a route configuration, a virtual
// host, a route, or a weighted cluster.
type place struct {
	node strictyaml.Node
	in   scope
}

// block is what typed_per_filter_config has for the engine's filter.
type block struct {
	node      strictyaml.Node
	in        scope
	disabled  bool
	overrides *extproc.ExtProcOverrides
}

// router looks at one route configuration. manager is nil where no listener is
// known that uses it.
type router struct {
	*checker
	manager *manager
	// setups are those that were looked at, by the most specific block.
	setups map[*block]*setup
}

func (c *checker) routeConfiguration(n strictyaml.Node, m *manager, in scope) {
	var msg routev3.RouteConfiguration
	if _, err := decode(n, &msg); err != nil {
		c.unreadable(n, in, "the route configuration", err)
		c.complete = false
		if m != nil {
			m.unseen = true
		}
		return
	}
	r := &router{checker: c, manager: m, setups: map[*block]*setup{}}
	if m == nil || msg.GetName() != "" {
		in = in.within("route configuration", msg.GetName())
	}
	if msg.GetVhds() != nil {
		r.unseen(at(n, "vhds"), in, "virtual hosts come from elsewhere, and were not looked at")
	}
	levels := r.level(nil, place{n, in})
	for i, host := range msg.GetVirtualHosts() {
		p := place{at(n, "virtual_hosts", i), in.within("virtual host", host.GetName())}
		if there(at(p.node, "matcher")) {
			r.unseen(at(p.node, "matcher"), p.in, "the routes of a matcher were not looked at")
		}
		hostLevels := r.level(levels, p)
		for j, route := range host.GetRoutes() {
			name := route.GetName()
			if name == "" {
				name = fmt.Sprintf("#%d", j)
			}
			r.route(place{at(p.node, "routes", j), p.in.within("route", name)}, host, route, hostLevels)
		}
	}
}

// incomplete notes that there may be other routes than those that are seen.
func (r *router) incomplete() {
	r.complete = false
	if r.manager != nil {
		r.manager.unseen = true
	}
}

func (r *router) unseen(n strictyaml.Node, in scope, what string) {
	r.incomplete()
	r.found(RoutesUnseen, Warning, n, in, what, "give them as routes of a virtual host")
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
	message, fields := extension(p.node)
	b := &block{node: fields, in: p.in}
	if message == filterConfigMsg {
		b.disabled = at(fields, "disabled").Text() == "true"
		message, fields = extension(at(fields, "config"))
	}
	mine := r.manager != nil && r.manager.filter != nil && key == r.manager.filter.name
	switch {
	case r.manager != nil && r.manager.filter == nil:
		return nil // reported as a whole
	case message == perRouteMsg && r.manager != nil && !mine:
		if !r.otherFilter(key) {
			r.found(RouteBlockUnused, Warning, p.node, p.in,
				fmt.Sprintf("no filter is called %q, so these settings have no effect", key),
				fmt.Sprintf("call them %q", r.manager.filter.name))
		}
		return nil
	case message != perRouteMsg && !mine:
		return nil
	}
	if message == perRouteMsg {
		var msg extproc.ExtProcPerRoute
		unknown, err := decode(fields, &msg)
		if err != nil {
			r.unreadable(fields, p.in, "the filter's settings for routes", err)
			return nil
		}
		if unknown != "" {
			r.found(UnknownField, Warning, fields, p.in, "Envoy v1.36 does not take this: "+unknown, "mend it, or use the Envoy that knows it")
		}
		b.node, b.disabled, b.overrides = fields, b.disabled || msg.GetDisabled(), msg.GetOverrides()
	}
	if b.disabled {
		r.found(RouteDisabled, Error, b.node, p.in, "requests pass without any chain: the filter is switched off here", "take the block out, or give the route a chain without policies")
	}
	if b.overrides.GetFailureModeAllow().GetValue() {
		r.found(RouteDisabled, Error, at(b.node, "overrides", "failure_mode_allow"), p.in,
			"requests pass without any chain when the engine cannot be reached, fails or takes too long", "take failure_mode_allow out, or set it to false")
	}
	if n := at(b.node, "overrides", "processing_request_modifier"); there(n) {
		r.found(RequestModified, Warning, n, p.in, "an extension changes what the engine is shown", "take it out, unless it is known what it does")
	}
	return b
}

// otherFilter reports whether the connection manager has a filter of that name.
func (r *router) otherFilter(name string) bool {
	for _, f := range at(r.manager.node, "http_filters").Items {
		if at(f, "name").Text() == name {
			return true
		}
	}
	return false
}

// route looks at one route.
func (r *router) route(p place, host *routev3.VirtualHost, route *routev3.Route, levels []*block) {
	r.looked.Routes++
	levels = r.level(levels, p)
	variants := [][]*block{levels}
	for i := range route.GetRoute().GetWeightedClusters().GetClusters() {
		n := at(p.node, "route", "weighted_clusters", "clusters", i)
		if there(at(n, "typed_per_filter_config")) {
			variants = append(variants, r.level(levels, place{n, p.in.within("cluster", at(n, "name").Text())}))
		}
	}
	for _, levels := range variants {
		s := r.setupFor(levels)
		name, known := r.nameOf(host, route, s)
		if !known {
			r.incomplete()
			continue
		}
		r.reached[name] = true
		if len(levels) > 0 && levels[len(levels)-1].disabled || r.manager != nil && r.manager.filter == nil {
			continue // reported
		}
		chain := r.needs.Chain(name)
		if chain == nil {
			r.chainless(p, name)
			continue
		}
		if r.manager != nil {
			r.chain(p, host, route, s, chain)
		}
	}
}

// chain looks at a route that has a chain.
func (r *router) chain(p place, host *routev3.VirtualHost, route *routev3.Route, s *setup, chain *needs.Chain) {
	r.manager.chains[chain.Name] = true
	if s != nil {
		r.serve(s, chain)
	} else {
		r.manager.plain[chain.Name] = true
	}
	if chain.Buffers() {
		r.bufferLimits(p, host, route, chain)
		r.upgradesOf(p, route, chain)
	}
}

// setupFor is the setup for blocks, least specific first, or nil where the filter's
// own settings are in force.
func (r *router) setupFor(levels []*block) *setup {
	levels = slices.DeleteFunc(slices.Clone(levels), func(b *block) bool { return b.overrides == nil })
	if r.manager == nil || r.manager.filter == nil || len(levels) == 0 {
		return nil
	}
	last := levels[len(levels)-1]
	s := r.setups[last]
	if s == nil {
		s = r.setupOf(r.manager.filter, levels)
		r.setups[last] = s
		r.setup(s)
	}
	return s
}

// chainless reports a route that the engine has no chain for.
func (r *router) chainless(p place, name string) {
	severity, then := Error, "the engine refuses its requests"
	if r.needs.ContinueUnknown {
		severity, then = Warning, "its requests pass without any policy (onUnknownRoute: continue)"
	}
	if name == "" {
		r.found(RouteUnnamed, severity, p.node, p.in, "the route has no name that the engine could know it by: "+then, r.naming())
		return
	}
	r.found(RouteUnknown, severity, p.node, p.in, fmt.Sprintf("the engine has no chain for route %q: %s", name, then),
		"add it to the engine's routes, with a chain without policies if it needs none")
}

// nameOf is the name by which the engine knows a route, where it can be told.
func (r *router) nameOf(host *routev3.VirtualHost, route *routev3.Route, s *setup) (name string, known bool) {
	source := r.needs.Engine.Route
	if source.StreamMetadata != "" {
		return r.nameInMetadata(source.StreamMetadata, route, s)
	}
	if namespace, key, ok := r.needs.RouteMetadata(); ok {
		fields := route.GetMetadata().GetFilterMetadata()[namespace].GetFields()
		return fields[key].GetStringValue(), true
	}
	switch source.Attribute {
	case "xds.route_name":
		return route.GetName(), true
	case "xds.virtual_host_name":
		return host.GetName(), true
	}
	return "", false
}

func (r *router) nameInMetadata(key string, route *routev3.Route, s *setup) (name string, known bool) {
	if s == nil {
		if r.manager == nil || r.manager.filter == nil {
			return "", false
		}
		s = r.setupOf(r.manager.filter, nil)
	}
	for _, h := range s.metadata {
		if !strings.EqualFold(h.GetKey(), key) {
			continue
		}
		if h.GetValue() == "%ROUTE_NAME%" {
			return route.GetName(), true
		}
		return h.GetValue(), !strings.Contains(h.GetValue(), "%")
	}
	return "", false // reported with the filter
}

// naming says how a route gets a name.
func (r *router) naming() string {
	if namespace, key, ok := r.needs.RouteMetadata(); ok {
		return fmt.Sprintf("set metadata.filter_metadata, %q, %q to a name that the engine knows", namespace, key)
	}
	if r.needs.Engine.Route.Attribute == "xds.virtual_host_name" {
		return "give the virtual host a name that the engine knows"
	}
	return "give it a name that the engine knows"
}

// bufferLimits looks whether Envoy can hold what the chain wants held.
func (r *router) bufferLimits(p place, host *routev3.VirtualHost, route *routev3.Route, chain *needs.Chain) {
	const buffered = extproc.ProcessingMode_BUFFERED
	// A route's own limit comes into force behind the filter: too late for a
	// request, in time for its response, which it can only raise.
	request, response := r.manager.buffer, r.manager.buffer
	if response > 0 {
		response = max(response, cmp.Or(ownLimit(route), ownLimit(host)))
	}
	for _, side := range []struct {
		name, answer string
		mode         extproc.ProcessingMode_BodySendMode
		limit        int64
	}{{"request", "413", chain.Request.Body, request}, {"response", "500", chain.Response.Body, response}} {
		if side.mode == buffered && side.limit > 0 && side.limit <= chain.BodyLimit {
			r.found(BufferLimit, Error, p.node, p.in,
				fmt.Sprintf("chain %q allows bodies of %d bytes, and Envoy answers a %s of %d and more by itself with %s", chain.Name, chain.BodyLimit, side.name, side.limit, side.answer),
				fmt.Sprintf("set per_connection_buffer_limit_bytes of the listener to %d (for a request, a route's own limit comes too late), or the chain's bodyLimit to %d", chain.BufferLimit(), side.limit-1))
		}
	}
}

// upgradesOf looks for upgrades of a route whose chain wants whole bodies.
func (r *router) upgradesOf(p place, route *routev3.Route, chain *needs.Chain) {
	types := r.manager.upgradeTypes()
	for _, u := range route.GetRoute().GetUpgradeConfigs() {
		name := strings.ToLower(u.GetUpgradeType())
		types = slices.DeleteFunc(types, func(t string) bool { return t == name })
		if u.GetEnabled() == nil || u.GetEnabled().GetValue() {
			types = append(types, name)
		}
	}
	if len(types) > 0 {
		slices.Sort(types)
		r.found(UpgradeBuffered, Warning, p.node, p.in,
			fmt.Sprintf("%s is allowed, and chain %q wants whole bodies: the engine refuses such requests, since a tunnel has no end", strings.Join(types, ", "), chain.Name),
			"give such requests a route of their own, with a chain of header policies, or set enabled: false in the route's upgrade_configs")
	}
}

// ownLimit is the buffer limit, in bytes, of a route or a virtual host; 0 where it
// has none.
func ownLimit(l interface {
	GetRequestBodyBufferLimit() *wrapperspb.UInt64Value
	GetPerRequestBufferLimitBytes() *wrapperspb.UInt32Value
}) int64 {
	if v := l.GetRequestBodyBufferLimit(); v != nil {
		return int64(min(v.GetValue(), math.MaxInt64))
	}
	return int64(l.GetPerRequestBufferLimitBytes().GetValue())
}
