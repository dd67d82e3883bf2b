package config

import (
	"encoding/json"
	"fmt"
	"time"

	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/strictyaml"
)

// The shape of a file of chains and routes.
type chainsFile struct {
	Chains         []chainFile  `yaml:"chains"`
	Routes         []routeFile  `yaml:"routes"`
	OnUnknownRoute unknownRoute `yaml:"onUnknownRoute"`
}

type chainFile struct {
	Name           string       `yaml:"name,required"`
	Policies       []policyFile `yaml:"policies,required"`
	OnReject       []policyFile `yaml:"onReject"`
	BodyLimit      size         `yaml:"bodyLimit"`
	Reroute        bool         `yaml:"reroute"`
	RerouteHeaders []headerName `yaml:"rerouteHeaders"`
}

type policyFile struct {
	ID       string   `yaml:"id"`
	Name     string   `yaml:"name,required"`
	Version  string   `yaml:"version,required"`
	Params   params   `yaml:"params"`
	When     string   `yaml:"when"`
	Mode     mode     `yaml:"mode"`
	OnError  onError  `yaml:"onError"`
	Timeout  positive `yaml:"timeout"`
	Required bool     `yaml:"required"`
	Enabled  *bool    `yaml:"enabled"`
}

type routeFile struct {
	Name  string `yaml:"name,required"`
	Chain string `yaml:"chain,required"`
}

type unknownRoute worker.UnknownRoute

func (u *unknownRoute) UnmarshalNode(n strictyaml.Node) error {
	return choose(n, u, "what can be done with an unknown route", []string{"deny", "continue"},
		[]unknownRoute{unknownRoute(worker.DenyUnknownRoute), unknownRoute(worker.ContinueUnknownRoute)})
}

type mode worker.Mode

func (m *mode) UnmarshalNode(n strictyaml.Node) error {
	return choose(n, m, "a mode", []string{"enforce", "shadow"}, []mode{mode(worker.Enforce), mode(worker.Shadow)})
}

type onError worker.OnError

func (o *onError) UnmarshalNode(n strictyaml.Node) error {
	return choose(n, o, "what an error can mean", []string{"deny", "continue"},
		[]onError{onError(worker.DenyOnError), onError(worker.ContinueOnError)})
}

type headerName string

func (h *headerName) UnmarshalNode(n strictyaml.Node) error {
	if n.Kind() != strictyaml.String || !policy.ValidHeaderName(n.Text()) {
		return n.Problem("not a header name", "write one such as x-tenant; method, path and authority need not be named")
	}
	*h = headerName(exchange.Lower(n.Text()))
	return nil
}

// params is a policy's parameters, whose schema the worker knows.
type params json.RawMessage

func (p *params) UnmarshalNode(n strictyaml.Node) error {
	if n.Kind() != strictyaml.Mapping {
		return n.Problem("parameters are a mapping", "write the parameters' names and values, or leave the field out")
	}
	*p = params(n.JSON())
	return nil
}

// File is one file of chains and routes.
type File struct {
	// Name is used in messages only.
	Name string
	Src  []byte
}

// ParseChains decodes the files of one configuration together, in their order. The
// spec's version is a hash of them. The error is strictyaml.Diagnostics with every
// problem of every file; spec and positions then hold what could be decoded, so
// that the worker can look for more that is wrong: see [Update.Problems].
//
// What only a worker can tell (whether a policy exists, whether its parameters
// fit, whether a route's chain is there) is left to it.
func ParseChains(files []File) (worker.Spec, Positions, error) {
	m := merger{spec: worker.Spec{Version: version(files)}, names: map[string]strictyaml.Node{}, routes: map[string]strictyaml.Node{}}
	for _, f := range files {
		root, err := strictyaml.ParseWithin(limits, f.Name, f.Src)
		if err != nil {
			m.found.AddError(root, err)
			m.at.incomplete = true
			continue
		}
		var document chainsFile
		m.found.AddError(root, root.Decode(&document))
		m.add(root, document)
	}
	return m.spec, m.at, m.found.Err()
}

// limits fit a configuration of some ten thousand routes in one file.
var limits = strictyaml.Limits{Bytes: maxFile, Nodes: 1_000_000}

// merger makes one spec of several files.
type merger struct {
	spec    worker.Spec
	at      Positions
	found   strictyaml.Diagnostics
	unknown strictyaml.Node // where onUnknownRoute was given first

	names, routes map[string]strictyaml.Node
}

func (m *merger) add(root strictyaml.Node, f chainsFile) {
	m.at.roots = append(m.at.roots, root)
	for i, c := range f.Chains {
		n := root.At("chains", i)
		m.once(m.names, n.At("name"), c.Name, "chain")
		m.at.chains = append(m.at.chains, n)
		m.spec.Chains = append(m.spec.Chains, c.spec())
	}
	for i, r := range f.Routes {
		n := root.At("routes", i)
		m.once(m.routes, n.At("name"), r.Name, "route")
		m.at.routes = append(m.at.routes, n)
		m.spec.Routes = append(m.spec.Routes, worker.RouteSpec{Name: r.Name, Chain: r.Chain})
	}
	n := root.At("onUnknownRoute")
	switch {
	case n.Kind() == strictyaml.Missing:
	case m.unknown.Kind() != strictyaml.Missing:
		m.found.Add(n.KeyProblem("given twice, first in "+position(m.unknown), "keep one of the two"))
	default:
		m.unknown = n
		m.spec.OnUnknownRoute = worker.UnknownRoute(f.OnUnknownRoute)
	}
}

// once reports a name that is empty or was given before.
func (m *merger) once(seen map[string]strictyaml.Node, n strictyaml.Node, name, what string) {
	if n.Kind() != strictyaml.String {
		return // reported when it was decoded
	}
	if name == "" {
		m.found.Add(n.Problem("a "+what+" without a name", "give it one"))
		return
	}
	if first, twice := seen[name]; twice {
		m.found.Add(n.Problem(fmt.Sprintf("a second %s of this name, the first is in %s", what, position(first)), "name or remove one of them"))
		return
	}
	seen[name] = n
}

func position(n strictyaml.Node) string {
	line, _ := n.Position()
	return fmt.Sprintf("%s:%d", n.File(), line)
}

func (c chainFile) spec() worker.ChainSpec {
	s := worker.ChainSpec{
		Name: c.Name, Policies: specs(c.Policies), OnReject: specs(c.OnReject),
		BodyLimit: int64(c.BodyLimit), Reroute: c.Reroute,
	}
	for _, h := range c.RerouteHeaders {
		s.RerouteHeaders = append(s.RerouteHeaders, string(h))
	}
	return s
}

func specs(policies []policyFile) []worker.PolicySpec {
	var all []worker.PolicySpec
	for _, p := range policies {
		all = append(all, worker.PolicySpec{
			ID: p.ID, Name: p.Name, Version: p.Version, Params: json.RawMessage(p.Params), When: p.When,
			Mode: worker.Mode(p.Mode), OnError: worker.OnError(p.OnError), Timeout: time.Duration(p.Timeout),
			Required: p.Required, Disabled: p.Enabled != nil && !*p.Enabled,
		})
	}
	return all
}
