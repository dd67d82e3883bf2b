package config

import (
	"encoding/json"
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
	RequestBody    bodyRule     `yaml:"requestBody"`
	ResponseBody   bodyRule     `yaml:"responseBody"`
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

// bodyRule is whether policies are refused that need a body.
type bodyRule bool

func (b *bodyRule) UnmarshalNode(n strictyaml.Node) error {
	return choose(n, b, "a rule for a body", []string{"auto", "never"}, []bodyRule{false, true})
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

func (c chainFile) spec() worker.ChainSpec {
	s := worker.ChainSpec{
		Name: c.Name, Policies: specs(c.Policies), OnReject: specs(c.OnReject),
		BodyLimit: int64(c.BodyLimit), Reroute: c.Reroute,
		NoRequestBody: bool(c.RequestBody), NoResponseBody: bool(c.ResponseBody),
	}
	for _, h := range c.RerouteHeaders {
		s.RerouteHeaders = append(s.RerouteHeaders, string(h))
	}
	s.Seal()
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
