package check

import (
	"fmt"
	"slices"
	"strings"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extproc "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"policyengine.dev/runtime/extproc/negotiate"
	"policyengine.dev/tools/pectl/envoyconfig/message"
	"policyengine.dev/tools/pectl/envoyconfig/needs"
)

// leadsToEngine reports whether an external processing filter is the engine's: it
// carries a stamp, or names the engine's cluster.
func (c *checker) leadsToEngine(f *extproc.ExternalProcessor) bool {
	return c.leads(f.GetGrpcService()) || strings.HasPrefix(httpTarget(f), c.options.ClusterName)
}

// leads reports whether a gRPC service is the engine.
func (c *checker) leads(s *core.GrpcService) bool {
	for _, h := range s.GetInitialMetadata() {
		if h.GetKey() == negotiate.StampKey {
			return true
		}
	}
	return target(s) == c.options.ClusterName
}

// target is the cluster, or the URI, that a gRPC service names.
func target(s *core.GrpcService) string {
	if g := s.GetGoogleGrpc(); g != nil {
		return g.GetTargetUri()
	}
	return s.GetEnvoyGrpc().GetClusterName()
}

func httpTarget(f *extproc.ExternalProcessor) string {
	return f.GetHttpService().GetHttpService().GetHttpUri().GetCluster()
}

// filter looks at the engine's filter, after the routes.
func (c *checker) filter(m *manager) {
	u := m.filter
	c.filterEntry(u, m)
	f := u.msg
	if f.GetHttpService() != nil {
		c.found(NotGRPC, Error, at(u.fields, "http_service"), u.in, "the filter sends HTTP requests, which the engine does not answer",
			"use grpc_service")
		return
	}
	c.openings(u)
	c.rules(u, m)
	c.namespaces(u)
	c.paths(m)
	c.clientCerts(m)
	c.attributes(u, m)
	c.modifiers(u)
	s := c.setupOf(u, nil)
	c.setup(s)
	for _, chain := range c.chainsOf(m) {
		c.decompressed(m, chain)
		if m.plain[chain.Name] || m.unseen && !chain.NeedsOwnMode(c.needs.Engine.Filter.PreferModeOverride) {
			c.serve(s, chain)
		}
	}
}

// openings looks at single fields that let requests pass the chains.
func (c *checker) openings(u *use) {
	f := u.msg
	if f.GetFailureModeAllow() {
		c.found(FailureModeAllow, Error, at(u.fields, "failure_mode_allow"), u.in,
			"requests pass without any chain when the engine cannot be reached, fails or takes too long", "take it out, or set it to false")
	}
	if f.GetObservabilityMode() {
		c.found(Observability, Error, at(u.fields, "observability_mode"), u.in,
			"Envoy does not wait for the engine: nothing is ever refused or changed", "take it out, or set it to false; to try policies out, give them mode: shadow")
	}
	if f.GetDisableImmediateResponse() {
		c.found(ImmediateResponses, Error, at(u.fields, "disable_immediate_response"), u.in,
			"Envoy answers 500 instead of every answer that a chain makes itself, and lets the request pass where it fails open", "take it out, or set it to false")
	}
	if f.GetForwardRules() != nil {
		c.found(HeadersWithheld, Warning, at(u.fields, "forward_rules"), u.in,
			"policies do not see every header that the upstream gets, and cannot refuse a request for one that they do not see", "take forward_rules out")
	}
}

// filterEntry looks at the HTTP filter around the settings.
func (c *checker) filterEntry(u *use, m *manager) {
	const remedy = "take disabled out, or switch the filter on in typed_per_filter_config of a route, a virtual host or the route configuration"
	switch {
	case len(m.off) > 0:
		c.found(FilterDisabled, Error, at(u.node, "disabled"), u.in,
			"requests pass without any chain where the filter is not switched on, as on "+several(valuesOf(m.off), "and"), remedy)
	case u.disabled() && m.unseen:
		c.found(FilterDisabled, Warning, at(u.node, "disabled"), u.in,
			"requests pass without any chain on every route that does not switch the filter on, and not every route was checked", remedy)
	}
	if as[*hcm.HttpFilter](u.node).GetIsOptional() {
		c.found(FilterOptional, Warning, at(u.node, "is_optional"), u.in,
			"an Envoy that does not know the filter leaves it out in silence", "take is_optional out")
	}
}

// chainsOf are the chains that a connection manager's requests can have: all of
// them, where its routes are not known.
func (c *checker) chainsOf(m *manager) []*needs.Chain {
	var all []*needs.Chain
	for _, chain := range c.needs.Chains {
		if m.unseen || m.chains[chain.Name] {
			all = append(all, chain)
		}
	}
	return all
}

// rules looks at what the filter lets the engine change.
func (c *checker) rules(u *use, m *manager) {
	rules, n := u.msg.GetMutationRules(), at(u.fields, "mutation_rules")
	switch {
	case rules.GetDisallowAll().GetValue():
		c.found(MutationRules, Error, at(n, "disallow_all"), u.in, "no header that a policy sets or removes is changed", "take disallow_all out")
	case rules.GetDisallowSystem().GetValue():
		c.found(MutationRules, Error, at(n, "disallow_system"), u.in, "policies cannot change :path and :status", "take disallow_system out")
	}
	for _, name := range []string{"allow_expression", "disallow_expression"} {
		if there(at(n, name)) {
			c.found(MutationRules, Warning, at(n, name), u.in,
				"the engine is not told which headers this keeps from being changed: such a change of a policy is lost", "take it out, or see to it that no policy changes those headers")
		}
	}
	var rerouting []string
	for _, chain := range c.chainsOf(m) {
		if chain.Reroute {
			rerouting = append(rerouting, chain.Name)
		}
	}
	action := u.msg.GetRouteCacheAction()
	if off := u.msg.GetDisableClearRouteCache(); len(rerouting) > 0 && (off || action == extproc.ExternalProcessor_RETAIN) {
		name := "route_cache_action"
		if off {
			name = "disable_clear_route_cache"
		}
		c.found(RerouteOff, Error, at(u.fields, name), u.in,
			fmt.Sprintf("chain %s has reroute: true, and Envoy keeps the first route nevertheless", several(rerouting, "and")), "take it out")
	}
	if action == extproc.ExternalProcessor_CLEAR {
		c.found(RouteCacheCleared, Warning, at(u.fields, "route_cache_action"), u.in,
			"Envoy selects the route again after the first route's chain has run; the new route's chain does not run", "remove it: chains with reroute: true request it themselves")
	}
	if len(rerouting) > 0 && !rules.GetAllowAllRouting().GetValue() {
		c.found(MutationRules, Warning, at(n, "allow_all_routing"), u.in,
			fmt.Sprintf("chain %s has reroute: true, and may change the path only: the engine refuses requests whose method or authority a policy changes", several(rerouting, "and")),
			"set mutation_rules.allow_all_routing, or see to it that no policy changes them")
	}
}

// namespaces looks whether the filter lets in what policies tell other filters.
func (c *checker) namespaces(u *use) {
	untyped := u.msg.GetMetadataOptions().GetReceivingNamespaces().GetUntyped()
	if !slices.Contains(untyped, needs.Namespace) {
		c.found(DynamicMetadata, Warning, at(u.fields, "metadata_options"), u.in,
			"dynamic metadata that policies set is dropped", "add "+needs.Namespace+" to metadata_options.receiving_namespaces.untyped")
	}
}

// attributes looks for what the engine has to be told.
func (c *checker) attributes(u *use, m *manager) {
	request, response := u.msg.GetRequestAttributes(), u.msg.GetResponseAttributes()
	if route := c.needs.Engine.Route.Attribute; route != "" && !slices.Contains(request, route) {
		c.found(RouteNameMissing, Error, at(u.fields, "request_attributes"), u.in,
			"the engine is not told the route's name, and refuses every request with ROUTE_MISSING", fmt.Sprintf("add %s to request_attributes", route))
	}
	for _, chain := range c.chainsOf(m) {
		for _, direction := range []struct {
			field      string
			want, have []string
		}{{"request_attributes", chain.RequestAttributes, request}, {"response_attributes", chain.ResponseAttributes, response}} {
			for _, name := range direction.want {
				if !slices.Contains(direction.have, name) {
					c.found(AttributeMissing, Error, at(u.fields, direction.field), u.in,
						fmt.Sprintf("a condition in chain %q reads %s, which is not sent: its policy errs", chain.Name, name),
						fmt.Sprintf("add %s to %s", name, direction.field))
				}
			}
		}
	}
	if u.msg.GetProcessingMode().GetResponseHeaderMode() != extproc.ProcessingMode_SKIP && !slices.Contains(response, needs.CodeDetails) {
		c.found(CodeDetailsMissing, Warning, at(u.fields, "response_attributes"), u.in,
			"the engine cannot tell responses that Envoy makes before there is a route from an upstream's, and replaces them by a 500",
			fmt.Sprintf("add %s to response_attributes", needs.CodeDetails))
	}
}

func (c *checker) modifiers(u *use) {
	for field, node := range map[string]*message.Node{
		"processing_request_modifier": at(u.fields, "processing_request_modifier"),
		"on_processing_response":      at(u.fields, "on_processing_response"),
	} {
		if there(node) {
			c.found(RequestModified, Warning, node, u.in, "an extension changes what the engine is shown, or acts on what it answers", "take "+field+" out, unless it is known what it does")
		}
	}
}

// setup looks at what a filter is set up to do, whatever the chain.
func (c *checker) setup(s *setup) {
	if s.mode.GetRequestHeaderMode() == extproc.ProcessingMode_SKIP {
		c.found(HeadersSkipped, Error, at(s.at, "processing_mode", "request_header_mode"), s.in,
			"requests pass without any request policy: their headers are not sent to the engine", "set request_header_mode to SEND")
	}
	for direction, modes := range map[string]struct {
		body    extproc.ProcessingMode_BodySendMode
		trailer extproc.ProcessingMode_HeaderSendMode
	}{
		"request":  {s.mode.GetRequestBodyMode(), s.mode.GetRequestTrailerMode()},
		"response": {s.mode.GetResponseBodyMode(), s.mode.GetResponseTrailerMode()},
	} {
		if modes.body == extproc.ProcessingMode_FULL_DUPLEX_STREAMED && modes.trailer != extproc.ProcessingMode_SEND {
			c.found(FullDuplexTrailers, Error, at(s.at, "processing_mode", direction+"_body_mode"), s.in,
				fmt.Sprintf("a %s with trailers passes before its chain has decided, and what policies hold back is lost: its body is in full duplex, and its trailers are not sent", direction),
				fmt.Sprintf("set %s_trailer_mode to SEND", direction))
		}
	}
	c.metadata(s)
	c.stamp(s)
	c.service(s)
}

// stamp compares what the engine takes the filter to do with what it does.
func (c *checker) stamp(s *setup) {
	metadata := s.metadataNode()
	if s.unreadable != nil {
		c.found(StampUnreadable, Error, metadata, s.in,
			fmt.Sprintf("the engine cannot read the stamp, and takes the filter for one with Envoy's defaults: %v", s.unreadable),
			fmt.Sprintf("write %s: %s", negotiate.StampKey, s.actual.Stamp()))
		return
	}
	c.timeout(s)
	c.headerLimit(s)
	over, under := differences(&s.claimed, &s.actual)
	rule, severity, who, remedy := StampMismatch, Error, "the stamp", fmt.Sprintf("write %s: %s", negotiate.StampKey, s.actual.Stamp())
	if !s.stamped {
		rule, who = StampMissing, "there is no stamp, and engine.yaml"
		remedy = "add to initial_metadata " + negotiate.StampKey + ": " + s.actual.Stamp()
	}
	switch {
	case len(over) > 0:
		c.found(rule, severity, metadata, s.in,
			fmt.Sprintf("%s says what the filter does not do (%s): what the engine relies on does not happen", who, strings.Join(over, ", ")), remedy)
	case len(under) > 0:
		c.found(rule, Warning, metadata, s.in,
			fmt.Sprintf("%s does not say what the filter does (%s): the engine makes no use of it", who, strings.Join(under, ", ")), remedy)
	}
}

// differences are the settings that are claimed and not there, and those that are
// there and not claimed.
func differences(claimed, actual *negotiate.Settings) (over, under []string) {
	for _, f := range []struct {
		name            string
		claimed, actual bool
	}{
		{"allow_mode_override", claimed.ModeOverride, actual.ModeOverride},
		{"response headers", !claimed.SkipResponseHeaders, !actual.SkipResponseHeaders},
		{"request trailers", claimed.RequestTrailers, actual.RequestTrailers},
		{"response trailers", claimed.ResponseTrailers, actual.ResponseTrailers},
		{"mutation_rules.allow_all_routing", claimed.Routing, actual.Routing},
		{"mutation_rules.allow_envoy", claimed.EnvoyHeaders, actual.EnvoyHeaders},
		{"changes of :path and :status", !claimed.NoSystem, !actual.NoSystem},
		{"changes of headers", !claimed.NoHeaders, !actual.NoHeaders},
		{"xds.route_name in request_attributes", claimed.RouteName, actual.RouteName},
	} {
		switch {
		case f.claimed && !f.actual:
			over = append(over, f.name)
		case f.actual && !f.claimed:
			under = append(under, f.name)
		}
	}
	return over, under
}

// timeout compares message_timeout with what the engine takes it to be.
func (c *checker) timeout(s *setup) {
	n := at(s.fields, "message_timeout")
	if n.Unreadable() {
		return // reported
	}
	if s.perRoute {
		n = s.metadataNode()
	}
	claimed, real := s.claimed.Timeout(), s.actual.MessageTimeout
	says := "the stamp says"
	if !s.stamped {
		says = "engine.yaml says"
	}
	switch {
	case real <= 0:
		c.found(MessageTimeout, Error, n, s.in, "Envoy gives up at once: every request is answered 504", "set message_timeout to 1s, or take it out for 200ms")
	case real < claimed:
		c.found(MessageTimeout, Error, n, s.in,
			fmt.Sprintf("Envoy waits %s for an answer, and %s %s: policies that are given that time are cut off with 504", real, says, claimed),
			fmt.Sprintf("set message_timeout to %s, or the stamp's timeout to %s", seconds(claimed), real))
	case real > claimed:
		c.found(MessageTimeout, Warning, n, s.in,
			fmt.Sprintf("Envoy waits %s for an answer, and %s %s: policies get less time than there is", real, says, claimed),
			fmt.Sprintf("set the stamp's timeout to %s", real))
	}
}

// headerLimit compares how many headers a request may have, and how large they may be,
// with what the engine takes it to be.
func (c *checker) headerLimit(s *setup) {
	for _, l := range []struct {
		what          string
		claimed, real int
	}{
		{"%d headers", s.claimed.HeaderLimit(), s.actual.HeaderLimit()},
		{"%d KiB of headers", s.claimed.HeaderBytes() >> 10, s.actual.HeaderBytes() >> 10},
	} {
		if l.claimed == l.real || s.fragment {
			continue
		}
		then := "the engine refuses requests to which policies add headers beyond that"
		if l.claimed > l.real {
			then = "Envoy answers 500 to requests to which policies add headers beyond its limit"
		}
		c.found(HeaderLimit, Warning, s.metadataNode(), s.in,
			fmt.Sprintf("the connection manager lets a request have "+l.what+", and the engine takes it to allow %d: %s", l.real, l.claimed, then),
			fmt.Sprintf("write %s: %s", negotiate.StampKey, s.actual.Stamp()))
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%gs", d.Seconds()) }
