// Package sample has an engine with a chain of every kind, and Envoy configurations
// around what it needs, for tests.
package sample

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"policyengine.dev/runtime/admin"
	"policyengine.dev/runtime/config"
	"policyengine.dev/sdk/strictyaml"
	"policyengine.dev/tools/pectl/envoyconfig/generate"
	"policyengine.dev/tools/pectl/envoyconfig/needs"
)

// Chains has a chain of every kind that makes a difference to Envoy.
var Chains = map[string]admin.ChainDump{
	"headers":   {Name: "headers", Phases: []string{"request_headers"}, RequestAttributes: []string{"source.address"}},
	"responses": {Name: "responses", Phases: []string{"request_headers", "response_headers"}, ResponseAttributes: []string{"upstream.address"}},
	"bodies":    {Name: "bodies", Phases: []string{"request_headers", "request_body", "response_body"}, BodyLimit: 4 << 20},
	"pieces":    {Name: "pieces", Phases: []string{"request_body_chunks"}},
	"readings":  {Name: "readings", Phases: []string{"request_body_chunks", "response_body_chunks"}, ReadsRequestChunks: true, ReadsResponseChunks: true},
	"decoded":   {Name: "decoded", Phases: []string{"response_body_chunks"}, DecodesResponseBody: true, HoldsResponseChunks: true},
	"trailers":  {Name: "trailers", Phases: []string{"request_trailers"}},
	"holding":   {Name: "holding", Phases: []string{"request_body_chunks", "response_headers"}, HoldsRequestChunks: true},
	"rerouting": {Name: "rerouting", Phases: []string{"request_headers"}, Reroute: true, RerouteHeaders: []string{"x-tenant"}},
	"paths":     {Name: "paths", Phases: []string{"request_headers"}, Steps: []admin.StepDump{{When: `request.path.startsWith("/admin")`}}},
	"certs":     {Name: "certs", Phases: []string{"request_headers"}, Steps: []admin.StepDump{{When: `"x-forwarded-client-cert" in request.headers && request.headers["x-forwarded-client-cert"] != ""`}}},
	"none":      {Name: "none", Phases: []string{}},
}

// Dump is the dump of an engine with the named chains, each with a route that is
// named after it. No name stands for all chains.
func Dump(chains ...string) admin.Dump {
	if len(chains) == 0 {
		chains = slices.Sorted(maps.Keys(Chains))
	}
	c := &admin.ConfigDump{Version: "one", Routes: map[string]string{}, OnUnknownRoute: "deny"}
	for _, name := range chains {
		chain, ok := Chains[name]
		if !ok {
			panic("no chain " + name)
		}
		c.Chains = append(c.Chains, chain)
		c.Routes["to-"+name] = name
	}
	return admin.Dump{Ready: true, Config: c}
}

// Needs are the needs of an engine with the named chains, as Dump has them.
func Needs(tb testing.TB, engine config.Engine, chains ...string) *needs.Needs {
	tb.Helper()
	n, err := needs.New(engine, Dump(chains...))
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

// Tree is a part of an Envoy configuration.
type Tree = map[string]any

// Any is an extension's configuration.
func Any(message string, fields Tree) Tree {
	all := Tree{"@type": "type.googleapis.com/" + message}
	maps.Copy(all, fields)
	return all
}

// Parse decodes YAML or JSON.
func Parse(tb testing.TB, src []byte) Tree {
	tb.Helper()
	root, err := strictyaml.Parse("config", src)
	if err != nil {
		tb.Fatalf("%v\n%s", err, src)
	}
	var t Tree
	if err := json.Unmarshal(root.JSON(), &t); err != nil {
		tb.Fatal(err)
	}
	return t
}

// Bootstrap is a whole configuration around the parts that package generate writes:
// a listener with the filter in it, and a route for each of the engine's, which Envoy
// answers itself.
func Bootstrap(n *needs.Needs, parts Tree) Tree {
	blocks, _ := parts["routes"].(Tree)
	var routes []any
	for _, r := range n.Routes {
		route := Tree{
			"name": r.Name, "match": Tree{"path": "/" + r.Name},
			"direct_response": Tree{"status": 200, "body": Tree{"inline_string": r.Name}},
		}
		if block, ok := blocks[r.Name].(Tree); ok {
			maps.Copy(route, block)
		}
		routes = append(routes, route)
	}
	return BootstrapWith(parts, routes)
}

// BootstrapWith is [Bootstrap] with routes as they are given.
func BootstrapWith(parts Tree, routes []any) Tree {
	listener := Tree{
		"name": "main", "address": Tree{"socket_address": Tree{"address": "127.0.0.1", "port_value": 0}},
		"filter_chains": []any{Tree{"filters": []any{Tree{
			"name": "envoy.filters.network.http_connection_manager",
			"typed_config": Any("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", Tree{
				"stat_prefix": "ingress",
				"http_filters": []any{
					parts["http_filter"],
					Tree{"name": "envoy.filters.http.router", "typed_config": Any("envoy.extensions.filters.http.router.v3.Router", nil)},
				},
				"route_config": Tree{"name": "routes", "virtual_hosts": []any{Tree{
					"name": "all", "domains": []any{"*"}, "routes": routes,
				}}},
			}),
		}}}},
	}
	if fields, ok := parts["connection_manager"].(Tree); ok {
		manager := listener["filter_chains"].([]any)[0].(Tree)["filters"].([]any)[0].(Tree)["typed_config"].(Tree)
		maps.Copy(manager, fields)
	}
	if fields, ok := parts["listener"].(Tree); ok {
		maps.Copy(listener, fields)
	}
	return Tree{
		"admin":            Tree{"address": Tree{"socket_address": Tree{"address": "127.0.0.1", "port_value": 0}}},
		"static_resources": Tree{"listeners": []any{listener}, "clusters": []any{parts["cluster"]}},
	}
}

// Generated is [Bootstrap] around what package generate writes.
func Generated(tb testing.TB, n *needs.Needs, o generate.Options) Tree {
	tb.Helper()
	d, err := generate.New(n, o)
	if err != nil {
		tb.Fatal(err)
	}
	var b jsonBuffer
	if err := d.WriteJSON(&b); err != nil {
		tb.Fatal(err)
	}
	return Bootstrap(n, Parse(tb, b))
}

type jsonBuffer []byte

func (b *jsonBuffer) Write(p []byte) (int, error) {
	*b = append(*b, p...)
	return len(p), nil
}
