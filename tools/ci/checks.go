package ci

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"policyengine.dev/tools/offline/results"
)

// A Repository is the checkout that is checked.
type Repository struct {
	// Root is its directory.
	Root string
	// Temp is a directory for what the checks write.
	Temp string
	// Out takes what the commands say.
	Out io.Writer
	// TestFlags are further flags for Bazel's tests.
	TestFlags []string
}

// Checks returns all checks; full adds those that take long.
func (r Repository) Checks(full bool) []Check {
	checks := []Check{
		{"./bazelw test //...", r.bazelTest},
		r.command("./bazelw", "run", "--config=ci", "//:gazelle", "--", "-mode=diff"),
		r.command("./bazelw", "run", "--config=ci", "//:buildifier.check"),
		{"gofmt -l", r.gofmt},
		r.command("go", "mod", "tidy", "-diff"),
		r.command("go", "vet", "./..."),
		// Bazel builds without cgo, and so without the race detector. This also
		// finds a policy version that gazelle has not seen yet.
		{"go test -race", r.race},
		// Bazel has only a part of the tree: there the tests over the whole tree are skipped.
		r.command("go", "test", "./tools/docs", "./tools/prose"),
		// In Bazel there is no module to compare with, and the test is skipped.
		r.command("go", "test", "-run=TestEveryMessageIsKnown", "./tools/pectl/envoyconfig/message"),
		// In Bazel there are no sources to walk through or to draw, and those tests are skipped.
		r.command("go", "test", "./tools/architecture"),
		r.command("go", "tool", "-modfile=tools/lint/go.mod", "staticcheck", "./..."),
		{"no test runs a program of the machine", r.programsOfOthers},
		{"a wrong Envoy is refused", r.wrongEnvoy},
		{"bad policies fail the build", r.refusedPolicies},
		{"examples/workspace: ../../bazelw test //...", r.otherWorkspace},
		{"manifest and bill of materials list what Go links", r.sameModules},
		r.command("go", "test", "-run=TestTableIsCurrent", "./tools/licenses"),
	}
	if full {
		checks = append(checks, Check{"the payments image, built cold in another directory, is the same", r.sameImage})
	}
	return checks
}

// command is a check that passes if the command does.
func (r Repository) command(name string, args ...string) Check {
	line := strings.Join(append([]string{name}, args...), " ")
	return Check{line, func(ctx context.Context) Outcome {
		if err := r.run(ctx, r.Root, r.Out, name, args...); err != nil {
			return failed("%v", err)
		}
		return passed
	}}
}

func (r Repository) run(ctx context.Context, dir string, out io.Writer, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = out, r.Out
	return cmd.Run()
}

func (r Repository) bazelTest(ctx context.Context) Outcome {
	return r.testWorkspace(ctx, r.Root)
}

// otherWorkspace builds and tests the workspace that has this repository as a module.
func (r Repository) otherWorkspace(ctx context.Context) Outcome {
	dir := filepath.Join(r.Root, "examples", "workspace")
	// Its Bazel server would stay beside this repository's, which is the one that a developer uses next.
	defer func() { _ = r.run(context.WithoutCancel(ctx), dir, r.Out, filepath.Join(r.Root, "bazelw"), "shutdown") }()
	return r.testWorkspace(ctx, dir)
}

// testWorkspace runs all tests of the Bazel workspace in dir, and builds everything in it.
func (r Repository) testWorkspace(ctx context.Context, dir string) Outcome {
	events := filepath.Join(r.Temp, "events.json")
	bazelw := filepath.Join(r.Root, "bazelw")
	// config=ci says how it is reported, and that a failure does not keep the rest from running.
	ran := r.run(ctx, dir, r.Out, bazelw, append([]string{"test", "//...", "--config=ci", "--build_event_json_file=" + events}, r.TestFlags...)...)
	f, err := os.Open(events)
	if err != nil {
		return failed("Bazel left no results (%v): %v", ran, err)
	}
	defer f.Close()
	o, err := results.Read(f, results.ReadFileURI)
	if err != nil {
		return failed("%v", err)
	}
	if ran != nil && o.Failed == 0 {
		o = o.Plus(failed("bazel test: %v", ran))
	}
	return o
}

// gofmt looks at what git knows; testdata may hold what is not Go on purpose.
func (r Repository) gofmt(ctx context.Context) Outcome {
	var files bytes.Buffer
	if err := r.run(ctx, r.Root, &files, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.go"); err != nil {
		return failed("git ls-files: %v", err)
	}
	args := []string{"-l"}
	for _, f := range strings.Split(strings.Trim(files.String(), "\x00"), "\x00") {
		if _, err := os.Stat(filepath.Join(r.Root, f)); err == nil && !strings.Contains("/"+f, "/testdata/") {
			args = append(args, f)
		}
	}
	var unformatted bytes.Buffer
	if err := r.run(ctx, r.Root, &unformatted, "gofmt", args...); err != nil {
		return failed("gofmt: %v", err)
	}
	if names := strings.Fields(unformatted.String()); len(names) > 0 {
		return Outcome{Failed: 1, Problems: names}
	}
	return passed
}

// wrongEnvoy has Bazel take a program that is not Envoy for it.
func (r Repository) wrongEnvoy(ctx context.Context) Outcome {
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, "./bazelw", "build", "--repo_env=POLICY_ENGINE_ENVOY=/bin/sh", "//tools/envoy:pinned")
	cmd.Dir = r.Root
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err == nil {
		return failed("Bazel took /bin/sh for Envoy")
	}
	for _, want := range []string{"its sha256 is", "pinned is"} {
		if !strings.Contains(said.String(), want) {
			return failed("the refusal has no %q in it:\n%s", want, said.String())
		}
	}
	fmt.Fprintln(r.Out, "refused, with both hashes")
	return passed
}
