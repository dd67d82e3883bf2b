package extproc_test

import (
	"math/rand/v2"
	"testing"

	modev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"policyengine.dev/runtime/extproc/negotiate"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
)

// inForce is what Envoy shows once a reply has been given.
type inForce struct {
	responseHeaders                   bool
	requestBody, responseBody         modev3.ProcessingMode_BodySendMode
	requestTrailers, responseTrailers bool
}

const (
	none       = modev3.ProcessingMode_NONE
	streamed   = modev3.ProcessingMode_STREAMED
	wholeBody  = modev3.ProcessingMode_BUFFERED
	fullDuplex = modev3.ProcessingMode_FULL_DUPLEX_STREAMED
)

// shows reports whether a step of the phase would see all that it has to see, by the
// filter's documentation and independently of how the kernel plans.
func (f inForce) shows(p policy.Phase, holds bool) bool {
	body, trailers := f.requestBody, f.requestTrailers
	if p.IsResponse() {
		body, trailers = f.responseBody, f.responseTrailers
		if !f.responseHeaders {
			return false
		}
	}
	switch p {
	case policy.RequestBody, policy.ResponseBody:
		return trailers && (body == wholeBody || body == fullDuplex)
	case policy.RequestBodyChunks, policy.ResponseBodyChunks:
		return trailers && (body == wholeBody || body == fullDuplex || body == streamed && !holds)
	case policy.RequestTrailers, policy.ResponseTrailers:
		return trailers
	}
	return true
}

func (f inForce) overriddenBy(m *modev3.ProcessingMode) inForce {
	sent := func(h modev3.ProcessingMode_HeaderSendMode, was bool) bool {
		if h == modev3.ProcessingMode_DEFAULT {
			return was
		}
		return h == modev3.ProcessingMode_SEND
	}
	return inForce{
		responseHeaders: sent(m.GetResponseHeaderMode(), f.responseHeaders),
		requestBody:     m.GetRequestBodyMode(), responseBody: m.GetResponseBodyMode(),
		requestTrailers:  sent(m.GetRequestTrailerMode(), f.requestTrailers),
		responseTrailers: sent(m.GetResponseTrailerMode(), f.responseTrailers),
	}
}

// wouldShow reports whether a response of the upstream's is certain to show that Envoy
// has ignored a mode override that asks for all that the phases need, by what Envoy does
// and independently of how the kernel decides it.
func (f inForce) wouldShow(phases policy.PhaseSet, holds bool) bool {
	asked := none
	switch {
	case phases.Has(policy.RequestBody):
		asked = wholeBody
	case phases.Has(policy.RequestBodyChunks) && holds:
		asked = fullDuplex
	case phases.Has(policy.RequestBodyChunks):
		asked = streamed
	}
	switch {
	case !f.responseHeaders:
		return false // nothing comes of a response
	case f.requestBody != none && f.requestBody != asked:
		return false // a body comes otherwise than asked for
	case !phases.HasResponse():
		return true // headers come that were switched off
	case asked != wholeBody:
		return false // an upstream may have answered early
	}
	for _, p := range phases.List() {
		if p.IsResponse() && !f.shows(p, false) {
			return false // what does not come of a response shows nothing
		}
	}
	return true
}

// TestPlans proves, over random chains and filters, that a chain is served where
// everything that it has to see is shown, and refused where it is not; that more is asked
// for only by a kernel that is told to, and only where it would show that Envoy has
// ignored it; and that it is asked for no more than is needed.
func TestPlans(t *testing.T) {
	served, refused, overridden, added := 0, 0, 0, 0
	for seed := range uint64(20000) {
		r := rand.New(rand.NewPCG(seed, 1))
		flag := func() bool { return r.IntN(2) == 0 }
		needs := worker.Needs{Phases: policy.PhaseSet(r.IntN(256) & r.IntN(256)),
			HoldsRequestChunks: flag(), HoldsResponseChunks: flag(), ChangesRequestChunks: true, ChangesResponseChunks: true}
		settings := negotiate.Settings{ModeOverride: flag(), SkipResponseHeaders: r.IntN(4) == 0, RequestTrailers: flag(), ResponseTrailers: flag()}
		modes := &extprocv3.ProtocolConfiguration{RequestBodyMode: modev3.ProcessingMode_BodySendMode(r.IntN(5) * r.IntN(2)),
			ResponseBodyMode:                        modev3.ProcessingMode_BodySendMode(r.IntN(5)),
			SendBodyWithoutWaitingForHeaderResponse: r.IntN(8) == 0}
		end := r.IntN(4) == 0
		hasLength, prefers := flag(), r.IntN(4) != 0
		have := inForce{!settings.SkipResponseHeaders, modes.RequestBodyMode, modes.ResponseBodyMode, settings.RequestTrailers, settings.ResponseTrailers}

		pairs := []string{}
		if hasLength {
			pairs = []string{"content-length", "5"}
		}
		first := requestHeaders(end, pairs...)
		first.Attributes, first.ProtocolConfig = attributesFor("r"), modes
		d := newDirect(&settings, marshal(t, first))
		if err := handlerOf(newService(oneChain(&chain{needs: needs}), options{PreferModeOverride: prefers}))(d); err != nil && status.Code(err) != codes.Canceled {
			t.Fatal(err)
		}

		// What has to be seen, and whether it would be.
		visible := func(f inForce) bool {
			for _, p := range needs.Phases.List() {
				if end && !p.IsResponse() {
					continue // runs with the headers
				}
				holds := needs.HoldsRequestChunks && p == policy.RequestBodyChunks || needs.HoldsResponseChunks && p == policy.ResponseBodyChunks
				// Where whole bodies are gathered, nothing is held back.
				holds = holds && !needs.Phases.Has(p-1)
				if !f.shows(p, holds) {
					return false
				}
			}
			return true
		}
		mayOverride := settings.ModeOverride && !modes.SendBodyWithoutWaitingForHeaderResponse &&
			modes.RequestBodyMode != fullDuplex && modes.ResponseBodyMode != fullDuplex
		asked := needs.Phases
		if end {
			asked &^= policy.Phases(policy.RequestHeaders, policy.RequestBody, policy.RequestBodyChunks, policy.RequestTrailers)
		}
		// Pieces of a response that are held back need full duplex.
		responseHolds := needs.HoldsResponseChunks && needs.Phases.Has(policy.ResponseBodyChunks) && !needs.Phases.Has(policy.ResponseBody)
		mayAdd := mayOverride && prefers && have.wouldShow(asked, needs.HoldsRequestChunks) &&
			!(responseHolds && have.responseBody == streamed)
		describe := func() string {
			return needs.Phases.String() + " under " + settings.Stamp() + " " + modes.String()
		}
		var reply *extprocv3.ProcessingResponse
		if len(d.replies) > 0 {
			reply = d.replies[0]
		}
		switch {
		case reply.GetImmediateResponse() != nil:
			refused++
			if visible(have) || mayAdd {
				t.Fatalf("seed %d: %s was refused", seed, describe())
			}
		case reply.GetModeOverride() != nil:
			overridden++
			m := reply.GetModeOverride()
			now := have.overriddenBy(m)
			if now.requestBody == streamed && needs.HoldsRequestChunks && !hasLength {
				// What is held is emptied instead.
				now.requestBody = fullDuplex
			}
			if !mayOverride || m.GetRequestHeaderMode() != modev3.ProcessingMode_DEFAULT || !visible(now) {
				t.Fatalf("seed %d: %s was overridden by %v", seed, describe(), m)
			}
			if !visible(have) {
				added++
				if !mayAdd {
					t.Fatalf("seed %d: %s depends on %v, and it would not show that Envoy ignores it", seed, describe(), m)
				}
			}
			for _, body := range []struct {
				mode     modev3.ProcessingMode_BodySendMode
				whole, c policy.Phase
			}{{m.GetRequestBodyMode(), policy.RequestBody, policy.RequestBodyChunks}, {m.GetResponseBodyMode(), policy.ResponseBody, policy.ResponseBodyChunks}} {
				switch {
				case asked.Has(body.whole) && body.mode != wholeBody,
					!asked.Has(body.whole) && asked.Has(body.c) && body.mode != streamed && body.mode != fullDuplex,
					!asked.Has(body.whole) && !asked.Has(body.c) && body.mode != none:
					t.Fatalf("seed %d: %s asks for %v", seed, describe(), m)
				}
			}
			if !asked.HasResponse() && m.GetResponseHeaderMode() != modev3.ProcessingMode_SKIP {
				t.Fatalf("seed %d: %s asks for a response that nobody wants: %v", seed, describe(), m)
			}
		default:
			served++
			if !visible(have) {
				t.Fatalf("seed %d: %s is half run", seed, describe())
			}
		}
	}
	for what, n := range map[string]int{"served": served, "refused": refused, "overridden": overridden, "given more": added} {
		if n < 200 {
			t.Errorf("only %d of the chains were %s", n, what)
		}
	}
}
