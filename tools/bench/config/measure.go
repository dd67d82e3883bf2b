package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"policyengine.dev/tools/bench/load"
)

func measureStart(ctx context.Context, _ flags, _ *configuration, e *engine, r *Result) error {
	if err := e.waitReady(ctx); err != nil {
		return err
	}
	r.Ready = time.Since(e.began)
	var err error
	if r.ReadyCPU, err = e.CPU(); err != nil {
		return err
	}
	if r.Resident, r.Peak, err = e.memory(); err != nil {
		return err
	}
	r.Live, err = e.liveHeap(ctx)
	return err
}

// measureIdle begins when files have been looked at once more: those that were written lately are read again then.
func measureIdle(ctx context.Context, f flags, _ *configuration, e *engine, r *Result) error {
	if f.idle == 0 {
		return nil
	}
	const poll = 10 * time.Second
	wait(ctx, poll+time.Second)
	before, err := e.CPU()
	if err != nil {
		return err
	}
	wait(ctx, f.idle)
	after, err := e.CPU()
	r.Idle = (after - before).Seconds() / f.idle.Seconds()
	return errors.Join(err, ctx.Err())
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// request is a request on a route.
func request(route string) ([][]byte, error) {
	m := load.RequestHeaders(route)
	h := m.GetRequestHeaders().GetHeaders()
	h.Headers = append(h.Headers, &corev3.HeaderValue{Key: "x-api-key", RawValue: []byte(apiKey)},
		&corev3.HeaderValue{Key: "x-forwarded-for", RawValue: []byte("203.0.113.7, 10.0.0.1")})
	return load.Encode(m, load.ResponseHeaders())
}

func dial(c *configuration, o load.Options) (*load.Client, error) {
	o.Target = "unix:" + c.socket
	if o.Connections == 0 {
		o.Connections = 1
	}
	return load.Dial(o)
}

// until sends a request on a route until the first answer to it contains the text, and returns the time since began.
func until(ctx context.Context, c *configuration, route, text string, began func() error) (time.Duration, error) {
	messages, err := request(route)
	if err != nil {
		return 0, err
	}
	var found atomic.Bool
	client, err := dial(c, load.Options{Streams: 1, Messages: messages, Reply: func(i int, reply []byte) error {
		if bytes.Contains(reply, []byte("ROUTE_UNKNOWN")) {
			return nil
		}
		if i == 0 && bytes.Contains(reply, []byte(text)) {
			found.Store(true)
		}
		return noAnswer(i, reply)
	}})
	if err != nil {
		return 0, err
	}
	defer client.Close()
	if err := client.Once(ctx); err != nil {
		return 0, err
	}
	if found.Load() {
		return 0, fmt.Errorf("%q is served already", text)
	}
	if err := began(); err != nil {
		return 0, err
	}
	start := time.Now()
	for !found.Load() {
		if err := client.Once(ctx); err != nil {
			return 0, err
		}
		if time.Since(start) > 5*time.Minute {
			return 0, fmt.Errorf("%q was not served", text)
		}
		time.Sleep(time.Millisecond)
	}
	return time.Since(start), nil
}

func measureChanges(ctx context.Context, f flags, c *configuration, e *engine, r *Result) error {
	var routes, parameters, cpu []time.Duration
	for i := range f.rounds {
		added := fmt.Sprintf("added-%d", i)
		content := c.team(0, "first", fmt.Sprintf("- name: %s\n  chain: chain-0\n", added))
		took, err := until(ctx, c, added, tenantHeader, func() error { return c.change(0, content) })
		if err != nil {
			return fmt.Errorf("adding a route: %w", err)
		}
		routes = append(routes, took)
		tenant := fmt.Sprintf("changed-%d", i)
		before, err := e.CPU()
		if err != nil {
			return err
		}
		took, err = until(ctx, c, routeName(0), tenant, func() error { return c.change(0, c.team(0, tenant, "")) })
		if err != nil {
			return fmt.Errorf("changing a parameter: %w", err)
		}
		after, err := e.CPU()
		if err != nil {
			return err
		}
		parameters, cpu = append(parameters, took), append(cpu, after-before)
	}
	r.RouteAdded, r.ParameterChanged, r.ChangeCPU = median(routes), median(parameters), median(cpu)
	return nil
}

func median[T float64 | time.Duration](v []T) T {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

// measureChains compares requests over one chain with requests over all of them.
func measureChains(ctx context.Context, f flags, c *configuration, e *engine, r *Result) error {
	one, err := request(routeName(1))
	if err != nil {
		return err
	}
	many := make([][][]byte, c.size.routes)
	for i := range many {
		if many[i], err = request(routeName(i)); err != nil {
			return err
		}
	}
	var turn atomic.Uint64
	sides := []load.Options{
		{Streams: 32, Messages: one, Reply: noAnswer},
		{Streams: 32, Next: func() [][]byte { return many[scattered(turn.Add(1), len(many))] }, Reply: noAnswer},
	}
	var clients []*load.Client
	for _, o := range sides {
		client, err := dial(c, o)
		if err != nil {
			return err
		}
		defer client.Close()
		client.Run(ctx, f.window)
		clients = append(clients, client)
	}
	var ratios []float64
	var cpu [2][]time.Duration
	for range f.rounds {
		for i, client := range clients {
			before, err := e.CPU()
			if err != nil {
				return err
			}
			result := client.Run(ctx, f.window)
			after, err := e.CPU()
			if err != nil || result.Failed > 0 || result.Streams == 0 {
				return fmt.Errorf("%d of %d requests failed: %w", result.Failed, result.Failed+result.Streams, errors.Join(err, result.Err))
			}
			cpu[i] = append(cpu[i], (after-before)/time.Duration(result.Streams))
		}
		n := len(cpu[0]) - 1
		ratios = append(ratios, float64(cpu[1][n])/float64(cpu[0][n]))
	}
	r.OneChain, r.ManyChains, r.Distinct = median(cpu[0]), median(cpu[1]), median(ratios)
	return nil
}

// scattered goes through all of n in an order that no cache foresees.
func scattered(i uint64, n int) int { return int(i * 0x9E3779B97F4A7C15 >> 20 % uint64(n)) }

// noAnswer refuses replies that end a request: nothing that is measured does.
func noAnswer(_ int, reply []byte) error {
	const immediate = 7<<3 | 2 // field 7 of ProcessingResponse
	if len(reply) > 0 && reply[0] == immediate {
		return fmt.Errorf("the request was answered: %q", reply)
	}
	return nil
}

// measureReloads compares latencies in turns without and with reloads, of which each changes one parameter.
func measureReloads(ctx context.Context, f flags, c *configuration, _ *engine, r *Result) error {
	messages, err := request(routeName(1))
	if err != nil {
		return err
	}
	// Few, so that the engine is not what limits the load.
	client, err := dial(c, load.Options{Streams: 4, Messages: messages, Reply: noAnswer, Pause: time.Millisecond})
	if err != nil {
		return err
	}
	defer client.Close()
	client.Run(ctx, f.window)
	var quiet, reloading []time.Duration
	for round := range f.rounds {
		result := client.Run(ctx, f.window)
		if result.Failed > 0 {
			return fmt.Errorf("%d requests failed: %w", result.Failed, result.Err)
		}
		quiet = append(quiet, result.Percentile(0.999))
		ended, stop := make(chan error, 1), make(chan struct{})
		go func() {
			var err error
			for i := 0; err == nil; i++ {
				select {
				case <-stop:
					ended <- nil
					return
				case <-time.After(200 * time.Millisecond):
				}
				err = c.change(0, c.team(0, fmt.Sprintf("reload-%d-%d", round, i), ""))
				r.Reloads++
			}
			ended <- err
		}()
		result = client.Run(ctx, f.window)
		close(stop)
		if err := <-ended; err != nil {
			return err
		}
		if result.Failed > 0 {
			return fmt.Errorf("%d requests failed during reloads: %w", result.Failed, result.Err)
		}
		reloading = append(reloading, result.Percentile(0.999))
	}
	r.Quiet, r.Reloading = median(quiet), median(reloading)
	return nil
}

func measurePages(ctx context.Context, _ flags, _ *configuration, e *engine, r *Result) error {
	for _, page := range []struct {
		path string
		size *int64
		took *time.Duration
	}{{"/metrics", &r.Metrics, &r.MetricsTime}, {"/config_dump", &r.Dump, &r.DumpTime}} {
		began := time.Now()
		status, size, _, err := e.get(ctx, page.path)
		if err != nil || status != http.StatusOK {
			return fmt.Errorf("reading %s: status %d: %w", page.path, status, err)
		}
		*page.size, *page.took = size, time.Since(began)
	}
	var err error
	_, r.PagesPeak, err = e.memory()
	return err
}
