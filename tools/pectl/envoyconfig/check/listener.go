package check

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"policyengine.dev/runtime/extproc/negotiate"
	"policyengine.dev/tools/pectl/envoyconfig/generate"
	"policyengine.dev/tools/pectl/envoyconfig/message"
)

const hcmMsg = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"

// defaultBufferLimit is Envoy's per_connection_buffer_limit_bytes.
const defaultBufferLimit = 1 << 20

func (c *checker) listener(n *message.Node, in scope, except bool) {
	buffer := int64(defaultBufferLimit)
	if v := as[*listenerv3.Listener](n).GetPerConnectionBufferLimitBytes(); v != nil {
		buffer = int64(v.GetValue())
	}
	chains := filterChains(n)
	internal := there(at(n, "internal_listener")) && c.behindEngine(n)
	visit := func(network *message.Node, in scope) {
		kind, fields := extension(network)
		if there(at(network, "config_discovery")) && !except {
			c.delivered(at(network, "config_discovery"), in)
		}
		if kind == hcmMsg && !except {
			c.looked.ConnectionManagers++
			c.connectionManager(fields, in, buffer, internal)
		}
	}
	for i, chain := range chains {
		in := in
		if len(chains) > 1 {
			in = in.within("filter chain", named(chain, "name", i))
		}
		for _, f := range at(chain, "filters").Items {
			if config := at(f, "typed_config"); there(config) {
				visit(config, in)
			} else {
				visit(f, in)
			}
		}
	}
	if api := at(n, "api_listener", "api_listener"); there(api) {
		visit(api, in)
	}
}

// delivered reports a connection manager that may be among what is delivered.
func (c *checker) delivered(discovery *message.Node, in scope) {
	for _, t := range at(discovery, "type_urls").Items {
		if message.TypeName(t.Text()) == hcmMsg {
			c.complete = false
			c.found(FilterUnseen, Warning, discovery, in, "the connection manager comes from elsewhere, and was not checked", "check what the control plane sends in its place")
		}
	}
}

// behindEngine reports whether requests reach an internal listener only by way of
// others whose requests pass the engine.
func (c *checker) behindEngine(internal *message.Node) bool {
	name := at(internal, "name").Text()
	leading := map[string]bool{}
	for _, cluster := range c.resources.clusters {
		if at(cluster, "load_assignment").Anywhere(func(field string, v *message.Node) bool {
			return field == "server_listener_name" && v.Text() == name
		}) {
			leading[at(cluster, "name").Text()] = true
		}
	}
	if len(leading) == 0 || c.resources.dynamic[listeners] {
		return false
	}
	for _, l := range c.resources.listeners {
		if at(l, "name").Text() == name {
			continue
		}
		for _, chain := range filterChains(l) {
			for _, f := range at(chain, "filters").Items {
				kind, fields := extension(at(f, "typed_config"))
				switch {
				case kind == hcmMsg && c.hasEngine(at(fields, "http_filters")):
				case kind == hcmMsg && !there(at(fields, "route_config")):
					return false // it may lead anywhere
				case fields.Anywhere(func(_ string, v *message.Node) bool { return leading[v.Text()] }):
					return false
				}
			}
		}
	}
	return true
}

func (c *checker) hasEngine(filters *message.Node) bool {
	for _, f := range filters.Items {
		if c.isEngine(at(f, "typed_config")) && !as[*hcm.HttpFilter](f).GetDisabled() {
			return true
		}
	}
	return false
}

func filterChains(listener *message.Node) []*message.Node {
	var chains []*message.Node
	for _, chain := range at(listener, "filter_chains").Items {
		chains = append(chains, chain)
	}
	if chain := at(listener, "default_filter_chain"); there(chain) {
		chains = append(chains, chain)
	}
	return chains
}

// manager is a connection manager that is checked.
type manager struct {
	node   *message.Node
	in     scope
	msg    *hcm.HttpConnectionManager
	buffer int64 // bytes; 0 is no limit
	filter *use
	// chains are the names of the chains that its requests can have, plain
	// those of them on routes without settings of their own. unseen says that
	// there may be others.
	chains, plain map[string]bool
	unseen        bool
	// names are those of all its filters; off are the routes, by their places, on
	// which the filter is not switched on, though it has to be.
	names map[string]bool
	off   map[string]string
	// others says that there are other filters that lead to the engine; on are
	// the routes on which this one runs then.
	others bool
	on     map[string]string
	// decompressors are those behind the filter, buffers the filters in front of
	// it that hold bodies.
	decompressors []*message.Node
	holders       []*message.Node
}

// connectionManager looks at one. passed says that its requests have passed the engine
// already.
func (c *checker) connectionManager(n *message.Node, in scope, buffer int64, passed bool) {
	msg := as[*hcm.HttpConnectionManager](n)
	base := manager{node: n, in: in, msg: msg, buffer: buffer, names: map[string]bool{}}
	for _, list := range c.filterLists(n, msg, in) {
		for _, f := range list.filters.Items {
			base.names[at(f, "name").Text()] = true
		}
	}
	if passed && !c.hasEngine(at(n, "http_filters")) {
		return
	}
	looked := 0
	for i, list := range c.filterLists(n, msg, in) {
		base.in = list.in
		before := c.looked.Routes
		c.filters(base, list)
		if i == 0 {
			looked = c.looked.Routes
		} else {
			c.looked.Routes = before // the same once more
		}
	}
	c.looked.Routes = looked
}

// filterList is a list of HTTP filters that requests may go through.
type filterList struct {
	filters, owner *message.Node
	in             scope
}

// filterLists are those of a connection manager: its own and that of each upgrade that
// has one.
func (c *checker) filterLists(n *message.Node, msg *hcm.HttpConnectionManager, in scope) []filterList {
	lists := []filterList{{at(n, "http_filters"), n, in}}
	for i, u := range msg.GetUpgradeConfigs() {
		if len(u.GetFilters()) > 0 {
			place := at(n, "upgrade_configs", i)
			lists = append(lists, filterList{at(place, "filters"), place, in.within("upgrade", strings.ToLower(u.GetUpgradeType()))})
		}
	}
	return lists
}

// filters looks at a connection manager's requests as far as they go through list.
func (c *checker) filters(base manager, list filterList) {
	upgrade := list.owner != base.node
	uses := c.engineFilters(list.filters, list.owner, list.in, upgrade)
	if len(uses) == 0 {
		if !upgrade {
			m := base
			m.start()
			c.routesOf(&m) // they say which chains there are, for other managers
		}
		return
	}
	routes := c.looked.Routes
	var all []*manager
	for _, u := range uses {
		m := base
		m.start()
		m.filter, m.others = u, u.index != uses[0].index || uses[len(uses)-1].index != u.index
		if n := m.msg.GetCommonHttpProtocolOptions().GetMaxHeadersCount(); n != nil && n.GetValue() != negotiate.DefaultMaxHeaders {
			u.maxHeaders = int(n.GetValue())
		}
		if n := m.msg.GetMaxRequestHeadersKb(); n != nil && n.GetValue() != negotiate.DefaultMaxHeadersKB {
			u.maxHeadersKB = int(n.GetValue())
		}
		c.neighbours(list.filters, &m)
		c.looked.Routes = routes
		c.routesOf(&m)
		all = append(all, &m)
	}
	c.together(all)
	for _, m := range all {
		c.filter(m)
	}
}

// together looks at filters that lead to the engine and are switched on here and
// there, as gateways write them for each of their policies: on each route one of them
// has to be, and no more.
func (c *checker) together(all []*manager) {
	if !all[0].others {
		return
	}
	first, twice := map[string]int{}, map[string]string{}
	for _, m := range all {
		for place, route := range m.on {
			if index, seen := first[place]; seen && index != m.filter.index {
				twice[place] = route
			}
			first[place] = m.filter.index
		}
	}
	for _, m := range all {
		maps.DeleteFunc(m.off, func(place, _ string) bool { _, on := first[place]; return on })
	}
	if len(twice) > 0 {
		last := all[len(all)-1].filter
		c.found(FilterTwice, Warning, last.node, all[0].in,
			"a second filter leads to the engine: every chain runs twice for each request, as on "+several(valuesOf(twice), "and"), "keep one of the two")
	}
}

// valuesOf are a map's values, sorted, each once.
func valuesOf(m map[string]string) []string {
	return slices.Compact(slices.Sorted(maps.Values(m)))
}

// buffer is how much Envoy holds of a message, in bytes; 0 is no limit.
type buffer struct {
	limit int64
	// over says of which connections this is so, field where it is set.
	over, field string
}

// buffers are the connection manager's. For HTTP/2 it is the window of a stream that
// counts, whatever the listener says.
func (m *manager) buffers() []buffer {
	window := int64(generate.DefaultStreamWindow)
	if w := m.msg.GetHttp2ProtocolOptions().GetInitialStreamWindowSize(); w != nil {
		window = int64(w.GetValue())
	}
	ofListener := buffer{m.buffer, "", "per_connection_buffer_limit_bytes of the listener"}
	ofStream := buffer{window, " over HTTP/2", "http2_protocol_options.initial_stream_window_size of the connection manager"}
	switch m.msg.GetCodecType() {
	case hcm.HttpConnectionManager_AUTO:
		return []buffer{ofListener, ofStream}
	case hcm.HttpConnectionManager_HTTP1:
		return []buffer{ofListener}
	case hcm.HttpConnectionManager_HTTP2:
		return []buffer{ofStream}
	}
	return nil // HTTP/3 has limits of its own
}

func (m *manager) start() {
	m.chains, m.plain = map[string]bool{}, map[string]bool{}
	m.off, m.on = map[string]string{}, map[string]string{}
}

// Filters that answer from what they have kept, and those that rewrite what routing
// reads, as the names of their messages say.
var (
	caches    = []string{"envoy.extensions.filters.http.cache.v3.CacheConfig", "envoy.extensions.filters.http.cache_v2.v3.CacheV2Config"}
	rerouters = []string{"envoy.extensions.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder"}
)

const (
	decompressorMsg   = "envoy.extensions.filters.http.decompressor.v3.Decompressor"
	bufferMsg         = "envoy.extensions.filters.http.buffer.v3.Buffer"
	bufferPerRouteMsg = "envoy.extensions.filters.http.buffer.v3.BufferPerRoute"
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
func (c *checker) neighbours(filters *message.Node, m *manager) {
	var answering []string
	for i, f := range filters.Items {
		kind, fields := extension(at(f, "typed_config"))
		name := named(f, "name", i)
		switch {
		case i < m.filter.index && slices.Contains(caches, kind):
			c.found(FilterOrder, Error, f, m.in,
				fmt.Sprintf("filter %s answers from its cache before any chain has seen the request", name),
				fmt.Sprintf("put it behind %s", m.filter.name))
		case i < m.filter.index && kind == bufferMsg:
			m.holders = append(m.holders, f)
		case i < m.filter.index && kind == routerMsg:
			c.found(FilterOrder, Error, f, m.in,
				fmt.Sprintf("filter %s stands behind the router, which requests do not get past", m.filter.name), "put it in front of the router")
		case i < m.filter.index && answers(kind) && !c.isEngine(at(f, "typed_config")):
			answering = append(answering, name)
		case i > m.filter.index && kind == decompressorMsg:
			m.decompressors = append(m.decompressors, f)
		case i > m.filter.index && (slices.Contains(rerouters, kind) || clearsRoute(fields)):
			c.found(RouteChangedLater, Warning, f, m.in,
				fmt.Sprintf("filter %s may change the route after the first route's chain has run; the new route's chain does not run", name),
				fmt.Sprintf("put it before %s, or give both routes the same chain", m.filter.name))
		}
	}
	if len(answering) > 0 {
		c.found(FilterOrder, Note, m.filter.node, m.in,
			fmt.Sprintf("filter %s may answer requests by itself: no chain sees those, nor shapes their answers", several(answering, "and")),
			"leave it so if that is meant, or put it behind "+m.filter.name)
	}
}

// clearsRoute reports whether a filter's fields have a clear_route_cache that is on.
func clearsRoute(n *message.Node) bool {
	return n.Anywhere(func(name string, v *message.Node) bool {
		return name == "clear_route_cache" && v.Bool()
	})
}

// upgradeTypes are the upgrades that are allowed for routes without their own setting.
func (m *manager) upgradeTypes() []string {
	var types []string
	for _, u := range m.msg.GetUpgradeConfigs() {
		if u.GetEnabled() == nil || u.GetEnabled().GetValue() {
			types = append(types, strings.ToLower(u.GetUpgradeType()))
		}
	}
	return types
}
