package kernel_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"policyengine.dev/runtime/kernel"
	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/sdk/policy"
)

// TestStreamsThatEndUndecided proves that a stream whose policies were cut short ends
// with an error and without a word: to an Envoy that waits all the same, a clean end
// would let the request pass.
func TestStreamsThatEndUndecided(t *testing.T) {
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	late, stop := context.WithDeadline(context.Background(), time.Unix(1, 0))
	defer stop()
	for name, tc := range map[string]struct {
		ctx    context.Context
		code   codes.Code
		failed uint64
	}{
		"a client that went away":    {canceled, codes.Canceled, 0},
		"a stream that was too long": {late, codes.DeadlineExceeded, 1},
	} {
		for _, stuck := range []bool{false, true} {
			c := parseChain(t, "request_headers=pass")
			c.gone = map[policy.Phase]bool{policy.RequestHeaders: true}
			if stuck {
				c.stuck[policy.RequestHeaders] = true
				close(c.release)
			}
			first := requestHeaders(false)
			first.Attributes, first.ProtocolConfig = attributesFor("r"), serveConfig()
			d := newDirect(nil, marshal(t, first))
			d.ctx = tc.ctx
			var counts telemetry.Streams
			err := handlerOf(kernel.New(oneChain(c), kernel.Options{Streams: &counts}))(d)
			if status.Code(err) != tc.code || len(d.replies) != 0 {
				t.Errorf("%s, taken over %t: %v, and %d replies", name, stuck, err, len(d.replies))
			}
			if n := counts.Failed.Load(); n != tc.failed {
				t.Errorf("%s, taken over %t: %d streams have failed, want %d", name, stuck, n, tc.failed)
			}
		}
	}
}
