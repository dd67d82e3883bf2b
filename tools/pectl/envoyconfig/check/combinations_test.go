package check_test

import (
	"fmt"
	"testing"

	"policyengine.dev/runtime/config"
	"policyengine.dev/tools/envoy"
	"policyengine.dev/tools/pectl/envoyconfig/check"
	"policyengine.dev/tools/pectl/envoyconfig/generate"
	"policyengine.dev/tools/pectl/envoyconfig/internal/sample"
)

// variation is one way to run an engine, or to have its configuration written.
type variation struct {
	name   string
	engine func(*config.Engine)
	o      func(*generate.Options)
}

func address(network, a string) func(*config.Engine) {
	return func(e *config.Engine) { e.Listeners[0].Address = config.Address{Network: network, Address: a} }
}

func overTLS(clientCA string) func(*config.Engine) {
	return func(e *config.Engine) { e.Listeners[0].TLS = &config.TLS{ClientCA: clientCA} }
}

// dimensions are what can be combined.
var dimensions = [][]variation{
	{
		{name: "tcp"},
		{name: "unix", engine: address("unix", "/run/engine.sock")},
		{name: "tls", engine: overTLS(""), o: func(o *generate.Options) { o.TLS = generate.TLS{CA: "ca.pem", SAN: "engine.example.org"} }},
		{name: "mtls", engine: overTLS("/ca.pem"), o: func(o *generate.Options) {
			o.TLS = generate.TLS{CA: "ca.pem", SAN: "spiffe://example.org/engine", Certificate: "envoy.pem", Key: "envoy.key"}
		}},
		{name: "several engines", o: func(o *generate.Options) { o.Addresses = []string{"engines.example.org:9001", "[::1]:9001"} }},
	},
	{
		{name: "modes as by default"},
		{name: "fixed modes", o: func(o *generate.Options) { o.FixedModes = true }},
		{name: "overrides", engine: prefers, o: func(o *generate.Options) { o.PreferModeOverride = true }},
	},
	{
		{name: "route name"},
		{name: "route metadata", engine: routeMetadata},
		{name: "stream metadata", engine: streamMetadata},
		{name: "virtual host", engine: func(e *config.Engine) { e.Route.Attribute = "xds.virtual_host_name" }},
	},
	{
		{name: "limits as they are"},
		{name: "large bodies", engine: func(e *config.Engine) { e.Limits.Body = 100 << 20 }},
		{name: "small bodies", engine: func(e *config.Engine) { e.Limits.Body = 1000 }},
	},
	{
		{name: "as by default"},
		{name: "everything said", o: func(o *generate.Options) {
			o.Routing, o.MaxHeaders, o.MaxRequests, o.MessageTimeout = true, 150, 1<<32-1, 1500e6
			o.RequestAttributes, o.ResponseAttributes = []string{"request.id"}, []string{"response.flags"}
		}},
	},
}

// kinds are the chains that an engine may have.
var kinds = [][]string{{"none"}, {"headers"}, {"rerouting", "trailers"}, nil}

// TestCombinations proves that whatever an engine is like and whatever is asked for,
// a check finds nothing wrong with what is written, and the pinned Envoy takes it: all
// of it at once, each with a listener and its own cluster.
func TestCombinations(t *testing.T) {
	var listeners, clusters []any
	combine(dimensions, nil, func(picked []variation) {
		engine := config.DefaultEngine()
		o := generate.Options{ClusterName: fmt.Sprint("engine-", len(clusters))}
		name := ""
		for _, v := range picked {
			name += v.name + ", "
			if v.engine != nil {
				v.engine(&engine)
			}
			if v.o != nil {
				v.o(&o)
			}
		}
		chains := kinds[len(clusters)%len(kinds)]
		n := sample.Needs(t, engine, chains...)
		tree := sample.Generated(t, n, o)
		if o.MaxHeaders > 0 {
			set(t, tree, "hcm.common_http_protocol_options.max_headers_count", fmt.Sprint(o.MaxHeaders))
		}
		if engine.Route.Attribute == "xds.virtual_host_name" {
			perHost(t, tree)
		}
		if r := run(t, tree, n, check.Options{ClusterName: o.ClusterName}); len(r.Findings) > 0 {
			t.Errorf("%s%v: found %s", name, chains, encode(t, r.Findings))
		}
		set(t, tree, "listener.name", o.ClusterName)
		static := tree["static_resources"].(sample.Tree)
		listeners, clusters = append(listeners, static["listeners"].([]any)...), append(clusters, static["clusters"].([]any)...)
	})
	if len(listeners) < 200 {
		t.Fatalf("%d combinations", len(listeners))
	}
	t.Run("Envoy", func(t *testing.T) {
		binary := envoy.Binary(t)
		dir := t.TempDir()
		sample.WriteCertificate(t, dir)
		validateIn(t, dir, binary, encode(t, sample.Tree{"static_resources": sample.Tree{"listeners": listeners, "clusters": clusters}}))
	})
}

func combine(dimensions [][]variation, picked []variation, use func([]variation)) {
	if len(dimensions) == 0 {
		use(picked)
		return
	}
	for _, v := range dimensions[0] {
		combine(dimensions[1:], append(picked[:len(picked):len(picked)], v), use)
	}
}

// perHost gives each route a virtual host of its name.
func perHost(t *testing.T, tree sample.Tree) {
	t.Helper()
	var hosts []any
	for i, route := range get(t, tree, stepsOf("host.routes")).([]any) {
		hosts = append(hosts, sample.Tree{"name": route.(sample.Tree)["name"], "domains": []any{fmt.Sprintf("host-%d.example.org", i)}, "routes": []any{route}})
	}
	put(t, tree, stepsOf("routes.virtual_hosts"), hosts, false)
}
