package extproc_test

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"weak"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"

	"policyengine.dev/runtime/extproc/negotiate"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

// TestNothingIsKept proves that a stream that is kept for the next exchange holds on
// to nothing of the one before, however that ended.
func TestNothingIsKept(t *testing.T) {
	for _, tt := range []struct {
		name   string
		filter negotiate.Settings
		modes  *extprocv3.ProtocolConfiguration
	}{
		{"a body that was sent", negotiate.Settings{RequestTrailers: true}, &extprocv3.ProtocolConfiguration{RequestBodyMode: wholeBody}},
		{"a body that could not be sent", negotiate.Settings{RequestTrailers: true, NoHeaders: true}, &extprocv3.ProtocolConfiguration{RequestBodyMode: wholeBody}},
		{"a body in full duplex", negotiate.Settings{RequestTrailers: true}, &extprocv3.ProtocolConfiguration{RequestBodyMode: fullDuplex}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var old, replaced weak.Pointer[byte]
			// It is an executor's business what that keeps.
			c := &chain{steps: map[policy.Phase]step{policy.RequestBody: func(_ context.Context, x *exchange.Exchange) *policy.ImmediateResponse {
				b := make([]byte, 1<<20)
				old, replaced = weak.Make(&x.Request.Body.Bytes[0]), weak.Make(&b[0])
				x.Request.Body.Replace(b)
				x.Request.Headers.Set("x-a", "1")
				return nil
			}}}
			first := requestHeaders(false, "content-length", "1000")
			first.Attributes, first.ProtocolConfig = attributesFor("r"), tt.modes
			d := newDirect(&tt.filter, marshal(t, first), marshal(t, requestBody(strings.Repeat("x", 1000), true)))
			d.discard = true
			k := newService(oneChain(c), options{})
			if err := handlerOf(k)(d); err != nil {
				t.Fatal(err)
			}
			// What is in a pool survives one collection.
			runtime.GC()
			if old.Value() != nil || replaced.Value() != nil {
				t.Errorf("a body is kept: %v, its replacement: %v", old.Value() != nil, replaced.Value() != nil)
			}
			runtime.KeepAlive(k)
		})
	}
}
