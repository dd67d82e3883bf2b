package check

import (
	"slices"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extproc "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"policyengine.dev/runtime/config"
	"policyengine.dev/runtime/extproc/negotiate"
	"policyengine.dev/tools/pectl/envoyconfig/message"
)

// use is the engine's filter in one connection manager.
type use struct {
	// node is the HTTP filter, fields what it is set up with.
	node, fields *message.Node
	index        int
	name         string
	in           scope
	msg          *extproc.ExternalProcessor
	// matched says that a matcher stands around the filter.
	matched bool
	// fragment says that only the filter is there, and not what is around it.
	fragment bool
	// maxHeaders and maxHeadersKB are the connection manager's max_headers_count
	// and max_request_headers_kb; 0 is Envoy's default.
	maxHeaders, maxHeadersKB int
}

// disabled reports whether the filter runs only where it is switched on.
func (u *use) disabled() bool { return as[*hcm.HttpFilter](u.node).GetDisabled() }

// setup is what a filter does for the routes that have the same settings.
type setup struct {
	// at is where the settings are, in what they belong to; perRoute says that
	// they are a route's. fields is where the filter's own are.
	at, fields *message.Node
	in         scope
	perRoute   bool
	// filter is what the filter says where routes do not.
	filter *extproc.ExternalProcessor

	mode     *extproc.ProcessingMode
	service  *core.GrpcService
	metadata []*core.HeaderValue

	// actual is what Envoy does, claimed what the engine takes it to do.
	actual, claimed negotiate.Settings
	fragment        bool
	// stamped says that claimed comes from a stamp, unreadable that there is
	// one that cannot be read.
	stamped    bool
	unreadable error
}

// setupOf is the setup where the levels' blocks, least specific first, are laid over
// the filter's own settings.
func (c *checker) setupOf(u *use, levels []*block) *setup {
	s := &setup{at: u.fields, fields: u.fields, in: u.in, filter: u.msg, fragment: u.fragment, mode: u.msg.GetProcessingMode(), service: u.msg.GetGrpcService()}
	var metadata []*core.HeaderValue
	for _, b := range levels {
		s.at, s.in, s.perRoute = at(b.node, "overrides"), b.in, true
		if b.settings.GetOverrides().GetProcessingMode() != nil {
			s.mode = b.settings.GetOverrides().GetProcessingMode()
		}
		if b.settings.GetOverrides().GetGrpcService() != nil {
			s.service = b.settings.GetOverrides().GetGrpcService()
			c.elsewhere(s, at(b.node, "overrides", "grpc_service"), u)
		}
		metadata = append(metadata, b.settings.GetOverrides().GetGrpcInitialMetadata()...)
	}
	s.actual = actual(u.msg, s.mode)
	s.actual.MaxHeaders, s.actual.MaxHeadersKB = u.maxHeaders, u.maxHeadersKB
	s.metadata = merged(s.service.GetInitialMetadata(), metadata)
	s.claim(c.needs.Engine.Filter)
	return s
}

// metadataNode is where the metadata of these settings is.
func (s *setup) metadataNode() *message.Node {
	if s.perRoute {
		return at(s.at, "grpc_initial_metadata")
	}
	return at(s.at, "grpc_service", "initial_metadata")
}

// claim works out what the engine takes the filter to do.
func (s *setup) claim(declared config.Filter) {
	for _, h := range s.metadata {
		if h.GetKey() == negotiate.StampKey {
			s.stamped = true
			// A stamp that cannot be read counts as Envoy's defaults.
			s.claimed, s.unreadable = negotiate.ParseStamp(h.GetValue())
			return
		}
	}
	s.claimed = negotiate.Settings{
		ModeOverride:        declared.AllowModeOverride && len(declared.AllowedOverrideModes) == 0,
		MessageTimeout:      declared.MessageTimeout,
		SkipResponseHeaders: declared.ProcessingMode.ResponseHeaders == config.HeaderModeSkip,
		RequestTrailers:     declared.ProcessingMode.RequestTrailers == config.HeaderModeSend,
		ResponseTrailers:    declared.ProcessingMode.ResponseTrailers == config.HeaderModeSend,
		Routing:             declared.MutationRules.AllowAllRouting,
		EnvoyHeaders:        declared.MutationRules.AllowEnvoy,
		NoSystem:            declared.MutationRules.DisallowSystem,
		NoHeaders:           declared.MutationRules.DisallowAll,
		MaxHeaders:          declared.MaxHeaders,
		MaxHeadersKB:        declared.MaxHeadersKB,
		RouteName:           declared.RouteName,
	}
}

// merged is base with the entries of over: by key, as Envoy merges them.
func merged(base, over []*core.HeaderValue) []*core.HeaderValue {
	all := append([]*core.HeaderValue(nil), base...)
next:
	for _, h := range over {
		for i := range all {
			if all[i].GetKey() == h.GetKey() {
				all[i] = h
				continue next
			}
		}
		all = append(all, h)
	}
	return all
}

// actual is what a filter does, as a stamp would say it. allowed_override_modes is
// looked at by itself.
func actual(f *extproc.ExternalProcessor, mode *extproc.ProcessingMode) negotiate.Settings {
	rules := f.GetMutationRules()
	return negotiate.Settings{
		ModeOverride:        f.GetAllowModeOverride(),
		MessageTimeout:      messageTimeout(f),
		SkipResponseHeaders: mode.GetResponseHeaderMode() == extproc.ProcessingMode_SKIP,
		RequestTrailers:     mode.GetRequestTrailerMode() == extproc.ProcessingMode_SEND,
		ResponseTrailers:    mode.GetResponseTrailerMode() == extproc.ProcessingMode_SEND,
		Routing:             rules.GetAllowAllRouting().GetValue(),
		EnvoyHeaders:        rules.GetAllowEnvoy().GetValue(),
		NoSystem:            rules.GetDisallowSystem().GetValue(),
		NoHeaders:           rules.GetDisallowAll().GetValue(),
		RouteName:           slices.Contains(f.GetRequestAttributes(), config.DefaultRouteAttribute),
	}
}

func messageTimeout(f *extproc.ExternalProcessor) time.Duration {
	if f.GetMessageTimeout() == nil {
		return negotiate.DefaultMessageTimeout
	}
	return f.GetMessageTimeout().AsDuration()
}

// fullDuplex reports whether a mode has a body in full duplex.
func fullDuplex(m *extproc.ProcessingMode) bool {
	const mode = extproc.ProcessingMode_FULL_DUPLEX_STREAMED
	return m.GetRequestBodyMode() == mode || m.GetResponseBodyMode() == mode
}
