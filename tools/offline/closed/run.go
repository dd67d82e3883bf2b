package closed

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// problem is what keeps a set-up from going on, and what to do about it.
type problem struct{ what, remedy string }

func (p problem) Error() string { return p.what + "\n  remedy: " + p.remedy }

// runner runs the tools of the host.
type runner interface {
	// has reports whether name is on PATH.
	has(name string) bool

	// output runs name in dir (empty: where the process is) with env added to the
	// environment, and returns its standard output. The error holds what the tool
	// said on its standard error.
	output(ctx context.Context, dir string, env []string, name string, args ...string) (string, error)
}

type hostRunner struct{}

func (hostRunner) has(name string) bool {
	_, err := exec.LookPath(name)
	return err == nil
}

func (hostRunner) output(ctx context.Context, dir string, env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		said := strings.TrimSpace(stderr.String())
		if said == "" {
			said = strings.TrimSpace(stdout.String())
		}
		return stdout.String(), fmt.Errorf("%s: %w: %s", name, err, last(said, 2000))
	}
	return stdout.String(), nil
}

func last(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return "..." + s[len(s)-n:]
}
