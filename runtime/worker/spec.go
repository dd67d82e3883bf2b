package worker

import (
	"encoding/json"
	"time"
)

// Spec is a whole configuration of chains and routes, decoded but not checked.
type Spec struct {
	// Version names this configuration in metrics and dumps, such as a hash of
	// its source.
	Version string
	Chains  []ChainSpec
	Routes  []RouteSpec
	// OnUnknownRoute says what becomes of a request on a route that no entry
	// of Routes names. The zero value denies.
	OnUnknownRoute UnknownRoute
	// Positions say where the Spec's paths stand in its source. nil knows none. It is
	// asked before Check, Preview or Update returns, and not kept.
	Positions Positions
}

// UnknownRoute is what becomes of a request on a route that has no chain.
type UnknownRoute uint8

const (
	// DenyUnknownRoute answers ROUTE_UNKNOWN.
	DenyUnknownRoute UnknownRoute = iota
	// ContinueUnknownRoute lets the request pass without any policy.
	ContinueUnknownRoute
)

// RouteSpec gives a route its chain.
type RouteSpec struct {
	// Name is the route's name in Envoy's configuration, or a pattern over its
	// segments between slashes: * is one segment, ** at the end any rest. An exact
	// name goes before a pattern, and the more specific pattern before the less.
	Name string
	// Chain is the name of a chain. Empty if Deny is set.
	Chain string
	// Deny denies requests on the route with ROUTE_UNKNOWN, whatever OnUnknownRoute is. It
	// is for routes that a control plane has no good chain for. Two patterns of which one
	// denies need not be ordered.
	Deny bool
}

// ChainSpec is an ordered list of policies.
type ChainSpec struct {
	Name     string
	Policies []PolicySpec
	// OnReject lists policies whose response phases shape the engine's own
	// immediate responses, in list order.
	OnReject []PolicySpec
	// BodyLimit bounds a whole body, in bytes; 0 leaves it to the engine's
	// own limit.
	BodyLimit int64
	// NoRequestBody and NoResponseBody refuse policies that need that body.
	NoRequestBody, NoResponseBody bool
	// Reroute asks Envoy to choose the route anew when a policy has changed
	// method, path, authority or one of RerouteHeaders.
	Reroute        bool
	RerouteHeaders []string

	digest Digest
	sealed bool
}

// PolicySpec is one step of a chain, before it is resolved.
type PolicySpec struct {
	// ID tells two uses of a policy in one chain apart; empty counts as Name.
	ID string
	// Name and Version say which policy: "v1.2.3" that one, "v1.2" or "v1" the
	// highest such version compiled in.
	Name, Version string
	// Params is a JSON object, or empty.
	Params json.RawMessage
	// When is a CEL condition (package expr); empty is always true.
	When string
	// Mode is to enforce by default.
	Mode Mode
	// OnError says what an error of the policy means; by default to deny.
	OnError OnError
	// Timeout bounds one call; 0 means what is left of the budget, at most
	// [MaxDefaultTimeout].
	Timeout time.Duration
	// Required refuses the update when the policy has not started.
	Required bool
	// Skippable lets earlier policies of the chain skip the step: see [policy.SkipRest].
	Skippable bool
	// Disabled leaves the step out. It is checked all the same: New is called,
	// and Start is not.
	Disabled bool
}

// Mode says whether a policy's answers count.
type Mode uint8

const (
	// Enforce applies what the policy answers.
	Enforce Mode = iota
	// Shadow runs the policy, records what it answers, and changes nothing.
	Shadow
)

// String is the mode's name in the configuration.
func (m Mode) String() string {
	if m == Shadow {
		return "shadow"
	}
	return "enforce"
}

// OnError is what an error of a policy means for the request.
type OnError uint8

const (
	// DenyOnError denies the request.
	DenyOnError OnError = iota
	// ContinueOnError goes on with the next policy.
	ContinueOnError
)

// MaxDefaultTimeout bounds a step that has no timeout of its own.
const MaxDefaultTimeout = 500 * time.Millisecond
