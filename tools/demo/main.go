// Command demo shows the payments bundle at work: it starts an upstream, the engine
// and the pinned Envoy, sends requests that show what each policy does, and prints
// who decided each one.
//
//	./bazelw run //:demo             until Ctrl-C, to try requests by hand
//	./bazelw run //:demo -- --once   exits after the table, with status 1 if a row was not as expected
//
// It needs no other program and leaves no file or process behind.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"policyengine.dev/envoy_test/engines"
	"policyengine.dev/envoy_test/harness"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// startTimeout bounds the start of all processes together.
const startTimeout = 2 * time.Minute

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	once := flags.Bool("once", false, "exit after the table, with status 1 if a row was not as expected")
	bundle := flags.String("bundle", "", "the label of a bundle of your own, such as //bundles:mine; requires --chains")
	chains := flags.String("chains", "", "a `file` of chains and routes of your own; Envoy gets each route, for the paths that begin with its name")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("unexpected argument %q: the demo takes only flags", flags.Arg(0))
	case *bundle != "" && *chains == "":
		return errors.New("--bundle requires --chains FILE: a file of chains and routes for its policies")
	case *chains != "":
		return runOwn(ctx, *bundle, *chains, *once, out)
	}
	scene, err := newScene(time.Now())
	if err != nil {
		return err
	}
	stack, err := start(ctx, scene)
	if err != nil {
		return err
	}
	defer stack.Close()
	results, err := play(ctx, stack, scene)
	if err != nil {
		if ctx.Err() != nil {
			return nil // interrupted
		}
		return fmt.Errorf("%w\n%s", err, stack.Logs())
	}
	writeTable(out, results)
	err = unexpected(results)
	if *once {
		return err
	}
	if err != nil {
		fmt.Fprintln(out, err)
	}
	writeAddresses(out, stack, fmt.Sprintf("curl -i -H 'x-api-key: %s' http://%s/charge", goodKey, stack.Address()))
	<-ctx.Done()
	fmt.Fprintln(out, "\nStopping.")
	return nil
}

// runOwn demonstrates the user's own bundle and chains.
func runOwn(ctx context.Context, bundle, chains string, once bool, out io.Writer) error {
	o, err := newOwn(bundle, chains)
	if err != nil {
		return err
	}
	stack, err := o.start(ctx)
	if err != nil {
		return err
	}
	defer stack.Close()
	if err := o.show(ctx, stack, out); err != nil {
		return fmt.Errorf("%w\n%s", err, stack.Logs())
	}
	if once {
		return nil
	}
	writeAddresses(out, stack, fmt.Sprintf("curl -i http://%s/%s", stack.Address(), o.routes[0]))
	<-ctx.Done()
	fmt.Fprintln(out, "\nStopping.")
	return nil
}

func start(ctx context.Context, s *scene) (*harness.Stack, error) {
	engine, err := engines.Payments()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	options := harness.Options{
		Engine:    harness.EngineOptions{Path: engine, Chains: s.chains},
		Bootstrap: harness.Bootstrap{Routes: routes()},
	}
	if err := options.ShowBodies(ctx); err != nil {
		return nil, err
	}
	stack, err := harness.Start(ctx, options)
	if err != nil {
		return nil, err
	}
	stack.Upstream.Answer(harness.Answer{Echo: true})
	return stack, nil
}

// unexpected returns an error that lists every deviation from the expected rows, or nil.
func unexpected(results []result) error {
	var all []error
	for _, r := range results {
		for _, p := range r.problems {
			all = append(all, fmt.Errorf("%s: %s", r.row.shows, p))
		}
	}
	return errors.Join(all...)
}
