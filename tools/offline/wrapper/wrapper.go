// Package wrapper is what ./bazelw does: it finds out which network this is, sees
// to it that there is a Bazel, and becomes it.
package wrapper

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"policyengine.dev/tools/offline/closed"
	"policyengine.dev/tools/offline/network"
)

// A Wrapper runs Bazel for one checkout.
type Wrapper struct {
	// Root is the checkout; Cache is where everything is kept that outlives it.
	Root, Cache string
	// Stdout takes what was asked for, Stderr progress and problems.
	Stdout, Stderr io.Writer
	// Getenv reads the environment.
	Getenv func(string) string
	// Exec replaces the process: syscall.Exec.
	Exec func(program string, args, env []string) error
	// Watch runs a command that builds, which is at the index at of args, and says
	// what is left of it meanwhile.
	Watch func(ctx context.Context, program string, args []string, at int) error
	// Probe asks whether Bazel's registry can be reached.
	Probe func(context.Context) error
}

// New returns a Wrapper of this process.
func New(root, cache string) *Wrapper {
	w := &Wrapper{
		Root: root, Cache: cache,
		Stdout: os.Stdout, Stderr: os.Stderr,
		Getenv: os.Getenv, Exec: syscall.Exec,
		Probe: network.HTTPProbe(network.Registry, 3*time.Second),
	}
	w.Watch = w.watch
	return w
}

// Run does what args ask for. "doctor" and "install" are bazelw's own. Everything else
// is Bazel's, whose process this one becomes, or watches while it builds.
func (w *Wrapper) Run(ctx context.Context, args []string) error {
	if len(args) == 1 {
		switch args[0] {
		case "doctor":
			return w.doctor(ctx)
		case "install":
			return w.install()
		}
	}
	verdict, err := w.decide(ctx, time.Hour)
	if err != nil {
		return err
	}
	setup := closed.New(w.Cache, w.say)
	if verdict.Probed || verdict.Kind == network.Closed && !setup.Ready() {
		w.say("the network is %s: %s", verdict.Kind, verdict.Why)
	}
	text := w.cachesRC()
	var command []string
	if verdict.Kind == network.Closed {
		if err := setup.Ensure(ctx); err != nil {
			return err
		}
		command = []string{setup.Program(), "--nosystem_rc"}
		text += setup.RC(w.Root)
	} else {
		bazel, err := w.openBazel(ctx)
		if err != nil {
			return err
		}
		command = []string{bazel}
	}
	rc, err := w.writeRC(text)
	if err != nil {
		return err
	}
	command = append(command, "--bazelrc="+rc)
	if _, at, ok := toWatch(args); ok {
		return w.Watch(ctx, command[0], append(command[1:], args...), len(command)-1+at)
	}
	command = append(command, args...)
	if err := w.Exec(command[0], command, os.Environ()); err != nil {
		return fmt.Errorf("starting %s: %w", command[0], err)
	}
	return nil
}

func (w *Wrapper) decide(ctx context.Context, keep time.Duration) (network.Verdict, error) {
	return network.Decider{
		Setting: w.Getenv(network.Variable),
		Memory:  filepath.Join(w.Cache, "network"),
		Keep:    keep,
		Probe:   w.Probe,
		Now:     time.Now,
	}.Decide(ctx)
}

// cachesRC is what holds on every network: caches outside the checkout make a
// fresh clone cheap. Go modules are not in Bazel's own, so the host's module cache is
// used for them; their hashes are checked against go.sum either way. So is the host's
// cache of compiled packages, for the tools that fetch the modules.
func (w *Wrapper) cachesRC() string {
	return fmt.Sprintf(`# Written by bazelw.
common --disk_cache=%[1]s/disk
common --experimental_disk_cache_gc_max_size=20G
common --repository_cache=%[1]s/repository
common --repo_env=GO_REPOSITORY_USE_HOST_CACHE=1
`, w.Cache)
}

// writeRC writes a bazelrc under a name that its text decides, so that checkouts
// of different revisions share a cache, and returns the file.
func (w *Wrapper) writeRC(text string) (string, error) {
	dir := filepath.Join(w.Cache, "rc")
	path := filepath.Join(dir, fmt.Sprintf("%.8x.bazelrc", sha256.Sum256([]byte(text))))
	if have, err := os.ReadFile(path); err == nil && string(have) == text {
		return path, nil
	}
	failed := func(err error) (string, error) { return "", fmt.Errorf("writing a bazelrc for Bazel: %w", err) }
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return failed(err)
	}
	temp, err := os.CreateTemp(dir, "new-")
	if err != nil {
		return failed(err)
	}
	defer os.Remove(temp.Name())
	_, err = temp.WriteString(text)
	if err = errors.Join(err, temp.Close()); err != nil {
		return failed(err)
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		return failed(err)
	}
	return path, nil
}

func (w *Wrapper) say(format string, args ...any) {
	fmt.Fprintln(w.Stderr, "bazelw: "+strings.TrimRight(fmt.Sprintf(format, args...), "\n"))
}
