package demand_test

import (
	"testing"

	"policyengine.dev/runtime/kernel/demand"
	"policyengine.dev/runtime/kernel/wire"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
)

// TestOf holds what a chain is shown for the phases that it has.
func TestOf(t *testing.T) {
	for _, tt := range []struct {
		name              string
		needs             worker.Needs
		request, response demand.Side
	}{
		{"nothing", worker.Needs{}, demand.Side{}, demand.Side{}},
		{"headers", worker.Needs{Phases: policy.Phases(policy.RequestHeaders, policy.ResponseHeaders)},
			demand.Side{Headers: true}, demand.Side{Headers: true}},
		{"a whole body, which trailers may end", worker.Needs{Phases: policy.Phases(policy.ResponseBody)},
			demand.Side{}, demand.Side{Headers: true, Body: wire.BodyBuffered, Trailers: true}},
		{"pieces that pass", worker.Needs{Phases: policy.Phases(policy.RequestBodyChunks), HoldsResponseChunks: true, DecodeResponseBody: true},
			demand.Side{Headers: true, Body: wire.BodyStreamed, Trailers: true}, demand.Side{}},
		{"pieces that are held", worker.Needs{Phases: policy.Phases(policy.ResponseBodyChunks), HoldsResponseChunks: true},
			demand.Side{}, demand.Side{Headers: true, Body: wire.BodyFullDuplex, Trailers: true}},
		{"plain pieces of something compressed", worker.Needs{Phases: policy.Phases(policy.RequestBodyChunks), HoldsRequestChunks: true, DecodeRequestBody: true},
			demand.Side{Headers: true, Body: wire.BodyBuffered, Trailers: true}, demand.Side{}},
		{"trailers alone", worker.Needs{Phases: policy.Phases(policy.RequestTrailers)}, demand.Side{Headers: true, Trailers: true}, demand.Side{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if request, response := demand.Of(&tt.needs); request != tt.request || response != tt.response {
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
		d := demand.Side{Body: demanded}
		for shown := range wire.BodyMode(5) {
			want := false
			for _, s := range serving {
				want = want || s == shown
			}
			if got := d.Met(demand.Side{Body: shown}); got != want {
				t.Errorf("%s is served by %s: %v", demanded, shown, got)
			}
		}
	}
}

// TestLacks proves that each part that is not shown is named, and nothing else.
func TestLacks(t *testing.T) {
	all := demand.Side{Headers: true, Body: wire.BodyBuffered, Trailers: true}
	for _, tt := range []struct{ demanded, shown, lacks demand.Side }{
		{all, all, demand.Side{}},
		{all, demand.Side{}, all},
		{demand.Side{}, demand.Side{}, demand.Side{}},
		{all, demand.Side{Headers: true, Body: wire.BodyBufferedPartial}, demand.Side{Body: wire.BodyBuffered, Trailers: true}},
		{demand.Side{Headers: true}, demand.Side{Trailers: true, Body: wire.BodyStreamed}, demand.Side{Headers: true}},
	} {
		if got := tt.demanded.Lacks(tt.shown); got != tt.lacks {
			t.Errorf("%+v of %+v lacks %+v, want %+v", tt.shown, tt.demanded, got, tt.lacks)
		}
	}
}
