package wrapper

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"policyengine.dev/tools/offline/closed"
	"policyengine.dev/tools/offline/network"
)

// doctor says what was found and what would be done, and changes nothing. It errs
// if something is lacking.
func (w *Wrapper) doctor(ctx context.Context) error {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w.Stdout, "%-10s %s\n", name, fmt.Sprintf(format, args...))
	}
	verdict, err := w.decide(ctx, 0)
	if err != nil {
		return err
	}
	line("network", "%s: %s (set %s=open or closed to decide)", verdict.Kind, verdict.Why, network.Variable)
	line("cache", "%s (POLICY_ENGINE_CACHE or XDG_CACHE_HOME to move it)", w.Cache)

	line("go", "%s", w.goSDK(ctx))
	line("envoy", "%s", w.envoy())

	setup := closed.New(w.Cache, w.say)
	var lacks []error
	switch {
	case verdict.Kind == network.Open:
		if bazel := firstReal(filepath.SplitList(w.Getenv("PATH"))); bazel != "" {
			line("bazel", "%s", bazel)
		} else {
			line("bazel", "none on PATH: would build bazelisk %s from its Go module", bazeliskVersion)
		}
	case setup.Ready():
		line("bazel", "%s, set up in %s", closed.BazelVersion, setup.Dir())
	default:
		line("bazel", "would set up %s in %s", closed.BazelVersion, setup.Dir())
		for _, source := range setup.Sources(ctx) {
			line("", "%s", source)
		}
		lacks = setup.Check(ctx)
	}
	for _, lack := range lacks {
		line("LACKING", "%s", strings.ReplaceAll(lack.Error(), "\n", "\n           "))
	}
	if len(lacks) > 0 {
		return fmt.Errorf("%d missing", len(lacks))
	}
	line("verdict", "ready: ./bazelw test //...")
	return nil
}

// goSDK says which SDK the host has, and where the pinned one will come from.
func (w *Wrapper) goSDK(ctx context.Context) string {
	cmd := exec.CommandContext(ctx, "go", "env", "GOVERSION")
	cmd.Dir = "/" // where no go.mod has a say
	cmd.Env = append(os.Environ(), "GOTOOLCHAIN=local")
	out, err := cmd.Output()
	if err != nil {
		return "none on PATH: install Go 1.21 or later"
	}
	host := strings.TrimSpace(string(out))
	pinned := "an unknown version"
	if text, err := os.ReadFile(filepath.Join(w.Root, "go.mod")); err == nil {
		for line := range strings.Lines(string(text)) {
			if version, ok := strings.CutPrefix(line, "toolchain "); ok {
				pinned = strings.TrimSpace(version)
			}
		}
	}
	if host == pinned {
		return host + ", the host's, which is the pinned one"
	}
	return fmt.Sprintf("the host's is %s; would fetch %s, which is pinned, as a Go module", host, pinned)
}

func (w *Wrapper) envoy() string {
	const variable = "POLICY_ENGINE_ENVOY"
	if path := w.Getenv(variable); path != "" {
		return fmt.Sprintf("%s, as %s says; its hash will be checked", path, variable)
	}
	return "would come as a Python package when a test needs it (set " + variable + " to the path of one to take that)"
}

func firstReal(path []string) string {
	for _, name := range []string{"bazelisk", "bazel"} {
		for _, dir := range path {
			if candidate := filepath.Join(dir, name); isProgram(candidate) && !isShim(candidate) {
				return candidate
			}
		}
	}
	return ""
}
