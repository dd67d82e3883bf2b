package check

import (
	"fmt"
	"strings"

	"policyengine.dev/sdk/strictyaml"
)

// File is a configuration, or a part of one.
type File struct {
	// Name is used in messages.
	Name string
	// Src is YAML or JSON.
	Src []byte
}

// limits fit the dump of a large configuration.
var limits = strictyaml.Limits{Bytes: MaxFile, Depth: 200, Nodes: 2_000_000}

// MaxFile is the size of a file, in bytes, that is read at most.
const MaxFile = 32 << 20

// resources are the parts of a configuration, by what Envoy knows them for.
type resources struct {
	listeners []strictyaml.Node
	routes    map[string]strictyaml.Node
	clusters  map[string]strictyaml.Node
	// scopes choose among route configurations, hosts are the virtual hosts that
	// come by themselves, by the route configuration that they belong to, and
	// extensions are filters' configurations.
	scopes     map[string]strictyaml.Node
	hosts      map[string][]strictyaml.Node
	extensions map[string]strictyaml.Node
	// dynamic are the kinds of resources of which others may come from
	// elsewhere. A file without a bootstrap may be any part of the whole.
	dynamic map[string]bool
}

const (
	envoyConfig = "envoy.config."
	listenerMsg = envoyConfig + "listener.v3.Listener"
	routesMsg   = envoyConfig + "route.v3.RouteConfiguration"
	clusterMsg  = envoyConfig + "cluster.v3.Cluster"

	scopeMsg     = envoyConfig + "route.v3.ScopedRouteConfiguration"
	hostMsg      = envoyConfig + "route.v3.VirtualHost"
	extensionMsg = envoyConfig + "core.v3.TypedExtensionConfig"
)

// The kinds of resources.
const (
	listeners = "listeners"
	routes    = "routes"
	clusters  = "clusters"
)

// gather reads the files' resources. All that is wrong is in the error.
func gather(files []File) (*resources, error) {
	r := &resources{
		routes: map[string]strictyaml.Node{}, clusters: map[string]strictyaml.Node{}, dynamic: map[string]bool{},
		scopes: map[string]strictyaml.Node{}, hosts: map[string][]strictyaml.Node{}, extensions: map[string]strictyaml.Node{},
	}
	var found strictyaml.Diagnostics
	bootstrap := false
	for _, f := range files {
		root, err := strictyaml.ParseWithin(limits, f.Name, f.Src)
		if err != nil {
			found.AddError(root, err)
			continue
		}
		before := r.count()
		bootstrap = r.document(root) || bootstrap
		if r.count() == before {
			found.Add(root.Problem("no listener, no route configuration and no cluster in it",
				"give a bootstrap configuration, the resources of LDS, RDS or CDS, or what Envoy's admin interface gives as /config_dump"))
		}
	}
	if !bootstrap {
		for _, kind := range []string{listeners, routes, clusters} {
			r.dynamic[kind] = true
		}
	}
	return r, found.Err()
}

func (r *resources) count() int {
	return len(r.listeners) + len(r.routes) + len(r.clusters) + len(r.scopes) + len(r.hosts) + len(r.extensions)
}

// document adds what a document has, and reports whether it is a bootstrap
// configuration or a dump of the whole.
func (r *resources) document(n strictyaml.Node) (whole bool) {
	if n.Kind() == strictyaml.List {
		for _, item := range n.Items {
			r.resource(item)
		}
		return false
	}
	switch {
	case there(at(n, "configs")):
		r.dump(at(n, "configs"))
		return true
	case there(at(n, "static_resources")), there(at(n, "dynamic_resources")):
		r.bootstrap(n, true, true)
		return true
	case there(at(n, "resources")): // a DiscoveryResponse
		for _, item := range at(n, "resources").Items {
			r.resource(item)
		}
	case there(n.At(listeners)), there(n.At(clusters)): // what is below static_resources
		r.static(n, true, true)
	default:
		r.resource(n)
	}
	return false
}

func (r *resources) bootstrap(n strictyaml.Node, withListeners, withClusters bool) {
	r.static(at(n, "static_resources"), withListeners, withClusters)
	dynamic := at(n, "dynamic_resources")
	for kind, config := range map[string]string{listeners: "lds_config", clusters: "cds_config"} {
		if there(at(dynamic, config)) {
			r.dynamic[kind] = true
		}
	}
}

func (r *resources) static(n strictyaml.Node, withListeners, withClusters bool) {
	if withListeners {
		for _, l := range at(n, listeners).Items {
			r.listeners = append(r.listeners, l)
		}
	}
	if withClusters {
		for _, c := range at(n, clusters).Items {
			r.clusters[at(c, "name").Text()] = c
		}
	}
}

// resource adds one resource of a kind that its type, or else its fields, tell.
func (r *resources) resource(n strictyaml.Node) {
	// A Resource wraps one.
	wrapper := ""
	if there(at(n, "resource")) {
		wrapper, n = at(n, "name").Text(), at(n, "resource")
	}
	message, n := extension(n)
	switch {
	case message == listenerMsg,
		message == "" && (there(at(n, "filter_chains")) || there(at(n, "default_filter_chain")) || there(at(n, "api_listener"))):
		r.listeners = append(r.listeners, n)
	case message == routesMsg, message == "" && there(at(n, "virtual_hosts")):
		r.routes[at(n, "name").Text()] = n
	case message == scopeMsg, message == "" && (there(at(n, "route_configuration_name")) || there(at(n, "route_configuration"))):
		r.scopes[at(n, "name").Text()] = n
	case message == hostMsg:
		// VHDS calls it by its route configuration and a domain.
		routes, _, _ := strings.Cut(at(n, "name").Text(), "/")
		if wrapper != "" {
			routes, _, _ = strings.Cut(wrapper, "/")
		}
		r.hosts[routes] = append(r.hosts[routes], n)
	case message == extensionMsg:
		r.extensions[at(n, "name").Text()] = n
	case message == clusterMsg, message == "" && (there(at(n, "load_assignment")) || there(at(n, "connect_timeout"))):
		r.clusters[at(n, "name").Text()] = n
	}
}

// dump adds what Envoy's /config_dump has. It is the whole of what is in force, and
// names static listeners and clusters twice.
func (r *resources) dump(configs strictyaml.Node) {
	kinds := map[string][]strictyaml.Node{}
	for _, config := range configs.Items {
		message, n := extension(config)
		kind := message[strings.LastIndexByte(message, '.')+1:]
		kinds[kind] = append(kinds[kind], n)
	}
	for _, n := range kinds["BootstrapConfigDump"] {
		r.bootstrap(at(n, "bootstrap"), kinds["ListenersConfigDump"] == nil, kinds["ClustersConfigDump"] == nil)
	}
	for kind, lists := range map[string][][2]string{
		"ListenersConfigDump":    {{"static_listeners", "listener"}, {"dynamic_listeners", "active_state.listener"}},
		"RoutesConfigDump":       {{"static_route_configs", "route_config"}, {"dynamic_route_configs", "route_config"}},
		"ScopedRoutesConfigDump": {{"inline_scoped_route_configs", "scoped_route_configs"}, {"dynamic_scoped_route_configs", "scoped_route_configs"}},
		"EcdsConfigDump":         {{"ecds_filters", "ecds_filter"}},
		"ClustersConfigDump":     {{"static_clusters", "cluster"}, {"dynamic_active_clusters", "cluster"}},
	} {
		for _, n := range kinds[kind] {
			for _, list := range lists {
				for _, item := range at(n, list[0]).Items {
					for step := range strings.SplitSeq(list[1], ".") {
						item = at(item, step)
					}
					if item.Kind() == strictyaml.List {
						for _, one := range item.Items {
							r.resource(one)
						}
					} else if there(item) {
						r.resource(item)
					}
				}
			}
		}
	}
	// What was not yet there when the dump was made is not part of it.
	clear(r.dynamic)
}

// named is n's name, or what number it has.
func named(n strictyaml.Node, field string, index int) string {
	if name := at(n, field).Text(); name != "" {
		return name
	}
	return fmt.Sprintf("#%d", index)
}
