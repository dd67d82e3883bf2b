// Command ci runs every check of the repository; .ci/run starts it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"policyengine.dev/tools/ci"
)

func main() {
	full := flag.Bool("full", false, "compare the payments image with one built cold in another directory, too")
	only := flag.String("only", "", "run the checks alone whose name has this `text` in it")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "ci: there are no arguments but flags: %q\n", flag.Args())
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ok, err := run(ctx, *full, *only)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "ci:", err)
	}
	if !ok || err != nil {
		os.Exit(1)
	}
}

func run(ctx context.Context, full bool, only string) (bool, error) {
	root, err := os.Getwd()
	if err != nil {
		return false, err
	}
	temp, err := os.MkdirTemp("", "policy-engine-ci-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(temp)
	r := ci.Repository{Root: root, Temp: temp, Out: os.Stdout}
	return ci.Run(ctx, os.Stdout, time.Now, ci.Matching(r.Checks(full), only)), nil
}
