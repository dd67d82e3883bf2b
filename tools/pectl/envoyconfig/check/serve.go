package check

import (
	"fmt"
	"strings"

	extproc "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"

	"policyengine.dev/tools/pectl/envoyconfig/needs"
)

// lacking says what of a side's needs is not shown.
func lacking(direction string, side, shown needs.Side) []string {
	var all []string
	lacks := side.Lacks(shown)
	if lacks.Headers {
		all = append(all, direction+" headers")
	}
	if lacks.Body != extproc.ProcessingMode_NONE {
		all = append(all, fmt.Sprintf("the %s body (%s)", direction, lacks.Body))
	}
	if lacks.Trailers {
		all = append(all, direction+" trailers")
	}
	return all
}

// serve looks whether the filter shows a chain what it needs, by itself or because
// the engine asks for it.
func (c *checker) serve(s *setup, chain *needs.Chain) {
	// What the engine takes Envoy to show.
	request := needs.Side{Headers: true, Body: s.mode.GetRequestBodyMode(), Trailers: s.claimed.RequestTrailers}
	response := needs.Side{Headers: !s.claimed.SkipResponseHeaders, Body: s.mode.GetResponseBodyMode(), Trailers: s.claimed.ResponseTrailers}
	lacks := append(lacking("request", chain.Request, request), lacking("response", chain.Response, response)...)
	vain := request.Body != extproc.ProcessingMode_NONE && chain.Request.Body == extproc.ProcessingMode_NONE ||
		response.Body != extproc.ProcessingMode_NONE && chain.Response.Body == extproc.ProcessingMode_NONE

	// The engine takes overrides for granted only where it is told to, and would see
	// that one was ignored.
	engineOverrides := s.claimed.ModeOverride && !s.filter.GetSendBodyWithoutWaitingForHeaderResponse() && !fullDuplex(s.mode)
	relies := engineOverrides && c.needs.Engine.Filter.PreferModeOverride && chain.IgnoringShows(request, response)
	switch {
	case len(lacks) > 0 && !relies:
		c.refused(s, chain, lacks, engineOverrides)
	case len(lacks) > 0:
		c.overridden(s, chain, lacks)
	case vain && !engineOverrides:
		c.found(BodyInVain, Warning, at(s.at, "processing_mode"), s.in,
			fmt.Sprintf("Envoy sends bodies that chain %q does not want, and nothing can switch that off", chain.Name),
			"set the body modes to NONE and allow_mode_override to true, and update the stamp")
	}
}

// refused reports a chain whose requests the engine refuses, since it cannot have
// what it needs.
func (c *checker) refused(s *setup, chain *needs.Chain, lacks []string, overridable bool) {
	what := fmt.Sprintf("chain %q needs %s; ", chain.Name, strings.Join(lacks, ", "))
	const refuses = ", so the engine refuses its requests with FILTER_CANNOT_SERVE_CHAIN"
	const show = "give its routes a processing_mode that sends it, and update the stamp: see the output of pectl envoy-config"
	switch {
	case !c.needs.Engine.Filter.PreferModeOverride:
		c.found(NotShown, Error, at(s.at, "processing_mode"), s.in, what+"its processing_mode does not show it"+refuses, show)
	case overridable:
		c.found(NotShown, Error, at(s.at, "processing_mode"), s.in,
			what+"its processing_mode does not show it, and the engine would not see whether Envoy has ignored a mode override"+refuses, show)
	case fullDuplex(s.mode):
		c.found(FullDuplexBlocks, Error, at(s.at, "processing_mode"), s.in,
			what+"beside a body in full duplex, no mode override counts"+refuses,
			"give full duplex to single routes only, each with all that its chain needs: see what pectl envoy-config writes")
	case s.filter.GetSendBodyWithoutWaitingForHeaderResponse():
		c.found(SendWithoutWaiting, Error, at(s.fields, "send_body_without_waiting_for_header_response"), s.in,
			what+"where bodies do not wait for the reply to headers, no mode override counts"+refuses, "take send_body_without_waiting_for_header_response out")
	case !s.actual.ModeOverride:
		c.found(ModeOverrideOff, Error, at(s.fields, "allow_mode_override"), s.in,
			what+"the filter does not show it, and ignores mode overrides"+refuses,
			"set allow_mode_override to true, and update the stamp")
	case len(s.filter.GetAllowedOverrideModes()) > 0:
		c.found(ModeOverrideList, Error, at(s.fields, "allowed_override_modes"), s.in,
			what+"with a list of allowed modes the engine sends no mode override"+refuses,
			"take allowed_override_modes out, with a stamp that says mode_override")
	default:
		c.found(ModeOverrideOff, Error, s.metadataNode(), s.in,
			what+"the filter allows mode overrides, and the engine is not told"+refuses,
			"add mode_override to the stamp")
	}
}

// overridden checks that Envoy applies the mode overrides that the engine sends.
// If it ignores them, policies do not run, and no counter shows it.
func (c *checker) overridden(s *setup, chain *needs.Chain, lacks []string) {
	what := fmt.Sprintf("policies of chain %q that need %s do not run, and their requests pass until the engine notices: ", chain.Name, strings.Join(lacks, ", "))
	switch {
	case !s.actual.ModeOverride:
		c.found(ModeOverrideOff, Error, at(s.fields, "allow_mode_override"), s.in,
			what+"the engine is told that it may send mode overrides, and the filter ignores them", "set allow_mode_override to true")
		return
	case fullDuplex(s.filter.GetProcessingMode()):
		c.found(FullDuplexBlocks, Error, at(s.at, "processing_mode"), s.in,
			what+"with full duplex in the filter's own processing mode, Envoy ignores mode overrides on every route", "give full duplex to single routes only")
		return
	}
	const remedy = "give its routes their modes in settings of their own: see what pectl envoy-config writes"
	switch {
	case chain.HoldsRequest():
		c.found(FullDuplexOverride, Warning, at(s.at, "processing_mode"), s.in,
			fmt.Sprintf("chain %q holds back pieces of request bodies, and gets full duplex by a mode override only: the engine refuses requests with trailers and no declared length", chain.Name), remedy)
	case chain.Early():
		c.found(BufferedOverride, Warning, at(s.at, "processing_mode"), s.in,
			fmt.Sprintf("chain %q wants whole request bodies, and gets them by a mode override only: one over Envoy's buffer limit that comes faster than the override waits for the stream's idle timeout, rather than be answered 413", chain.Name), remedy)
	}
	allowed := s.filter.GetAllowedOverrideModes()
	if len(allowed) == 0 {
		return
	}
	// A request without a body asks for the response's part only, and one that
	// may have an empty body is not asked for in full duplex.
	short, streamed, kept := chain.Override(), chain.Override(), chain.Override()
	short.RequestBodyMode, short.RequestTrailerMode = extproc.ProcessingMode_NONE, extproc.ProcessingMode_SKIP
	if chain.HoldsRequest() {
		streamed.RequestBodyMode = extproc.ProcessingMode_STREAMED
	}
	if chain.KeepsResponseLength {
		// The response becomes STREAMED only when its headers are answered.
		short.ResponseBodyMode, kept.ResponseBodyMode = extproc.ProcessingMode_BUFFERED, extproc.ProcessingMode_BUFFERED
	}
	for _, want := range []*extproc.ProcessingMode{chain.Override(), short, streamed, kept} {
		if !contains(allowed, want) {
			c.found(ModeOverrideList, Error, at(s.fields, "allowed_override_modes"), s.in,
				what+"the list lacks the mode that the engine asks for, and Envoy compares modes as they are written (DEFAULT is not SEND)",
				"take allowed_override_modes out")
			return
		}
	}
	c.found(ModeOverrideList, Warning, at(s.fields, "allowed_override_modes"), s.in,
		"the list has the modes that chains need today; a changed chain may need another, and its policies would then not run", "take allowed_override_modes out")
}

// contains compares modes as Envoy does: by the numbers, but for the request's
// headers.
func contains(allowed []*extproc.ProcessingMode, m *extproc.ProcessingMode) bool {
	for _, a := range allowed {
		if a.GetRequestBodyMode() == m.GetRequestBodyMode() && a.GetRequestTrailerMode() == m.GetRequestTrailerMode() &&
			a.GetResponseHeaderMode() == m.GetResponseHeaderMode() && a.GetResponseBodyMode() == m.GetResponseBodyMode() &&
			a.GetResponseTrailerMode() == m.GetResponseTrailerMode() {
			return true
		}
	}
	return false
}
