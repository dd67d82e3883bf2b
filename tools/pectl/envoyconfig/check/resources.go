package check

import (
	"fmt"
	"strings"

	"policyengine.dev/sdk/strictyaml"
	"policyengine.dev/tools/pectl/envoyconfig/envoyyaml"
	"policyengine.dev/tools/pectl/envoyconfig/message"
)

// File is a configuration, or a part of one.
type File struct {
	// Name is used in messages. Envoy takes a file for JSON or YAML by the end of
	// its name, .json, .yaml or .yml; any other file is taken for what it is.
	Name string
	// Src is YAML or JSON.
	Src []byte
}

// limits fit the dump of a large configuration.
var limits = envoyyaml.Limits{Bytes: MaxFile, Depth: 200, Nodes: 2_000_000}

// MaxFile is the size of a file, in bytes, that is read at most.
const MaxFile = 32 << 20

// resources are the parts of a configuration, by what Envoy knows them for.
type resources struct {
	listeners []*message.Node
	routes    map[string]*message.Node
	clusters  map[string]*message.Node
	// scopes choose among route configurations, hosts are the virtual hosts that
	// come by themselves, by the route configuration that they belong to, and
	// extensions are filters' configurations.
	scopes     map[string]*message.Node
	hosts      map[string][]*message.Node
	extensions map[string]*message.Node
	// dynamic are the kinds of resources of which others may come from
	// elsewhere. A file without a bootstrap may be any part of the whole.
	dynamic map[string]bool
	// fragments are parts of listeners and routes that are put into configurations
	// which are not there.
	fragments []fragment
	// problems are what could not be read, told what is found on the way.
	problems []message.Problem
	told     []tale
	reader   *envoyyaml.Reader
}

// tale is a finding about a resource that is found when it is read.
type tale struct {
	rule            string
	severity        Severity
	at              *message.Node
	in              scope
	problem, remedy string
}

const (
	envoyConfig  = "envoy.config."
	bootstrapMsg = envoyConfig + "bootstrap.v3.Bootstrap"
	staticMsg    = bootstrapMsg + ".StaticResources"
	listenerMsg  = envoyConfig + "listener.v3.Listener"
	routesMsg    = envoyConfig + "route.v3.RouteConfiguration"
	clusterMsg   = envoyConfig + "cluster.v3.Cluster"

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
		reader: envoyyaml.NewReader(limits),
		routes: map[string]*message.Node{}, clusters: map[string]*message.Node{}, dynamic: map[string]bool{},
		scopes: map[string]*message.Node{}, hosts: map[string][]*message.Node{}, extensions: map[string]*message.Node{},
	}
	var found strictyaml.Diagnostics
	whole := false
	for _, f := range files {
		documents, err := r.reader.File(f.Name, f.Src)
		if err != nil {
			found.AddError(strictyaml.Node{}, err)
			continue
		}
		before := r.count()
		for _, v := range documents {
			whole = r.document(v) || whole
		}
		if r.count() == before {
			found.Add(documents[0].Problem("no listener, no route configuration and no cluster in it",
				"give a bootstrap configuration, the resources of LDS, RDS or CDS, what Envoy's admin interface gives as /config_dump, or one of these in a ConfigMap; an EnvoyFilter of Istio's; or an EnvoyExtensionPolicy, EnvoyPatchPolicy or EnvoyProxy of Envoy Gateway"))
		}
	}
	if !whole {
		for _, kind := range []string{listeners, routes, clusters} {
			r.dynamic[kind] = true
		}
	}
	return r, found.Err()
}

func (r *resources) count() int {
	return len(r.listeners) + len(r.routes) + len(r.clusters) + len(r.scopes) + len(r.hosts) + len(r.extensions) + len(r.fragments) + len(r.told)
}

// has reports whether a mapping has one of these fields, in either way to write it.
func has(v *envoyyaml.Value, names ...string) bool {
	for _, name := range names {
		for _, name := range []string{name, camel(name)} {
			if field := v.Get(name); field != nil && field.Kind != envoyyaml.Null {
				return true
			}
		}
	}
	return false
}

func camel(name string) string {
	words := strings.Split(name, "_")
	for i, w := range words[1:] {
		if w != "" {
			words[i+1] = strings.ToUpper(w[:1]) + w[1:]
		}
	}
	return strings.Join(words, "")
}

func (r *resources) decode(v *envoyyaml.Value, name string) *message.Node {
	n, problems := message.Decode(v, name)
	r.problems = append(r.problems, problems...)
	return n
}

func (r *resources) decodeAny(v *envoyyaml.Value) *message.Node {
	n, problems := message.DecodeAny(v)
	r.problems = append(r.problems, problems...)
	return n
}

// document adds what a document has, and reports whether it is a bootstrap
// configuration or a dump of the whole.
func (r *resources) document(v *envoyyaml.Value) (whole bool) {
	switch {
	case v.Kind == envoyyaml.List:
		for _, item := range v.Items {
			r.resource(item)
		}
	case v.Get("apiVersion") != nil && v.Get("kind") != nil:
		return r.kubernetes(v)
	case has(v, "configs"):
		r.dump(v.Get("configs"))
		return true
	case has(v, "static_resources", "dynamic_resources"):
		r.bootstrap(r.decode(v, bootstrapMsg), true, true)
		return true
	case has(v, "resources"): // a DiscoveryResponse
		for _, item := range v.Get("resources").Items {
			r.resource(item)
		}
	case has(v, listeners, clusters): // what is below static_resources
		r.static(r.decode(v, staticMsg), true, true)
	default:
		r.resource(v)
	}
	return false
}

func (r *resources) bootstrap(n *message.Node, withListeners, withClusters bool) {
	r.static(at(n, "static_resources"), withListeners, withClusters)
	dynamic := at(n, "dynamic_resources")
	for kind, config := range map[string]string{listeners: "lds_config", clusters: "cds_config"} {
		if there(at(dynamic, config)) {
			r.dynamic[kind] = true
		}
	}
}

func (r *resources) static(n *message.Node, withListeners, withClusters bool) {
	if withListeners {
		for _, l := range at(n, listeners).Items {
			r.add(l)
		}
	}
	if withClusters {
		for _, c := range at(n, clusters).Items {
			r.add(c)
		}
	}
}

// resource adds one resource of a kind that its type, or else its fields, tell.
func (r *resources) resource(v *envoyyaml.Value) {
	wrapper := ""
	if inner := v.Get("resource"); inner != nil { // a Resource wraps one
		if name := v.Get("name"); name != nil {
			wrapper = name.Text
		}
		v = inner
	}
	name := ""
	switch {
	case v.Get("@type") != nil:
		n := r.decodeAny(v)
		if n.Type() == hostMsg {
			r.host(n.Inner(), wrapper)
			return
		}
		r.add(n.Inner())
		return
	case has(v, "filter_chains", "default_filter_chain", "api_listener"):
		name = listenerMsg
	case has(v, "virtual_hosts"):
		name = routesMsg
	case has(v, "route_configuration_name", "route_configuration"):
		name = scopeMsg
	case has(v, "load_assignment", "connect_timeout"):
		name = clusterMsg
	default:
		return
	}
	r.add(r.decode(v, name))
}

// add adds a resource that was read.
func (r *resources) add(n *message.Node) {
	name := at(n, "name").Text()
	switch n.Type() {
	case listenerMsg:
		r.listeners = append(r.listeners, n)
	case routesMsg:
		r.routes[name] = n
	case scopeMsg:
		r.scopes[name] = n
	case extensionMsg:
		r.extensions[name] = n
	case clusterMsg:
		r.clusters[name] = n
	case hostMsg:
		r.host(n, "")
	}
}

// host adds a virtual host that VHDS brings. It calls it by its route configuration
// and a domain.
func (r *resources) host(n *message.Node, wrapper string) {
	if wrapper == "" {
		wrapper = at(n, "name").Text()
	}
	routes, _, _ := strings.Cut(wrapper, "/")
	r.hosts[routes] = append(r.hosts[routes], n)
}

// dump adds what Envoy's /config_dump has. It is the whole of what is in force, and
// names static listeners and clusters twice.
func (r *resources) dump(configs *envoyyaml.Value) {
	kinds := map[string][]*message.Node{}
	for _, config := range configs.Items {
		n := r.decodeAny(config)
		kinds[n.Type()] = append(kinds[n.Type()], n)
	}
	const admin = "envoy.admin.v3."
	for _, n := range kinds[admin+"BootstrapConfigDump"] {
		r.bootstrap(at(n, "bootstrap"), kinds[admin+"ListenersConfigDump"] == nil, kinds[admin+"ClustersConfigDump"] == nil)
	}
	for kind, lists := range map[string][][]any{
		"ListenersConfigDump":    {{"static_listeners", "listener"}, {"dynamic_listeners", "active_state", "listener"}},
		"RoutesConfigDump":       {{"static_route_configs", "route_config"}, {"dynamic_route_configs", "route_config"}},
		"ScopedRoutesConfigDump": {{"inline_scoped_route_configs", "scoped_route_configs"}, {"dynamic_scoped_route_configs", "scoped_route_configs"}},
		"EcdsConfigDump":         {{"ecds_filters", "ecds_filter"}},
		"ClustersConfigDump":     {{"static_clusters", "cluster"}, {"dynamic_active_clusters", "cluster"}},
	} {
		for _, n := range kinds[admin+kind] {
			for _, list := range lists {
				for _, item := range at(n, list[0]).Items {
					item = at(item, list[1:]...)
					r.add(item.Inner())
					for _, one := range item.Items {
						r.add(one.Inner())
					}
				}
			}
		}
	}
	// Resources that Envoy did not have at the time of the dump are not part of it.
	clear(r.dynamic)
}

// named is n's name, or what number it has.
func named(n *message.Node, field string, index int) string {
	if name := at(n, field).Text(); name != "" {
		return name
	}
	return fmt.Sprintf("#%d", index)
}
