package redisstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// maxBatch bounds the calls that share a round trip, and maxWaiting those that wait
	// for one.
	maxBatch   = 128
	maxWaiting = 8192
)

// call is one run of the script. The fields keys and args are not written once it waits.
type call struct {
	keys []string
	args []any

	// done is closed when reply and err are there.
	done  chan struct{}
	reply any
	err   error
}

// batches sends calls together that wait at the same time: one alone goes at once, and
// those that come while all connections are busy share the next round trip.
type batches struct {
	client  redis.UniversalClient
	script  *redis.Script
	timeout time.Duration
	// most is how many batches are under way at a time.
	most int

	mu      sync.Mutex
	waiting []*call
	senders int
	// sent counts batches.
	sent int
}

// do runs the script. It returns when ctx ends or the timeout is over, though the script
// may run yet.
func (b *batches) do(ctx context.Context, c *call) error {
	b.mu.Lock()
	if len(b.waiting) >= maxWaiting {
		b.mu.Unlock()
		return ErrBusy
	}
	b.waiting = append(b.waiting, c)
	if b.senders < b.most {
		b.senders++
		go b.send()
	}
	b.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		return fmt.Errorf("waiting for Redis: %w", ctx.Err())
	}
}

// send sends batches until nothing waits.
func (b *batches) send() {
	for {
		b.mu.Lock()
		n := min(len(b.waiting), maxBatch)
		if n == 0 {
			b.waiting = nil
			b.senders--
			b.mu.Unlock()
			return
		}
		batch := b.waiting[:n:n]
		b.waiting = b.waiting[n:]
		b.sent++
		b.mu.Unlock()
		b.run(batch)
	}
}

// run runs a batch, and the whole script for calls whose server does not have it.
func (b *batches) run(batch []*call) {
	defer func() {
		r := recover()
		for _, c := range batch {
			if r != nil && c.reply == nil && c.err == nil {
				c.err = errNonsense
			}
			close(c.done)
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), b.timeout)
	defer cancel()
	b.pipeline(ctx, batch, b.script.EvalSha)
	var unknown []*call
	for _, c := range batch {
		if errors.Is(c.err, errNoScript) {
			unknown = append(unknown, c)
		}
	}
	if len(unknown) > 0 {
		b.pipeline(ctx, unknown, b.script.Eval)
	}
}

func (b *batches) pipeline(ctx context.Context, batch []*call, eval func(context.Context, redis.Scripter, []string, ...any) *redis.Cmd) {
	pipe := b.client.Pipeline()
	commands := make([]*redis.Cmd, len(batch))
	for i, c := range batch {
		commands[i] = eval(ctx, once{pipe}, c.keys, c.args...)
	}
	_, failed := pipe.Exec(ctx)
	for i, c := range batch {
		reply, err := commands[i].Result()
		if reply == nil && err == nil {
			// Without a connection, commands have no error of their own.
			err = cmp.Or(failed, errNonsense)
		}
		c.reply, c.err = reply, plain(err)
	}
}

// once has a script run at most once: whether a broken connection has run it already is
// not known.
type once struct{ redis.Pipeliner }

// Eval implements redis.Scripter.
func (o once) Eval(ctx context.Context, script string, keys []string, args ...any) *redis.Cmd {
	return o.send(ctx, "eval", script, keys, args)
}

// EvalSha implements redis.Scripter.
func (o once) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	return o.send(ctx, "evalsha", sha, keys, args)
}

func (o once) send(ctx context.Context, name, script string, keys []string, args []any) *redis.Cmd {
	all := make([]any, 0, 3+len(keys)+len(args))
	all = append(all, name, script, len(keys))
	for _, k := range keys {
		all = append(all, k)
	}
	c := redis.NewCmd(ctx, append(all, args...)...)
	c.SetFirstKeyPos(3)
	_ = o.Process(ctx, noRetry{c}) // a pipeline only keeps it
	return c
}

// noRetry is a command that is not sent again.
type noRetry struct{ *redis.Cmd }

// NoRetry implements redis.Cmder.
func (noRetry) NoRetry() bool { return true }
