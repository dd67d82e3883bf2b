// Command config measures what a configuration of many chains and routes costs an engine: until it is ready, in
// memory, for one change, while nothing changes, on its admin pages, and for requests.
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
	"syscall"
	"text/tabwriter"
	"time"
)

type flags struct {
	engine, format, write string
	size                  size
	rounds                int
	window, idle          time.Duration
}

func main() {
	var f flags
	flag.StringVar(&f.engine, "engine", "", "the engine's binary, with the policies of //bundles:payments compiled in (required)")
	flag.StringVar(&f.format, "format", "table", "table or json")
	flag.IntVar(&f.size.chains, "chains", 10_000, "chains, each of ten policies")
	flag.IntVar(&f.size.routes, "routes", 10_000, "routes, over all chains in turn")
	flag.IntVar(&f.size.perFile, "per-file", 100, "chains in one file")
	flag.StringVar(&f.write, "write", "", "write the configuration into this existing directory, and measure nothing")
	flag.IntVar(&f.rounds, "rounds", 5, "times that each change is made, and turns of each kind of load")
	flag.DurationVar(&f.window, "window", 2*time.Second, "length of one turn of load")
	flag.DurationVar(&f.idle, "idle", 20*time.Second, "how long the engine is left idle; 0 does not measure that")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, f, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "config:", err)
		os.Exit(1)
	}
}

// Result is what came out.
type Result struct {
	Chains      int   `json:"chains"`
	Routes      int   `json:"routes"`
	ConfigBytes int64 `json:"configBytes"`
	// Ready is the time from the start of the process until /readyz says so, and ReadyCPU the processor time of the
	// engine in it.
	Ready    time.Duration `json:"readyNs"`
	ReadyCPU time.Duration `json:"readyCpuNs"`
	// Resident is the resident memory when the engine is ready, Peak the most until then, and Live the heap that is
	// left after a collection.
	Resident int64 `json:"residentBytes"`
	Peak     int64 `json:"peakBytes"`
	Live     int64 `json:"liveHeapBytes"`
	// Metrics and Dump are the size of the page and the time until it was read whole; PagesPeak is the most resident
	// memory until then.
	Metrics     int64         `json:"metricsBytes"`
	MetricsTime time.Duration `json:"metricsNs"`
	Dump        int64         `json:"dumpBytes"`
	DumpTime    time.Duration `json:"dumpNs"`
	PagesPeak   int64         `json:"pagesPeakBytes"`
	// RouteAdded and ParameterChanged are the times from the write of the file until a request sees the change;
	// medians over the rounds. ChangeCPU is the engine's processor time for one change.
	RouteAdded       time.Duration `json:"routeAddedNs"`
	ParameterChanged time.Duration `json:"parameterChangedNs"`
	ChangeCPU        time.Duration `json:"changeCpuNs"`
	// Idle is the part of one core that the engine takes while nothing happens.
	Idle float64 `json:"idleCores"`
	// OneChain and ManyChains are the engine's processor time for one request, all of them over one chain, or over all
	// chains in turn. Distinct is the median of their ratio.
	OneChain   time.Duration `json:"oneChainCpuNs"`
	ManyChains time.Duration `json:"manyChainsCpuNs"`
	Distinct   float64       `json:"distinct"`
	// Quiet and Reloading are the 99.9th percentiles of latency, without and with reloads; Reloads is how many there
	// were.
	Quiet     time.Duration `json:"quietP999Ns"`
	Reloading time.Duration `json:"reloadingP999Ns"`
	Reloads   int           `json:"reloads"`
}

func run(ctx context.Context, f flags, out io.Writer) error {
	if f.write != "" {
		_, err := writeConfiguration(f.write, f.size)
		return err
	}
	if f.engine == "" {
		return errors.New("-engine is required")
	}
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	c, err := writeConfiguration(dir, f.size)
	if err != nil {
		return err
	}
	r := Result{Chains: f.size.chains, Routes: f.size.routes, ConfigBytes: c.bytes}
	e, err := startEngine(ctx, f.engine, c)
	if err != nil {
		return err
	}
	defer e.stop()
	for _, measure := range []func(context.Context, flags, *configuration, *engine, *Result) error{
		measureStart, measureIdle, measureChanges, measureChains, measureReloads, measurePages,
	} {
		if err := measure(ctx, f, c, e, &r); err != nil {
			return err
		}
	}
	return write(out, f, r)
}

func write(out io.Writer, f flags, r Result) error {
	if f.format == "json" {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	const mb = 1e6
	w := tabwriter.NewWriter(out, 2, 8, 2, ' ', 0)
	fmt.Fprintf(w, "configuration\t%d chains, %d routes, %.1f MB\n", r.Chains, r.Routes, float64(r.ConfigBytes)/mb)
	fmt.Fprintf(w, "ready\t%v, %v of CPU\n", r.Ready.Round(time.Millisecond), r.ReadyCPU)
	fmt.Fprintf(w, "memory when ready\t%.0f MB resident, %.0f MB at most, %.0f MB live heap\n", float64(r.Resident)/mb, float64(r.Peak)/mb, float64(r.Live)/mb)
	fmt.Fprintf(w, "idle\t%.1f%% of a core\n", 100*r.Idle)
	fmt.Fprintf(w, "one route more\t%v\n", r.RouteAdded.Round(time.Millisecond/10))
	fmt.Fprintf(w, "one parameter changed\t%v, %v of CPU\n", r.ParameterChanged.Round(time.Millisecond/10), r.ChangeCPU)
	fmt.Fprintf(w, "a request\t%v of CPU over one chain, %v over all: %.2f\n", r.OneChain, r.ManyChains, r.Distinct)
	fmt.Fprintf(w, "p99.9\t%v, %v during %d reloads: %.2f\n", r.Quiet, r.Reloading, r.Reloads, float64(r.Reloading)/float64(r.Quiet))
	fmt.Fprintf(w, "/metrics\t%.1f MB in %v\n", float64(r.Metrics)/mb, r.MetricsTime.Round(time.Millisecond))
	fmt.Fprintf(w, "/config_dump\t%.1f MB in %v\n", float64(r.Dump)/mb, r.DumpTime.Round(time.Millisecond))
	fmt.Fprintf(w, "memory after the pages\t%.0f MB at most\n", float64(r.PagesPeak)/mb)
	return w.Flush()
}
