package negotiate_test

import (
	"testing"

	"policyengine.dev/runtime/extproc/negotiate"
	"policyengine.dev/runtime/extproc/wire"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
)

// TestOf holds what a chain is shown for the phases that it has.
func TestDemand(t *testing.T) {
	for _, tt := range []struct {
		name              string
		needs             worker.Needs
		request, response negotiate.Side
	}{
		{"nothing", worker.Needs{}, negotiate.Side{}, negotiate.Side{}},
		{"headers", worker.Needs{Phases: policy.Phases(policy.RequestHeaders, policy.ResponseHeaders)},
			negotiate.Side{Headers: true}, negotiate.Side{Headers: true}},
		{"a whole body, which trailers may end", worker.Needs{Phases: policy.Phases(policy.ResponseBody)},
			negotiate.Side{}, negotiate.Side{Headers: true, Body: wire.BodyBuffered, Trailers: true}},
		{"pieces that pass", worker.Needs{Phases: policy.Phases(policy.RequestBodyChunks), HoldsResponseChunks: true, DecodeResponseBody: true},
			negotiate.Side{Headers: true, Body: wire.BodyStreamed, Trailers: true}, negotiate.Side{}},
		{"pieces that are held", worker.Needs{Phases: policy.Phases(policy.ResponseBodyChunks), HoldsResponseChunks: true},
			negotiate.Side{}, negotiate.Side{Headers: true, Body: wire.BodyFullDuplex, Trailers: true}},
		{"plain pieces of something compressed", worker.Needs{Phases: policy.Phases(policy.RequestBodyChunks), HoldsRequestChunks: true, DecodeRequestBody: true},
			negotiate.Side{Headers: true, Body: wire.BodyBuffered, Trailers: true}, negotiate.Side{}},
		{"trailers alone", worker.Needs{Phases: policy.Phases(policy.RequestTrailers)}, negotiate.Side{Headers: true, Trailers: true}, negotiate.Side{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if request, response := negotiate.Demand(&tt.needs); request != tt.request || response != tt.response {
				t.Errorf("request %+v, response %+v; want %+v, %+v", request, response, tt.request, tt.response)
			}
		})
	}
}

// TestBodies holds which mode serves whom.
func TestBodies(t *testing.T) {
	const none, streamed, buffered, partial, duplex = wire.BodyNone, wire.BodyStreamed, wire.BodyBuffered, wire.BodyBufferedPartial, wire.BodyFullDuplex
	for demanded, serving := range map[wire.BodyMode][]wire.BodyMode{
		none: {none, streamed, buffered, partial, duplex}, streamed: {streamed, buffered, duplex},
		buffered: {buffered, duplex}, duplex: {buffered, duplex},
	} {
		d := negotiate.Side{Body: demanded}
		for shown := range wire.BodyMode(5) {
			want := false
			for _, s := range serving {
				want = want || s == shown
			}
			if got := d.Met(negotiate.Side{Body: shown}); got != want {
				t.Errorf("%s is served by %s: %v", demanded, shown, got)
			}
		}
	}
}

// TestLacks proves that each part that is not shown is named, and nothing else.
func TestLacks(t *testing.T) {
	all := negotiate.Side{Headers: true, Body: wire.BodyBuffered, Trailers: true}
	for _, tt := range []struct{ demanded, shown, lacks negotiate.Side }{
		{all, all, negotiate.Side{}},
		{all, negotiate.Side{}, all},
		{negotiate.Side{}, negotiate.Side{}, negotiate.Side{}},
		{all, negotiate.Side{Headers: true, Body: wire.BodyBufferedPartial}, negotiate.Side{Body: wire.BodyBuffered, Trailers: true}},
		{negotiate.Side{Headers: true}, negotiate.Side{Trailers: true, Body: wire.BodyStreamed}, negotiate.Side{Headers: true}},
	} {
		if got := tt.demanded.Lacks(tt.shown); got != tt.lacks {
			t.Errorf("%+v of %+v lacks %+v, want %+v", tt.shown, tt.demanded, got, tt.lacks)
		}
	}
}
