package config

import (
	"bytes"
	"encoding/json"

	configv1 "policyengine.dev/proto/policyengine/config/v1"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/exchange"
)

// ChainSpec returns what the worker makes a chain from. The message should be valid: see
// package schema.
func ChainSpec(c *configv1.Chain) worker.ChainSpec {
	s := worker.ChainSpec{
		Name: c.Name, Policies: policySpecs(c.Policies), OnReject: policySpecs(c.OnReject),
		BodyLimit: int64(c.BodyLimit), Reroute: c.Reroute,
		NoRequestBody:  c.RequestBody == configv1.BodyRule_BODY_RULE_NEVER,
		NoResponseBody: c.ResponseBody == configv1.BodyRule_BODY_RULE_NEVER,
	}
	for _, h := range c.RerouteHeaders {
		s.RerouteHeaders = append(s.RerouteHeaders, exchange.Lower(h))
	}
	s.Seal()
	return s
}

func policySpecs(steps []*configv1.Step) []worker.PolicySpec {
	if len(steps) == 0 {
		return nil
	}
	all := make([]worker.PolicySpec, len(steps))
	for i, s := range steps {
		all[i] = worker.PolicySpec{
			ID: s.Id, Name: s.Name, Version: s.Version, Params: compact(s.Params), When: s.When,
			Timeout: s.Timeout.AsDuration(), Required: s.Required, Disabled: s.Enabled != nil && !*s.Enabled, Skippable: s.Skippable,
		}
		if s.Mode == configv1.Mode_MODE_SHADOW {
			all[i].Mode = worker.Shadow
		}
		if s.OnError == configv1.OnError_ON_ERROR_CONTINUE {
			all[i].OnError = worker.ContinueOnError
		}
	}
	return all
}

// compact is JSON text without white space, so that the same parameters are the same
// whichever source they come from.
func compact(params string) json.RawMessage {
	if params == "" {
		return nil
	}
	var b bytes.Buffer
	b.Grow(len(params))
	if json.Compact(&b, []byte(params)) != nil {
		return json.RawMessage(params) // the worker reports it
	}
	return b.Bytes()
}

// RouteSpec returns what the worker makes a route from.
func RouteSpec(r *configv1.Route) worker.RouteSpec {
	return worker.RouteSpec{Name: r.Name, Chain: r.Chain}
}

// UnknownRoute returns what becomes of requests on unknown routes. d may be nil.
func UnknownRoute(d *configv1.Defaults) worker.UnknownRoute {
	if d.GetOnUnknownRoute() == configv1.OnUnknownRoute_ON_UNKNOWN_ROUTE_CONTINUE {
		return worker.ContinueUnknownRoute
	}
	return worker.DenyUnknownRoute
}
