// Command extproc measures what an engine costs against the floor (package floor), a
// no-op ext_proc server, side by side in one run: the two are measured in turns, so
// that a machine that becomes slower or faster meanwhile does so for both.
//
// See docs/performance.md for how to run it and what came out.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"policyengine.dev/tools/bench/load"
	"policyengine.dev/tools/bench/server"
)

type flags struct {
	engine, floor, chain, format string
	streams, connections, rounds int
	window                       time.Duration
}

func main() {
	var f flags
	flag.StringVar(&f.engine, "engine", "", "the engine's binary, with set-header v1.0.0 and probe v1.0.0 and v2.0.0 compiled in (required)")
	flag.StringVar(&f.floor, "floor", "", "the floor's binary (required)")
	flag.StringVar(&f.chain, "chain", "", "measure only the chains whose name contains this")
	flag.StringVar(&f.format, "format", "table", "table, json, or bench (for benchstat)")
	flag.IntVar(&f.streams, "streams", 32, "streams in flight")
	flag.IntVar(&f.connections, "connections", 1, "connections that they share")
	flag.IntVar(&f.rounds, "rounds", 5, "turns of floor and engine for each chain")
	flag.DurationVar(&f.window, "window", 2*time.Second, "length of one turn")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, f, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "extproc:", err)
		os.Exit(1)
	}
}

// Measurement is what came out for one chain.
type Measurement struct {
	Chain string `json:"chain"`
	// Ratio is the median, over the rounds, of the engine's CPU time per stream
	// against the floor's; Target is the most it may be.
	Ratio  float64   `json:"ratio"`
	Ratios []float64 `json:"ratios"`
	Target float64   `json:"target,omitempty"`
	Floor  Side      `json:"floor"`
	Engine Side      `json:"engine"`
}

// Side is what one server did in all rounds.
type Side struct {
	Streams int64 `json:"streams"`
	Failed  int64 `json:"failed"`
	// CPU is the server's own, user and system, per stream.
	CPU time.Duration `json:"cpuPerStreamNs"`
	// Throughput is streams per second of wall time, and P50 to P99 latencies of
	// whole streams; medians over the rounds.
	Throughput float64       `json:"streamsPerSecond"`
	P50        time.Duration `json:"p50Ns"`
	P95        time.Duration `json:"p95Ns"`
	P99        time.Duration `json:"p99Ns"`
}

func run(ctx context.Context, f flags, out io.Writer) error {
	if f.engine == "" || f.floor == "" {
		return errors.New("-engine and -floor are required")
	}
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	chains, err := chains()
	if err != nil {
		return err
	}
	var all []Measurement
	for _, c := range chains {
		if !strings.Contains(c.name, f.chain) {
			continue
		}
		m, err := measure(ctx, f, dir, c)
		if err != nil {
			return fmt.Errorf("measuring %s: %w", c.name, err)
		}
		all = append(all, m)
	}
	return write(out, f, all)
}

func measure(ctx context.Context, f flags, dir string, c chain) (Measurement, error) {
	m := Measurement{Chain: c.name, Target: c.target}
	messages, err := c.encoded()
	if err != nil {
		return m, err
	}
	floor, err := startFloor(ctx, f.floor, dir, c)
	if err != nil {
		return m, err
	}
	defer floor.Stop()
	if c.inFlight > 0 {
		f.streams = min(f.streams, c.inFlight)
	}
	engine, err := startEngine(ctx, f.engine, dir, c)
	if err != nil {
		return m, err
	}
	defer engine.Stop()
	sides := []struct {
		server *server.Server
		side   *Side
		client *load.Client
		runs   []sample
	}{{server: floor, side: &m.Floor}, {server: engine, side: &m.Engine}}
	for i := range sides {
		s := &sides[i]
		s.client, err = load.Dial(load.Options{
			Target: "unix:" + s.server.Socket(), Connections: f.connections, Streams: f.streams, Messages: messages,
			Reply: noAnswer,
		})
		if err != nil {
			return m, err
		}
		defer s.client.Close()
		// Connections are opened, pools are filled, and the heap finds its size.
		s.client.Run(ctx, f.window/4)
	}
	for range f.rounds {
		for i := range sides {
			s := &sides[i]
			r, err := sampleOnce(ctx, s.server, s.client, f.window)
			if err != nil {
				return m, err
			}
			s.runs = append(s.runs, r)
		}
		n := len(sides[0].runs) - 1
		m.Ratios = append(m.Ratios, float64(sides[1].runs[n].cpu)/float64(sides[0].runs[n].cpu))
	}
	m.Ratio = median(m.Ratios)
	for i := range sides {
		*sides[i].side = summarise(sides[i].runs)
	}
	return m, nil
}

// noAnswer refuses replies that end a request: nothing that is measured does.
func noAnswer(_ int, reply []byte) error {
	const immediate = 7<<3 | 2 // field 7 of ProcessingResponse
	if len(reply) > 0 && reply[0] == immediate {
		return fmt.Errorf("the request was answered: %q", reply)
	}
	return nil
}

// sample is one turn of one server.
type sample struct {
	*load.Result
	cpu time.Duration // per stream
}

func sampleOnce(ctx context.Context, s *server.Server, c *load.Client, window time.Duration) (sample, error) {
	before, err := s.CPU()
	if err != nil {
		return sample{}, err
	}
	r := c.Run(ctx, window)
	after, err := s.CPU()
	if err != nil {
		return sample{}, err
	}
	if r.Failed > 0 || r.Streams == 0 {
		return sample{}, fmt.Errorf("%d streams of %d failed: %w", r.Failed, r.Streams+r.Failed, r.Err)
	}
	return sample{r, (after - before) / time.Duration(r.Streams)}, nil
}

func summarise(runs []sample) Side {
	var s Side
	var cpu, p50, p95, p99 []time.Duration
	var rate []float64
	for _, r := range runs {
		s.Streams += r.Streams
		s.Failed += r.Failed
		cpu = append(cpu, r.cpu)
		rate = append(rate, float64(r.Streams)/r.Took.Seconds())
		p50 = append(p50, r.Percentile(0.50))
		p95 = append(p95, r.Percentile(0.95))
		p99 = append(p99, r.Percentile(0.99))
	}
	s.CPU, s.Throughput, s.P50, s.P95, s.P99 = median(cpu), median(rate), median(p50), median(p95), median(p99)
	return s
}

func median[T int64 | float64 | time.Duration](v []T) T {
	s := slices.Sorted(slices.Values(v))
	if len(s) == 0 {
		return 0
	}
	return s[len(s)/2]
}

func write(out io.Writer, f flags, all []Measurement) error {
	switch f.format {
	case "json":
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(all)
	case "bench":
		fmt.Fprintf(out, "goos: %s\ngoarch: %s\n", runtime.GOOS, runtime.GOARCH)
		for _, m := range all {
			name := strings.ReplaceAll(m.Chain, " ", "-")
			for _, r := range m.Ratios {
				fmt.Fprintf(out, "BenchmarkExtProc/%s 1 %.3f x-floor\n", name, r)
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(out, 2, 8, 2, ' ', 0)
	fmt.Fprintln(w, "chain\tagainst the floor\tat most\tCPU per stream\tfloor's\tstreams/s\tp50\tp95\tp99")
	for _, m := range all {
		fmt.Fprintf(w, "%s\t%.2f (%.2f–%.2f)\t%.2f\t%v\t%v\t%.0f\t%v\t%v\t%v\n", m.Chain, m.Ratio, slices.Min(m.Ratios), slices.Max(m.Ratios), m.Target,
			m.Engine.CPU.Round(100*time.Nanosecond), m.Floor.CPU.Round(100*time.Nanosecond), m.Engine.Throughput,
			m.Engine.P50.Round(time.Microsecond), m.Engine.P95.Round(time.Microsecond), m.Engine.P99.Round(time.Microsecond))
	}
	return w.Flush()
}
