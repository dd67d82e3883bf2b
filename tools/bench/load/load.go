// Package load drives an ext_proc server as Envoy does, as fast as it answers, and
// measures what that costs.
package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
)

// Options say what to send and how much of it at a time.
type Options struct {
	// Target is a gRPC target, such as unix:/run/engine.sock.
	Target string
	// Connections is how many HTTP/2 connections there are, and Streams how many
	// streams are in flight on all of them together.
	Connections, Streams int
	// Messages are the encoded ProcessingRequests of one stream, in order. The
	// next is sent when the one before has been answered; the stream ends when
	// the server ends it or all have been answered.
	Messages [][]byte
	// Next, where it is set, gives the messages of each stream instead of Messages. It is called by several
	// goroutines at a time.
	Next func() [][]byte
	// Pause is how long to wait between a stream and the next one in its place; 0 is not at all.
	Pause time.Duration
	// Reply, where it is set, looks at each encoded reply; an error counts as a
	// failed stream.
	Reply func(message int, reply []byte) error
}

// Result is what one run measured.
type Result struct {
	// Streams that ended well, and Failed that did not; Err is one of their
	// errors.
	Streams, Failed int64
	Err             error
	// Replies counts the messages that the server sent.
	Replies int64
	Took    time.Duration
	// Latencies of streams, from opening to the server's end of the stream,
	// sorted.
	Latencies []time.Duration
}

// Percentile is the latency that a share p (0 to 1) of the streams did not exceed.
func (r *Result) Percentile(p float64) time.Duration {
	if len(r.Latencies) == 0 {
		return 0
	}
	return r.Latencies[min(int(p*float64(len(r.Latencies))), len(r.Latencies)-1)]
}

// raw passes messages through as they are, so that the generator costs little.
type raw struct{}

func (raw) Name() string { return "proto" }

func (raw) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}

func (raw) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

// Client holds open connections to a server. Close it.
type Client struct {
	options Options
	conns   []*grpc.ClientConn
}

// Dial connects. Connections are opened by the first run.
func Dial(o Options) (*Client, error) {
	c := &Client{options: o}
	for range o.Connections {
		conn, err := grpc.NewClient(o.Target,
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.ForceCodecV2(raw{}), grpc.MaxCallRecvMsgSize(64<<20)),
			grpc.WithInitialWindowSize(1<<20), grpc.WithInitialConnWindowSize(16<<20))
		if err != nil {
			c.Close()
			return nil, fmt.Errorf("connecting to %s: %w", o.Target, err)
		}
		c.conns = append(c.conns, conn)
	}
	return c, nil
}

// Close closes the connections.
func (c *Client) Close() {
	for _, conn := range c.conns {
		_ = conn.Close()
	}
}

var method = "/envoy.service.ext_proc.v3.ExternalProcessor/Process"

// Run keeps Streams streams in flight for the time that is given.
func (c *Client) Run(ctx context.Context, d time.Duration) *Result {
	var (
		all     sync.WaitGroup
		mu      sync.Mutex
		total   Result
		stopped atomic.Bool
	)
	began := time.Now()
	timer := time.AfterFunc(d, func() { stopped.Store(true) })
	defer timer.Stop()
	for i := range c.options.Streams {
		conn := c.conns[i%len(c.conns)]
		all.Go(func() {
			var r Result
			for !stopped.Load() && ctx.Err() == nil {
				if c.options.Pause > 0 {
					time.Sleep(c.options.Pause)
				}
				start := time.Now()
				replies, err := c.stream(ctx, conn)
				r.Replies += int64(replies)
				if err != nil {
					r.Failed++
					r.Err = err
					continue
				}
				r.Streams++
				r.Latencies = append(r.Latencies, time.Since(start))
			}
			mu.Lock()
			defer mu.Unlock()
			total.Streams += r.Streams
			total.Failed += r.Failed
			total.Replies += r.Replies
			total.Latencies = append(total.Latencies, r.Latencies...)
			if r.Err != nil {
				total.Err = r.Err
			}
		})
	}
	all.Wait()
	total.Took = time.Since(began)
	slices.Sort(total.Latencies)
	return &total
}

// Once sends one stream's messages, and returns why the stream failed.
func (c *Client) Once(ctx context.Context) error {
	_, err := c.stream(ctx, c.conns[0])
	return err
}

var desc = grpc.StreamDesc{StreamName: "Process", ServerStreams: true, ClientStreams: true}

// stream is one HTTP request's conversation.
func (c *Client) stream(ctx context.Context, conn *grpc.ClientConn) (replies int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	s, err := conn.NewStream(ctx, &desc, method)
	if err != nil {
		return 0, err
	}
	messages := c.options.Messages
	if c.options.Next != nil {
		messages = c.options.Next()
	}
	var reply []byte
	for i := range messages {
		if err := s.SendMsg(&messages[i]); err != nil {
			// The server has ended the stream: Recv says how.
			if !errors.Is(err, io.EOF) {
				return replies, err
			}
		}
		if err := s.RecvMsg(&reply); err != nil {
			return replies, ended(err)
		}
		replies++
		if c.options.Reply != nil {
			if err := c.options.Reply(i, reply); err != nil {
				return replies, err
			}
		}
		if i == 0 && c.options.finalAfterFirst(reply) {
			break
		}
	}
	// Envoy resets a stream that it has no more use for. A server that ends it
	// itself is waited for, so that its cost is counted.
	if err := s.CloseSend(); err != nil {
		return replies, err
	}
	for {
		if err := s.RecvMsg(&reply); err != nil {
			return replies, ended(err)
		}
		replies++
	}
}

// finalAfterFirst reports whether a first reply ends the conversation: it is an
// immediate response (field 7 of ProcessingResponse).
func (o *Options) finalAfterFirst(reply []byte) bool {
	return len(reply) > 0 && reply[0] == 7<<3|2
}

func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
