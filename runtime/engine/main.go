package engine

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"go.opentelemetry.io/otel"

	"policyengine.dev/runtime/admin"
	"policyengine.dev/runtime/config"
	"policyengine.dev/runtime/host"
	"policyengine.dev/runtime/telemetry/tracing"
	"policyengine.dev/runtime/worker"
)

// DefaultConfig is the engine.yaml that is read where no flag names another.
const DefaultConfig = "/etc/policy-engine/engine.yaml"

// Exit codes of [Main].
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// Main runs an engine with the given policies until it is told to end, and ends the
// process: with 0 after SIGINT or SIGTERM, or when a check found nothing wrong; with
// 1 where it could not start or go on, with 2 for flags that do not exist. Flags:
//
//	-config FILE  engine.yaml
//	-check        report what is wrong with engine.yaml, chains and routes, and end
//	-start        with -check: also start the policies, and report those that cannot start
//	-dump         with -check: print what would be in force, as /config_dump does
//	-policies     list the policy versions compiled in, and end
//	-version      say what this is, and end
func Main(entries []worker.Entry) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	os.Exit(run(os.Args[1:], entries, signals, os.Stdout, os.Stderr))
}

type flags struct {
	config            string
	check, dump       bool
	start             bool
	policies, version bool
}

func parseFlags(args []string, stderr io.Writer) (flags, error) {
	var f flags
	set := flag.NewFlagSet("policy-engine", flag.ContinueOnError)
	set.SetOutput(stderr)
	set.StringVar(&f.config, "config", DefaultConfig, "the engine's configuration `file`")
	set.BoolVar(&f.check, "check", false, "report what is wrong with the configuration, chains and routes included, and end")
	set.BoolVar(&f.start, "start", false, "with -check: also start the policies, which fetch keys and read files, and report those that cannot start")
	set.BoolVar(&f.dump, "dump", false, "with -check: print what would be in force, as /config_dump shows it")
	set.BoolVar(&f.policies, "policies", false, "list the policy versions compiled in, and end")
	set.BoolVar(&f.version, "version", false, "say what this is, and end")
	set.Usage = func() {
		fmt.Fprint(stderr, "Usage: policy-engine [flags]\n\nServes policies to Envoy over its external processing filter.\n\n")
		set.PrintDefaults()
	}
	if err := set.Parse(args); err != nil {
		return f, err
	}
	if f.dump && !f.check {
		fmt.Fprintln(stderr, "-dump goes with -check; a running engine shows its configuration on /config_dump")
		return f, errors.New("flags")
	}
	if f.start && !f.check {
		fmt.Fprintln(stderr, "-start goes with -check; a running engine starts its policies anyway")
		return f, errors.New("flags")
	}
	if set.NArg() > 0 {
		fmt.Fprintf(stderr, "policy-engine takes no arguments, and was given %q\n", set.Args())
		return f, errors.New("arguments")
	}
	return f, nil
}

// run is Main but for the process. Two signals end it at once.
func run(args []string, entries []worker.Entry, signals <-chan os.Signal, stdout, stderr io.Writer) int {
	f, err := parseFlags(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage
	case f.version:
		fmt.Fprintln(stdout, Version())
		return exitOK
	}
	registry, err := worker.NewRegistry(entries...)
	if err != nil {
		return failed(stderr, err)
	}
	if f.policies {
		for v := range registry.Versions {
			fmt.Fprintf(stdout, "%s\t%s\n", v, v.Definition.Description)
		}
		return exitOK
	}
	static, err := config.LoadEngine(f.config)
	if err != nil {
		return failed(stderr, err)
	}
	logger := newLogger(static.Telemetry.Logs, stderr)
	if f.check {
		return check(static, registry, f, stdout, stderr)
	}
	// An engine has nothing to do but to serve; what it is given to run on
	// is its own.
	slog.SetDefault(logger)
	otel.SetErrorHandler(tracing.NewErrorLog(logger))
	defer holdHeap()()
	limitHeap()
	e, err := New(static, registry, logger)
	if err != nil {
		return failed(stderr, err)
	}
	if err := e.runUntil(signals); err != nil {
		return failed(stderr, err)
	}
	return exitOK
}

func failed(stderr io.Writer, err error) int {
	fmt.Fprintln(stderr, err)
	return exitFailed
}

func check(static config.Engine, registry *worker.Registry, f flags, stdout, stderr io.Writer) int {
	discard := slog.New(slog.DiscardHandler)
	w := newWorker(static, registry, discard, host.NewMetrics(discard), nil, nil)
	defer w.Close(context.Background()) //nolint:errcheck // nothing is in force
	update := config.FileSource{Path: static.Chains}.Load()
	snapshot, warnings, err := w.Preview(update.Spec)
	if err == nil {
		defer snapshot.Release()
	}
	for _, d := range warnings {
		fmt.Fprintln(stderr, "warning:", d.Error())
	}
	problems := append(problemsOf(err), checkLimits(static, update.Spec)...)
	if f.start && update.Err == nil && len(problems) == 0 {
		_, err := w.Try(context.Background(), update.Spec)
		problems = problemsOf(err)
	}
	if err := update.Problems(problems); err != nil {
		return failed(stderr, err)
	}
	if f.dump {
		e := json.NewEncoder(stdout)
		e.SetIndent("", "  ")
		build := admin.Build{Engine: Version(), Go: runtime.Version()}
		if err := e.Encode(admin.Preview(build, registry, snapshot, warnings)); err != nil {
			return failed(stderr, err)
		}
		return exitOK
	}
	started := ""
	if f.start {
		started = "; every policy has started"
	}
	fmt.Fprintf(stdout, "%d chains and %d routes, nothing wrong%s\n", len(update.Spec.Chains), len(update.Spec.Routes), started)
	return exitOK
}

func newLogger(l config.Logs, to io.Writer) *slog.Logger {
	o := &slog.HandlerOptions{Level: l.Level}
	if l.JSON {
		o.ReplaceAttr = durationAsText
		return slog.New(slog.NewJSONHandler(to, o))
	}
	return slog.New(slog.NewTextHandler(to, o))
}

// durationAsText keeps JSON logs from writing durations as numbers of nanoseconds.
func durationAsText(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}

func moduleVersion() string {
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
		return b.Main.Version
	}
	return "unversioned"
}

// Version says what this binary is: the module's version, where it was built from
// one, and Go's.
func Version() string {
	return "policy-engine " + moduleVersion() + " " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH
}
