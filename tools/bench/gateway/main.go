// Command gateway measures through the pinned Envoy what an engine adds to requests:
// the latency of requests that pass a chain beside that of requests on a route of the
// same Envoy where the filter is disabled, in turns; and that many requests in flight at
// once all come through.
//
// See docs/performance.md for how to run it and what came out.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"text/tabwriter"
	"time"

	"policyengine.dev/envoy_test/harness"
)

type flags struct {
	engine, envoy, format   string
	clients, rounds, flying int
	window                  time.Duration
}

func main() {
	var f flags
	flag.StringVar(&f.engine, "engine", "", "the engine's binary, with set-header v1.0.0 and probe v1.0.0 compiled in (required)")
	flag.StringVar(&f.envoy, "envoy", "", "the Envoy binary (default: the pinned one)")
	flag.StringVar(&f.format, "format", "table", "table or json")
	flag.IntVar(&f.clients, "clients", 8, "requests in flight while latency is measured")
	flag.IntVar(&f.rounds, "rounds", 5, "turns without and with the chain")
	flag.DurationVar(&f.window, "window", 2*time.Second, "length of one turn")
	flag.IntVar(&f.flying, "in-flight", 10_000, "requests to have in flight at one moment; 0 leaves that out")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, f, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "gateway:", err)
		os.Exit(1)
	}
}

// Measurement is what came out for one kind of request.
type Measurement struct {
	Name string `json:"name"`
	// Bare and Chain are latencies without and with the chain, medians over the
	// rounds; Added is the median of the differences of the p95.
	Bare  Latency       `json:"bare"`
	Chain Latency       `json:"chain"`
	Added time.Duration `json:"addedP95Ns"`
	// Target is the most that Added may be.
	Target   time.Duration `json:"targetNs"`
	Requests int           `json:"requests"`
}

// Latency is a distribution's percentiles.
type Latency struct {
	P50 time.Duration `json:"p50Ns"`
	P95 time.Duration `json:"p95Ns"`
	P99 time.Duration `json:"p99Ns"`
}

// Flight is what came out of many requests in flight at once.
type Flight struct {
	InFlight int           `json:"inFlight"`
	Failed   int           `json:"failed"`
	Took     time.Duration `json:"tookNs"`
}

const chainsYAML = `
chains:
- name: headers
  policies:
  - {id: h1, name: set-header, version: v1, params: {request: {set: [{name: x-one, value: "1"}]}}}
  - {id: h2, name: set-header, version: v1, params: {request: {set: [{name: x-two, value: "1"}]}}, when: 'request.method == "POST"'}
  - {id: h3, name: set-header, version: v1, params: {request: {append: [{name: x-three, value: "1"}]}}}
  - {id: h4, name: set-header, version: v1, params: {request: {remove: [x-four]}}}
  - {id: h5, name: set-header, version: v1, params: {request: {set: [{name: x-five, value: "1"}]}, response: {set: [{name: x-served, value: "1"}]}}}
- name: body
  policies:
  - {id: b1, name: probe, version: v1, params: {requestBody: {tell: {x-body-length: body_length}}}}
routes:
- {name: headers, chain: headers}
- {name: body, chain: body}
`

func run(ctx context.Context, f flags, out io.Writer) error {
	if f.engine == "" {
		return errors.New("-engine is required")
	}
	// The engine is started in its own directory.
	engine, err := filepath.Abs(f.engine)
	if err != nil {
		return err
	}
	up, err := startUpstream()
	if err != nil {
		return err
	}
	defer up.close()
	o := harness.Options{
		Envoy: f.envoy, Concurrency: 2,
		Engine: harness.EngineOptions{Path: engine, Chains: []byte(chainsYAML), Config: map[string]any{
			"telemetry": map[string]any{"logs": map[string]any{"level": "warn"}},
		}},
		Bootstrap: bootstrap(up.address()),
	}
	if err := o.ShowBodies(ctx); err != nil {
		return err
	}
	stack, err := harness.Start(ctx, o)
	if err != nil {
		return err
	}
	defer stack.Close()
	var result struct {
		Latency []Measurement `json:"latency"`
		Flight  *Flight       `json:"flight,omitempty"`
	}
	body := bytes.Repeat([]byte("0123456789"), 10_000)
	for _, k := range []kind{
		{"headers, five policies", "/headers", nil, 5 * time.Millisecond},
		{"100 kB body, buffered", "/body", body, 20 * time.Millisecond},
	} {
		m, err := measure(ctx, f, stack, k)
		if err != nil {
			return fmt.Errorf("measuring %s: %w\n%s", k.name, err, stack.Logs())
		}
		result.Latency = append(result.Latency, m)
	}
	if f.flying > 0 {
		flight, err := fly(ctx, stack.Address(), up, f.flying)
		if err != nil {
			return fmt.Errorf("%w\n%s", err, stack.Logs())
		}
		result.Flight = flight
	}
	if f.format == "json" {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(result)
	}
	w := tabwriter.NewWriter(out, 2, 8, 2, ' ', 0)
	fmt.Fprintln(w, "requests\tp95 added\tbelow\tp50 without, with\tp95 without, with\tp99 without, with\trequests measured")
	round := func(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
	for _, m := range result.Latency {
		fmt.Fprintf(w, "%s\t%v\t%v\t%v, %v\t%v, %v\t%v, %v\t%d\n", m.Name, round(m.Added), m.Target,
			round(m.Bare.P50), round(m.Chain.P50), round(m.Bare.P95), round(m.Chain.P95), round(m.Bare.P99), round(m.Chain.P99), m.Requests)
	}
	if x := result.Flight; x != nil {
		fmt.Fprintf(w, "%d in flight at once\t\t\t\t\t\t%d failed, in %v\n", x.InFlight, x.Failed, x.Took.Round(time.Millisecond))
	}
	return w.Flush()
}

// kind is one kind of request.
type kind struct {
	name, path string
	body       []byte
	target     time.Duration
}

// measure sends requests without and with the chain, in turns.
func measure(ctx context.Context, f flags, stack *harness.Stack, k kind) (Measurement, error) {
	m := Measurement{Name: k.name, Target: k.target}
	c := newClient(stack.Address(), 1)
	defer c.close()
	var bare, chain []Latency
	var added []time.Duration
	for i := range f.rounds + 1 {
		without, err := c.load(ctx, "/bare"+k.path, k.body, f.clients, f.window)
		if err != nil {
			return m, err
		}
		with, err := c.load(ctx, k.path, k.body, f.clients, f.window)
		if err != nil {
			return m, err
		}
		if i == 0 {
			continue // connections, pools and caches
		}
		m.Requests += len(without) + len(with)
		b, w := latency(without), latency(with)
		bare, chain = append(bare, b), append(chain, w)
		added = append(added, w.P95-b.P95)
	}
	m.Bare, m.Chain, m.Added = medians(bare), medians(chain), median(added)
	return m, nil
}

func latency(all []time.Duration) Latency {
	slices.Sort(all)
	at := func(p float64) time.Duration {
		if len(all) == 0 {
			return 0
		}
		return all[min(int(p*float64(len(all))), len(all)-1)]
	}
	return Latency{at(0.50), at(0.95), at(0.99)}
}

func medians(all []Latency) Latency {
	var p50, p95, p99 []time.Duration
	for _, l := range all {
		p50, p95, p99 = append(p50, l.P50), append(p95, l.P95), append(p99, l.P99)
	}
	return Latency{median(p50), median(p95), median(p99)}
}

func median(all []time.Duration) time.Duration {
	s := slices.Sorted(slices.Values(all))
	if len(s) == 0 {
		return 0
	}
	return s[len(s)/2]
}
