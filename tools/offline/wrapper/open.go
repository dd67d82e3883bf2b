package wrapper

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"policyengine.dev/tools/offline/closed"
	"policyengine.dev/tools/offline/once"
)

// bazeliskVersion is the launcher that is built where none is on PATH.
const bazeliskVersion = "v1.27.0"

// openBazel finds what runs Bazel on an open network: bazelisk or bazel on PATH,
// else a bazelisk built from its Go module. Bazelisk reads .bazelversion; a plain
// bazel must be of that version.
func (w *Wrapper) openBazel(ctx context.Context) (string, error) {
	if bazel := firstReal(filepath.SplitList(w.Getenv("PATH"))); bazel != "" {
		return bazel, nil
	}
	dir := filepath.Join(w.Cache, "bazelisk-"+bazeliskVersion)
	err := once.Dir(dir, nil, func(temp string) error {
		w.say("there is no bazel on PATH: building bazelisk %s", bazeliskVersion)
		cmd := exec.CommandContext(ctx, "go", "install", "github.com/bazelbuild/bazelisk@"+bazeliskVersion)
		cmd.Dir = temp
		cmd.Env = append(os.Environ(), "GOBIN="+temp, "GOFLAGS=", "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building bazelisk: %w\n%s\n  remedy: install bazelisk, or Bazel %s", err, out, closed.BazelVersion)
		}
		return nil
	})
	return filepath.Join(dir, "bazelisk"), err
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// isShim reports whether path is what `bazelw install` installs, which leads back
// here.
func isShim(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, 256)
	n, _ := f.Read(head)
	return strings.Contains(string(head[:n]), shimMark)
}
