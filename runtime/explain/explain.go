package explain

import (
	"fmt"
	"strings"

	"policyengine.dev/runtime/admin"
	"policyengine.dev/runtime/extproc/negotiate"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
)

// Engine is what counts of engine.yaml.
type Engine struct {
	// BodyLimit is limits.body, in bytes.
	BodyLimit int64
	// Memory bounds all bodies in flight together, in bytes; 0 leaves it to the process.
	Memory int64
	// Filter is what engine.yaml declares of the filter.
	Filter negotiate.Settings
	// PreferModeOverride has the engine ask for request bodies by mode overrides.
	PreferModeOverride bool
}

// The types of an explanation. Fields are added, never renamed. No value of it is secret.
type (
	// Explanation is what an engine does with requests on one route.
	Explanation struct {
		Route string `json:"route"`
		// Version is the configuration's.
		Version string `json:"version"`
		// Entry is the entry of routes that serves the route, empty if none does, and Kind
		// is exact, pattern or none.
		Entry string `json:"entry,omitempty"`
		Kind  string `json:"kind"`
		Why   string `json:"why"`
		// Others are the entries that fit the route and do not serve it, the more specific
		// before the less.
		Others []Other `json:"others,omitempty"`
		// Chain and what follows are missing if no entry serves the route.
		Chain *admin.ChainDump `json:"chain,omitempty"`
		// Phases are the phases in which steps run, in the order of an exchange, and OnReject those
		// that shape the engine's own answers.
		Phases   []Phase `json:"phases,omitempty"`
		OnReject []Phase `json:"onReject,omitempty"`
		Envoy    *Envoy  `json:"envoy,omitempty"`
		Limits   *Limits `json:"limits,omitempty"`
	}
	// Other is an entry that fits a route and does not serve it.
	Other struct {
		Entry string `json:"entry"`
		Chain string `json:"chain"`
		Why   string `json:"why"`
	}
	// Phase is one phase and the ids of its steps, in the order in which they run.
	Phase struct {
		Phase string   `json:"phase"`
		Steps []string `json:"steps"`
	}
	// Envoy is what the filter has to show of an exchange, in the words of its processing_mode.
	Envoy struct {
		RequestHeaders   string `json:"requestHeaders"`
		RequestBody      string `json:"requestBody"`
		RequestTrailers  string `json:"requestTrailers"`
		ResponseHeaders  string `json:"responseHeaders"`
		ResponseBody     string `json:"responseBody"`
		ResponseTrailers string `json:"responseTrailers"`
		// ModeOverride says when the engine sends a mode override.
		ModeOverride string `json:"modeOverride"`
	}
	// Limits are the bounds on one exchange.
	Limits struct {
		// BodyLimit bounds a whole body in bytes, and BodyLimitFrom says what sets it.
		BodyLimit     int64  `json:"bodyLimit"`
		BodyLimitFrom string `json:"bodyLimitFrom"`
		// Memory bounds all bodies in flight together, in bytes; 0 leaves it to the process.
		Memory int64 `json:"memory,omitempty"`
		// Budget bounds the steps at each message. It is nine tenths of MessageTimeout, which
		// engine.yaml declares. A filter's stamp counts instead, if it has one.
		Budget         string `json:"budget"`
		MessageTimeout string `json:"messageTimeout"`
		// Steps are the bounds on one call of each step.
		Steps []StepLimit `json:"steps,omitempty"`
	}
	// StepLimit bounds one call of a step.
	StepLimit struct {
		ID string `json:"id"`
		// Timeout is the longest that a call may take: the step's timeout, or what the
		// budget leaves of it.
		Timeout string `json:"timeout"`
		// Half says that the step gets at most half of what is left of the budget, since later
		// steps decide even if it takes too long.
		Half bool `json:"half,omitempty"`
	}
)

// Route explains what an engine with this configuration does with requests on a route.
func Route(s *worker.Snapshot, route string, engine Engine) *Explanation {
	e := &Explanation{Route: route, Version: s.Version(), Kind: "none"}
	matches := s.Matches(route)
	if len(matches) == 0 {
		e.Why = "no entry of routes fits the name, and onUnknownRoute is deny: requests are answered ROUTE_UNKNOWN"
		if s.UnknownRoutes() == worker.ContinueUnknownRoute {
			e.Why = "no entry of routes fits the name, and onUnknownRoute is continue: requests pass without any policy"
		}
		return e
	}
	first := matches[0]
	e.Entry, e.Kind, e.Why = first.Entry, "exact", "an entry has exactly this name"
	if first.Entry != route {
		e.Kind, e.Why = "pattern", "it is the only pattern that fits, and no entry has exactly this name"
		if len(matches) > 1 {
			e.Why = "it is the most specific pattern that fits, and no entry has exactly this name"
		}
	}
	for _, m := range matches[1:] {
		o := Other{Entry: m.Entry, Why: "an exact name goes before a pattern"}
		if m.Chain != nil {
			o.Chain = m.Chain.Name()
		}
		if e.Kind == "pattern" {
			o.Why = lessSpecific(m.Entry, first.Entry)
		}
		e.Others = append(e.Others, o)
	}
	if first.Chain == nil {
		e.Why += "; it denies every request with ROUTE_UNKNOWN, because the control plane has sent no valid chain for it"
		return e
	}
	e.chain(first.Chain, engine)
	return e
}

// lessSpecific says why the pattern loser goes after the pattern winner, which fits nothing
// that loser does not fit.
func lessSpecific(loser, winner string) string {
	a, b := strings.Split(loser, "/"), strings.Split(winner, "/")
	for i, s := range a {
		switch {
		case i >= len(b):
			return fmt.Sprintf("less specific: %s goes on with %s, and %s ends", loser, s, winner)
		case s != b[i]:
			return fmt.Sprintf("less specific: its segment %d is %s, and %s has %s there", i+1, s, winner, b[i])
		}
	}
	return "less specific"
}

func (e *Explanation) chain(c *worker.Chain, engine Engine) {
	dump := admin.DumpChain(c)
	e.Chain = &dump
	for p := range policy.Phase(policy.PhaseCount) {
		if steps := c.Order(p); len(steps) > 0 {
			e.Phases = append(e.Phases, Phase{p.String(), steps})
		}
		if steps := c.RejectOrder(p); len(steps) > 0 {
			e.OnReject = append(e.OnReject, Phase{p.String(), steps})
		}
	}
	e.Envoy = envoy(c.Needs(), engine.PreferModeOverride)
	e.Limits = limits(c, engine)
}

func envoy(n worker.Needs, prefersOverride bool) *Envoy {
	request, response := negotiate.Demand(&n)
	headers := negotiate.Side{Headers: true}
	e := &Envoy{
		RequestHeaders: send(true), RequestBody: request.Body.String(), RequestTrailers: send(request.Trailers),
		ResponseHeaders: send(response.Headers), ResponseBody: response.Body.String(), ResponseTrailers: send(response.Trailers),
		ModeOverride: "only to ask for less than the route's processing_mode shows",
	}
	switch {
	case !prefersOverride || request.Met(headers) && response.Met(headers):
	case negotiate.IgnoringShows(request, response, headers, headers):
		e.ModeOverride = "to ask for this, if the filter allows mode overrides, and to ask for less than the route's processing_mode shows"
	default:
		e.ModeOverride += "; an ignored override would not show, so that the route's processing_mode has to show all of this"
	}
	if n.Conditional {
		e.ModeOverride += ". Conditions may leave out steps of later phases; the engine then asks for less"
	}
	return e
}

func send(is bool) string {
	if is {
		return "SEND"
	}
	return "SKIP"
}

func limits(c *worker.Chain, engine Engine) *Limits {
	allowed := negotiate.Declared(engine.Filter, negotiate.Expressions{})
	budget := allowed.Terms.Budget
	l := &Limits{
		BodyLimit: engine.BodyLimit, BodyLimitFrom: "limits.body of engine.yaml", Memory: engine.Memory,
		Budget: budget.String(), MessageTimeout: engine.Filter.Timeout().String(),
	}
	if own := c.Needs().BodyLimit; own > 0 {
		l.BodyLimit, l.BodyLimitFrom = own, "bodyLimit of the chain"
	}
	for step := range c.Steps {
		l.Steps = append(l.Steps, StepLimit{
			ID: step.ID, Timeout: min(step.Timeout, budget).String(),
			Half: step.Mode == worker.Shadow || step.OnError == worker.ContinueOnError,
		})
	}
	return l
}
