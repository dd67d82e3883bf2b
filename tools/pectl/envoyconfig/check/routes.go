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

	"policyengine.dev/tools/pectl/envoyconfig/message"
	"policyengine.dev/tools/pectl/envoyconfig/needs"
)

// routesOf looks at the routes of a connection manager.
func (c *checker) routesOf(m *manager) {
	switch {
	case there(at(m.node, "route_config")):
		c.routeConfiguration(at(m.node, "route_config"), m, m.in)
	case m.msg.GetRds() != nil:
		c.routesNamed(m.msg.GetRds().GetRouteConfigName(), at(m.node, "rds"), m, m.in)
	default:
		c.scopes(m)
	}
}

// routesNamed looks at the route configuration of a name, which place refers to.
func (c *checker) routesNamed(name string, place *message.Node, m *manager, in scope) {
	if n, ok := c.resources.routes[name]; ok {
		c.routeConfiguration(n, m, in)
		return
	}
	c.unseenRoutes(place, m, in, strings.TrimSpace("routes come from elsewhere, and were not checked "+quoted(name)))
}

// scopes looks at the routes of a connection manager that chooses among route
// configurations.
func (c *checker) scopes(m *manager) {
	scoped := at(m.node, "scoped_routes")
	list := at(scoped, "scoped_route_configurations_list", "scoped_route_configurations")
	var all []*message.Node
	for _, n := range list.Items {
		all = append(all, n)
	}
	if !there(list) {
		for _, name := range sortedKeys(c.resources.scopes) {
			all = append(all, c.resources.scopes[name])
		}
	}
	if len(all) == 0 {
		c.unseenRoutes(scoped, m, m.in, "routes come from elsewhere, and were not checked")
	}
	for i, n := range all {
		in := m.in.within("scope", named(n, "name", i))
		if inline := at(n, "route_configuration"); there(inline) {
			c.routeConfiguration(inline, m, in)
			continue
		}
		c.routesNamed(at(n, "route_configuration_name").Text(), n, m, in)
	}
}

func (c *checker) unseenRoutes(place *message.Node, m *manager, in scope, problem string) {
	m.unseen, c.complete = true, false
	c.found(RoutesUnseen, Warning, place, in, problem, "give the file that they are in as well, or Envoy's /config_dump")
}

func quoted(s string) string {
	if s == "" {
		return ""
	}
	return fmt.Sprintf("(%q)", s)
}

// router looks at one route configuration. manager is nil where no listener is
// known that uses it.
type router struct {
	*checker
	manager *manager
	// setups are those that were checked, by the most specific block.
	setups map[*block]*setup
}

func (c *checker) routeConfiguration(n *message.Node, m *manager, in scope) {
	msg := as[*routev3.RouteConfiguration](n)
	r := &router{checker: c, manager: m, setups: map[*block]*setup{}}
	if m == nil || msg.GetName() != "" {
		in = in.within("route configuration", msg.GetName())
	}
	levels := r.level(nil, place{n, in})
	more := c.resources.hosts[msg.GetName()]
	if msg.GetVhds() != nil && len(more) == 0 {
		r.unseen(at(n, "vhds"), in, levels, "virtual hosts come from elsewhere, and were not checked", "give the file that they are in as well, or Envoy's /config_dump")
	}
	for i, host := range msg.GetVirtualHosts() {
		r.virtualHost(place{at(n, "virtual_hosts", i), in}, host, levels)
	}
	for _, n := range more {
		r.virtualHost(place{n, in}, as[*routev3.VirtualHost](n), levels)
	}
}

func (r *router) virtualHost(p place, host *routev3.VirtualHost, levels []*block) {
	if r.work++; r.work > maxWork {
		return
	}
	p.in = p.in.within("virtual host", host.GetName())
	levels = r.level(levels, p)
	if matcher := at(p.node, "matcher"); there(matcher) {
		r.matched(p, host, matcher, levels)
		return // Envoy looks at nothing else then
	}
	for j, route := range host.GetRoutes() {
		name := cmp.Or(route.GetName(), fmt.Sprintf("#%d", j))
		r.route(place{at(p.node, "routes", j), p.in.within("route", name)}, host, route, levels)
	}
}

// matched looks at the routes that a virtual host's matcher chooses among.
func (r *router) matched(p place, host *routev3.VirtualHost, matcher *message.Node, levels []*block) {
	actions, _ := decisions(matcher)
	for _, action := range actions {
		kind, fields := extension(at(action, "typed_config"))
		var routes []*message.Node
		switch kind {
		case routeMsg:
			routes = []*message.Node{fields}
		case routeListMsg:
			for _, n := range at(fields, "routes").Items {
				routes = append(routes, n)
			}
		default:
			r.unseen(action, p.in, levels, "what this action of the matcher does was not checked", "have the matcher choose routes")
		}
		for j, n := range routes {
			in := p.in.within("route", named(n, "name", j))
			r.route(place{n, in}, host, as[*routev3.Route](n), levels)
		}
	}
}

const (
	routeMsg     = "envoy.config.route.v3.Route"
	routeListMsg = "envoy.config.route.v3.RouteList"
)

// incomplete notes that there may be other routes than those that are seen.
func (r *router) incomplete() {
	r.complete = false
	if r.manager != nil {
		r.manager.unseen = true
	}
}

func (r *router) unseen(n *message.Node, in scope, levels []*block, what, remedy string) {
	r.incomplete()
	if len(levels) > 0 {
		r.runs(levels, place{n, in})
	}
	r.found(RoutesUnseen, Warning, n, in, what, remedy)
}

// route looks at one route.
func (r *router) route(p place, host *routev3.VirtualHost, route *routev3.Route, levels []*block) {
	r.looked.Routes++
	levels = r.level(levels, p)
	var variants [][]*block
	for i := range route.GetRoute().GetWeightedClusters().GetClusters() {
		n := at(p.node, "route", "weighted_clusters", "clusters", i)
		if there(at(n, "typed_per_filter_config")) {
			variants = append(variants, r.level(levels, place{n, p.in.within("cluster", at(n, "name").Text())}))
		} else if len(variants) == 0 || !slices.Equal(variants[0], levels) {
			variants = append([][]*block{levels}, variants...)
		}
	}
	if variants == nil {
		variants = [][]*block{levels}
	}
	for _, levels := range variants {
		r.variant(p, host, route, levels)
	}
}

// variant looks at a route with the blocks that are in force for it.
func (r *router) variant(p place, host *routev3.VirtualHost, route *routev3.Route, levels []*block) {
	if r.work++; r.work > maxWork {
		return
	}
	s := r.setupFor(levels)
	name, known := r.nameOf(host, route, s)
	runs := r.runs(levels, p)
	if !known {
		r.incomplete()
		return
	}
	chain, entry := r.needs.Chain(name)
	r.reached[entry] = true
	if !runs || r.manager != nil && r.manager.filter == nil {
		return // reported
	}
	if chain == nil {
		r.chainless(p, name)
		return
	}
	if r.manager != nil {
		if r.manager.others {
			r.manager.on[p.node.File()+" "+p.node.Path()] = p.in[len(p.in)-1]
		}
		r.chain(p, host, route, s, chain)
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
	levels = slices.DeleteFunc(slices.Clone(levels), func(b *block) bool { return b.settings.GetOverrides() == nil })
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
	own := cmp.Or(ownLimit(route), ownLimit(host))
	held, holder := r.manager.heldInFront(p.node)
	for _, b := range r.manager.buffers() {
		// A route's own limit comes into force behind the filter: too late for
		// a request, in time for its response, which it can only raise.
		request, response := b.limit, b.limit
		if response > 0 {
			response = max(response, own)
		}
		field := b.field + " to " + fmt.Sprint(chain.BufferLimit()) + " (for a request, a route's own limit comes too late)"
		if held > 0 {
			// Responses to requests without a body keep the limit that there was.
			request = held
			if response == 0 || held < response {
				response = held
			}
			if request <= chain.BodyLimit {
				field = fmt.Sprintf("max_request_bytes of filter %s to %d", holder, chain.BufferLimit())
			}
		}
		for _, side := range []struct {
			name, answer string
			mode         extproc.ProcessingMode_BodySendMode
			limit        int64
		}{{"request", "413", chain.Request.Body, request}, {"response", "500", chain.Response.Body, response}} {
			if side.mode == buffered && side.limit > 0 && side.limit <= chain.BodyLimit {
				r.found(BufferLimit, Error, p.node, p.in,
					fmt.Sprintf("chain %q allows bodies of %d bytes, and Envoy answers a %s of %d and more%s by itself with %s", chain.Name, chain.BodyLimit, side.name, side.limit, b.over, side.answer),
					fmt.Sprintf("set %s, or the chain's bodyLimit to %d", field, side.limit-1))
			}
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
			"give such requests their own route, with a chain of header policies, or set enabled: false in the route's upgrade_configs")
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
