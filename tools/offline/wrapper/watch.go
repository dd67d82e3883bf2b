package wrapper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"policyengine.dev/tools/offline/progress"
	"policyengine.dev/tools/offline/results"
)

// An ExitStatus is Bazel's, for bazelw to end with. Bazel has said why.
type ExitStatus int

func (e ExitStatus) Error() string { return fmt.Sprintf("Bazel ended with status %d", int(e)) }

// watched are the commands that build, and so may take long.
var watched = []string{"build", "coverage", "run", "test"}

// firstWords and everyWords are when it is said what is left, to a log; to a person
// at a terminal Bazel shows it itself, all the time.
const (
	firstWords = 15 * time.Second
	everyWords = 30 * time.Second
)

// toWatch returns the command of Bazel's in args, and its place, if it is one that is
// watched, and args leave the file of events to bazelw.
func toWatch(args []string) (command string, at int, ok bool) {
	for i, arg := range args {
		if strings.HasPrefix(arg, "-") { // an option of Bazel itself
			continue
		}
		own := slices.ContainsFunc(args[i:], func(a string) bool { return strings.HasPrefix(a, "--build_event_") })
		return arg, i, slices.Contains(watched, arg) && !own
	}
	return "", 0, false
}

// watch runs Bazel, says meanwhile what is left to do, and in the end which tests were
// skipped and why. program's arguments are args, of which the command is at the index
// at.
func (w *Wrapper) watch(ctx context.Context, program string, args []string, at int) error {
	dir, err := os.MkdirTemp(w.Cache, "events-")
	if err != nil {
		return fmt.Errorf("watching Bazel: %w", err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "events.json")
	args = slices.Insert(slices.Clone(args), at+1, "--build_event_json_file="+file, "--build_event_publish_all_actions")

	cmd := exec.Command(program, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, w.Stdout, w.Stderr
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", program, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()

	p, tail, begun := progress.Progress{Command: args[at]}, progress.Tail{Path: file}, time.Now()
	words := time.NewTimer(firstWords)
	defer words.Stop()
	for {
		select {
		case err := <-ended:
			if args[at] == "test" {
				w.saySkipped(file)
			}
			return exitStatus(err)
		case s := <-signals:
			// A terminal sends its signals to all of a group, Bazel included.
			if (s == os.Interrupt || s == syscall.SIGQUIT) && isTerminal(os.Stdin) {
				continue
			}
			_ = cmd.Process.Signal(s) // it fails if Bazel has ended, which is seen next
		case <-words.C:
			tail.Read(p.Line)
			if p.Building() && !isTerminal(os.Stderr) {
				w.say("%s", p.Words(time.Since(begun)))
			}
			words.Reset(everyWords)
		}
	}
}

// exitStatus is what Wait returned, as bazelw's own end.
func exitStatus(err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return ExitStatus(128 + int(status.Signal()))
	}
	return ExitStatus(exit.ExitCode())
}

// saySkipped lists the tests that were skipped: they have passed, to Bazel.
func (w *Wrapper) saySkipped(file string) {
	f, err := os.Open(file)
	if err != nil {
		return // Bazel ended before it began
	}
	defer f.Close()
	o, err := results.Read(f, results.ReadFileURI)
	if err != nil || o.Skipped == 0 {
		return // Bazel's own summary stands
	}
	w.say("skipped, so that they prove nothing (%d):", o.Skipped)
	for _, skip := range o.Skips {
		w.say("    %s", skip)
	}
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
