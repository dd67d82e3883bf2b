package check

import (
	"fmt"
	"slices"
	"strings"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	extproc "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"policyengine.dev/runtime/kernel/filter"
	"policyengine.dev/sdk/strictyaml"
)

const (
	hcmMsg     = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
	extProcMsg = "envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor"
)

// defaultBufferLimit is Envoy's per_connection_buffer_limit_bytes.
const defaultBufferLimit = 1 << 20

func (c *checker) listener(n strictyaml.Node, in scope, except bool) {
	var l listenerv3.Listener
	if _, err := decode(n, &l); err != nil {
		c.unreadable(n, in, "the listener", err)
		return
	}
	buffer := int64(defaultBufferLimit)
	if v := l.GetPerConnectionBufferLimitBytes(); v != nil {
		buffer = int64(v.GetValue())
	}
	chains := []strictyaml.Node{}
	for _, chain := range at(n, "filter_chains").Items {
		chains = append(chains, chain)
	}
	if chain := at(n, "default_filter_chain"); there(chain) {
		chains = append(chains, chain)
	}
	visit := func(network strictyaml.Node, in scope) {
		message, fields := extension(network)
		if message == hcmMsg && !except {
			c.looked.ConnectionManagers++
			c.connectionManager(fields, in, buffer)
		}
	}
	for i, chain := range chains {
		in := in
		if len(chains) > 1 {
			in = in.within("filter chain", named(chain, "name", i))
		}
		for _, f := range at(chain, "filters").Items {
			visit(at(f, "typed_config"), in)
		}
	}
	if api := at(n, "api_listener", "api_listener"); there(api) {
		visit(api, in)
	}
}

// manager is a connection manager that is looked at.
type manager struct {
	node   strictyaml.Node
	in     scope
	msg    *hcm.HttpConnectionManager
	buffer int64 // bytes; 0 is no limit
	filter *use
	// chains are the names of the chains that its requests can have, plain
	// those of them on routes without settings of their own. unseen says that
	// there may be others.
	chains, plain map[string]bool
	unseen        bool
}

func (c *checker) connectionManager(n strictyaml.Node, in scope, buffer int64) {
	var msg hcm.HttpConnectionManager
	if _, err := decode(n, &msg); err != nil {
		c.unreadable(n, in, "the connection manager", err)
		c.complete = false
		return
	}
	m := &manager{node: n, in: in, msg: &msg, buffer: buffer, chains: map[string]bool{}, plain: map[string]bool{}}
	filters := at(n, "http_filters")
	m.filter = c.findFilter(filters, m)
	if m.filter == nil {
		c.routesOf(m) // they say which chains there are, for other managers
		return
	}
	if n := msg.GetCommonHttpProtocolOptions().GetMaxHeadersCount(); n != nil && n.GetValue() != filter.DefaultMaxHeaders {
		m.filter.maxHeaders = int(n.GetValue())
	}
	c.neighbours(filters, m)
	c.upgrades(m)
	c.routesOf(m)
	c.filter(m)
}

// findFilter returns the engine's filter among a connection manager's, or reports
// that there is none.
func (c *checker) findFilter(filters strictyaml.Node, m *manager) *use {
	var mine []*use
	others := map[string]bool{}
	for i, f := range filters.Items {
		message, fields := extension(at(f, "typed_config"))
		if message != extProcMsg {
			if at(f, "typed_config").Kind() == strictyaml.Mapping && mentions(fields) {
				c.found(FilterConditional, Warning, f, m.in,
					fmt.Sprintf("filter %s has an external processing filter inside, which runs only where it says so", named(f, "name", i)),
					"put the engine's filter among http_filters by itself")
			}
			continue
		}
		u := &use{node: f, fields: fields, msg: &extproc.ExternalProcessor{}, index: i, name: named(f, "name", i), in: m.in.within("filter", named(f, "name", i))}
		unknown, err := decode(fields, u.msg)
		if err != nil {
			c.unreadable(fields, u.in, "the external processing filter", err)
			continue
		}
		if c.leadsToEngine(u.msg) {
			if unknown != "" {
				c.found(UnknownField, Warning, fields, u.in, "Envoy v1.36 does not take this: "+unknown, "mend it, or use the Envoy that knows it")
			}
			mine = append(mine, u)
		} else {
			others[target(u.msg.GetGrpcService())] = true
		}
	}
	switch {
	case len(mine) == 0:
		remedy := "put the filter that pectl envoy-config writes into http_filters, before the router; leave a listener out with --except-listener where that is meant"
		if len(others) > 0 {
			remedy = fmt.Sprintf("if %s is the engine, say so with --cluster; otherwise ", several(sortedKeys(others), "or")) + remedy
		}
		c.found(FilterMissing, Error, at(m.node, "http_filters"), m.in, "requests pass without any chain: no filter leads to the engine", remedy)
		return nil
	case len(mine) > 1:
		c.found(FilterTwice, Warning, mine[1].node, m.in, "a second filter leads to the engine: every chain runs twice for each request", "keep one of the two")
	}
	return mine[0]
}

// mentions reports whether an external processing filter is somewhere below n.
func mentions(n strictyaml.Node) bool {
	return anywhere(n, 0, func(name string, v strictyaml.Node) bool {
		return name == anyType && messageName(v.Text()) == extProcMsg
	})
}

// anywhere reports whether is is true of a field somewhere below n.
func anywhere(n strictyaml.Node, depth int, is func(name string, v strictyaml.Node) bool) bool {
	if depth > limits.Depth {
		return false
	}
	for name, v := range n.Fields {
		if is(name, v) || anywhere(v, depth+1, is) {
			return true
		}
	}
	for _, v := range n.Items {
		if anywhere(v, depth+1, is) {
			return true
		}
	}
	return false
}

// Filters that answer from what they have kept, and those that rewrite what routing
// reads, as the names of their messages say.
var (
	caches    = []string{"envoy.extensions.filters.http.cache.v3.CacheConfig", "envoy.extensions.filters.http.cache_v2.v3.CacheV2Config"}
	rerouters = []string{"envoy.extensions.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder"}
)

const routerMsg = "envoy.extensions.filters.http.router.v3.Router"

// answerers are the extensions, as the names of their messages say, that answer
// requests by themselves.
var answerers = map[string]bool{
	"adaptive_concurrency": true, "admission_control": true, "api_key_auth": true, "basic_auth": true, "cors": true, "csrf": true,
	"dynamic_modules": true, "ext_authz": true, "ext_proc": true, "fault": true, "golang": true, "health_check": true, "jwt_authn": true,
	"local_ratelimit": true, "lua": true, "oauth2": true, "ratelimit": true, "rate_limit_quota": true, "rbac": true, "wasm": true,
}

func answers(message string) bool {
	rest, ok := strings.CutPrefix(message, "envoy.extensions.filters.http.")
	name, _, _ := strings.Cut(rest, ".")
	return ok && answerers[name]
}

// neighbours looks at the filters around the engine's.
func (c *checker) neighbours(filters strictyaml.Node, m *manager) {
	var answering []string
	for i, f := range filters.Items {
		message, fields := extension(at(f, "typed_config"))
		name := named(f, "name", i)
		switch {
		case i < m.filter.index && slices.Contains(caches, message):
			c.found(FilterOrder, Error, f, m.in,
				fmt.Sprintf("filter %s answers from its cache before any chain has seen the request", name),
				fmt.Sprintf("put it behind %s", m.filter.name))
		case i < m.filter.index && message == routerMsg:
			c.found(FilterOrder, Error, f, m.in,
				fmt.Sprintf("filter %s stands behind the router, which requests do not get past", m.filter.name), "put it in front of the router")
		case i < m.filter.index && answers(message):
			answering = append(answering, name)
		case i > m.filter.index && (slices.Contains(rerouters, message) || clearsRoute(fields)):
			c.found(RouteChangedLater, Warning, f, m.in,
				fmt.Sprintf("filter %s may have the route chosen anew after the chain of the first one has run; that of the new one does not", name),
				fmt.Sprintf("put it in front of %s, or see to it that both routes have the same chain", m.filter.name))
		}
	}
	if len(answering) > 0 {
		c.found(FilterOrder, Note, m.filter.node, m.in,
			fmt.Sprintf("filter %s may answer requests by itself: no chain sees those, nor shapes their answers", several(answering, "and")),
			"leave it so if that is meant, or put it behind "+m.filter.name)
	}
}

// clearsRoute reports whether a filter's fields have a clear_route_cache that is on.
func clearsRoute(n strictyaml.Node) bool {
	return anywhere(n, 0, func(name string, v strictyaml.Node) bool {
		return (name == "clear_route_cache" || name == "clearRouteCache") && v.Text() == "true"
	})
}

// upgrades looks for upgraded connections that have filters of their own.
func (c *checker) upgrades(m *manager) {
	for i, u := range m.msg.GetUpgradeConfigs() {
		if len(u.GetFilters()) == 0 {
			continue
		}
		n := at(m.node, "upgrade_configs", i)
		found := false
		for _, f := range at(n, "filters").Items {
			message, fields := extension(at(f, "typed_config"))
			var other extproc.ExternalProcessor
			if message == extProcMsg {
				_, err := decode(fields, &other)
				found = found || err == nil && c.leadsToEngine(&other)
			}
		}
		if !found {
			c.found(UpgradeBypass, Error, n, m.in,
				fmt.Sprintf("%s connections pass without any chain: their own filters do not lead to the engine", strings.ToLower(u.GetUpgradeType())),
				"put the engine's filter into these filters too, or take them out")
		}
	}
}

// upgradeTypes are the upgrades that are allowed where a route says nothing.
func (m *manager) upgradeTypes() []string {
	var types []string
	for _, u := range m.msg.GetUpgradeConfigs() {
		if u.GetEnabled() == nil || u.GetEnabled().GetValue() {
			types = append(types, strings.ToLower(u.GetUpgradeType()))
		}
	}
	return types
}
