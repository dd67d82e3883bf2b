package cases

import (
	"context"
	"io"
	"sync/atomic"
	"time"

	"policyengine.dev/envoy_test/harness"
)

// Leave is how far an exchange has to have arrived for the client to go away. All that
// is given has to be so. Unlike a span of time it holds on a busy machine.
type Leave struct {
	// Messages is how many messages Envoy has sent to the processor.
	Messages int64 `yaml:"messages"`
	// Reached is that the upstream has the whole request.
	Reached bool `yaml:"reached"`
	// Received is how many bytes of the response's body the client has.
	Received int64 `yaml:"received"`
}

// counted counts what is read.
type counted struct {
	io.Reader
	n *atomic.Int64
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n.Add(int64(n))
	return n, err
}

// watch calls leave when the exchange has got so far, and ends with ctx.
func (l Leave) watch(ctx context.Context, s *harness.Stack, before harness.Counters, received *atomic.Int64, leave func()) {
	for ctx.Err() == nil {
		if l.come(ctx, s, before, received.Load()) {
			leave()
			return
		}
		wait(ctx, 2*time.Millisecond)
	}
}

func (l Leave) come(ctx context.Context, s *harness.Stack, before harness.Counters, received int64) bool {
	if received < l.Received || l.Reached && len(s.Upstream.Received()) == 0 {
		return false
	}
	if l.Messages == 0 {
		return true
	}
	now, err := s.Envoy.Counters(ctx)
	return err == nil && now.Since(before)["stream_msgs_sent"] >= l.Messages
}

// wait waits so long, or until ctx is done.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
