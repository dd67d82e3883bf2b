package cases

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	extproc "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
)

// ServerPart is how a scripted processor is served.
type ServerPart struct {
	// Streams is how many streams a connection may have at a time
	// (SETTINGS_MAX_CONCURRENT_STREAMS); 0 is no limit.
	Streams uint32 `yaml:"streams"`
	// Late is how long it takes until a new connection is answered.
	Late time.Duration `yaml:"late"`
	// Silent takes connections and never says a word.
	Silent bool `yaml:"silent"`
}

func startProcessor(t *testing.T, part ServerPart) *processor {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &processor{address: listener.Addr().String(), round: newRound(nil, 0)}
	if part.Silent {
		// The kernel takes connections that nobody accepts.
		t.Cleanup(func() { _ = listener.Close() })
		return p
	}
	var options []grpc.ServerOption
	if part.Streams > 0 {
		options = append(options, grpc.MaxConcurrentStreams(part.Streams))
	}
	server := grpc.NewServer(options...)
	extproc.RegisterExternalProcessorServer(server, p)
	ended := make(chan struct{})
	go func() { defer close(ended); _ = server.Serve(lateListener{listener, part.Late}) }()
	t.Cleanup(func() { server.Stop(); <-ended })
	return p
}

// lateListener takes its time with each connection.
type lateListener struct {
	net.Listener
	late time.Duration
}

// Accept implements net.Listener.
func (l lateListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		time.Sleep(l.late)
	}
	return c, err
}

// round is an exchange that is played.
type round struct {
	script []Step
	played chan differences // one for each stream of the script
	// gathered is closed when enough streams have got to a step that waits for
	// others, answered when the first request is.
	gathered, answered chan struct{}
	arrived            atomic.Int64
	answer             func()
}

func newRound(script []Step, streams int) *round {
	r := &round{script: script, played: make(chan differences, streams+10), gathered: make(chan struct{}), answered: make(chan struct{})}
	r.answer = sync.OnceFunc(func() { close(r.answered) })
	return r
}

// wait waits for other streams as a step says.
func (r *round) wait(ctx context.Context, s Step) error {
	ctx, cancel := context.WithTimeout(ctx, counting)
	defer cancel()
	var until chan struct{}
	switch {
	case s.Gather > 0:
		if until = r.gathered; r.arrived.Add(1) == int64(s.Gather) {
			close(r.gathered)
		}
	case s.UntilAnswered:
		until = r.answered
	default:
		return nil
	}
	select {
	case <-until:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for other streams: %w", ctx.Err())
	}
}
