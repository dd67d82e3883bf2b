// Command ci runs every check of the repository; .ci/run starts it.
package main

import (
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"policyengine.dev/tools/ci"
)

func main() {
	full := flag.Bool("full", false, "compare the payments image with one built cold in another directory, too")
	only := flag.String("only", "", "run the checks alone whose name has this `text` in it")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "ci: unexpected arguments: %q\n", flag.Args())
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
	cache, err := os.UserCacheDir()
	if err != nil {
		return false, err
	}
	// One for each checkout, and the same in each run: Bazel takes the PATH for an
	// input of the tests.
	checkout := fmt.Sprintf("%.4x", sha256.Sum256([]byte(root)))
	flags, err := ci.HidePrograms(root, filepath.Join(cache, "policy-engine-ci", checkout))
	if err != nil {
		return false, err
	}
	r := ci.Repository{Root: root, Temp: temp, Out: os.Stdout, TestFlags: flags}
	return ci.Run(ctx, os.Stdout, time.Now, ci.Matching(r.Checks(full), only)), nil
}
