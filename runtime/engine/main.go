package engine

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"go.opentelemetry.io/otel"

	"policyengine.dev/runtime/bundle"
	"policyengine.dev/runtime/commandline"
	"policyengine.dev/runtime/config"
	"policyengine.dev/runtime/telemetry/tracing"
	"policyengine.dev/runtime/worker"
)

// DefaultConfig is the engine.yaml that is read unless a flag names another.
const DefaultConfig = "/etc/policy-engine/engine.yaml"

// Exit codes of [Main].
const (
	exitOK     = commandline.ExitOK
	exitFailed = commandline.ExitFailed
	exitUsage  = commandline.ExitUsage
)

// Main is the main function of an engine with the given policies. The manifest is that of the bundle, as
// bundle.Manifest.Encode writes it, or empty for a program that is no bundle. Main reads the process's
// arguments, runs the command that they name, and ends the process. docs/reference/policy-engine.md
// describes the commands. The exit code is 0 on success, and after SIGINT or SIGTERM; 1 if
// the engine could not start or go on, or if a check found a problem; 2 for unknown
// commands and flags. A second signal ends the process without waiting for requests.
func Main(manifest string, entries []worker.Entry) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	os.Exit(run(os.Args[1:], manifest, entries, signals, os.Stdout, os.Stderr))
}

// run is Main without the process.
func run(args []string, manifest string, entries []worker.Entry, signals <-chan os.Signal, stdout, stderr io.Writer) int {
	args, err := fromFlags(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		args = []string{"--help"}
	case err != nil:
		return exitUsage
	}
	p := &program{entries: entries, signals: signals}
	if manifest != "" {
		if p.manifest, err = bundle.Parse([]byte(manifest)); err != nil {
			fmt.Fprintln(stderr, err)
			return exitFailed
		}
	}
	return commandline.Main(context.Background(), p.command(), args, commandline.IO{Out: stdout, Err: stderr})
}

// serve is the command run.
func (p *program) serve(static config.Engine, registry *worker.Registry, logger *slog.Logger) error {
	// The process does nothing but serve, so its global logger and error handler are
	// the engine's.
	slog.SetDefault(logger)
	otel.SetErrorHandler(tracing.NewErrorLog(logger))
	defer holdHeap()()
	limitHeap()
	e, err := newEngine(static, registry, p.manifest, logger)
	if err != nil {
		return err
	}
	return e.runUntil(p.signals)
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
