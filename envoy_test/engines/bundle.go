package engines

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Bundle returns the path of an engine: that of a bundle that is named by its label, such
// as //bundles:mine, or bundle itself where it is the path of a binary. Below `bazel run`
// it is Bazel that builds the bundle, and otherwise Go, as for [Payments].
func Bundle(ctx context.Context, bundle string) (string, error) {
	label, ok := strings.CutPrefix(bundle, "//")
	if !ok {
		path, err := filepath.Abs(bundle)
		if err != nil {
			return "", err
		}
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("%q is no label of a bundle, such as //bundles:mine, and no engine: %w", bundle, err)
		}
		return path, nil
	}
	if workspace := os.Getenv("BUILD_WORKSPACE_DIRECTORY"); workspace != "" {
		return bazelBundle(ctx, workspace, bundle)
	}
	directory, name, ok := strings.Cut(label, ":")
	if !ok {
		name = directory[strings.LastIndexByte(directory, '/')+1:]
	}
	return build(name, filepath.Join(filepath.FromSlash(directory), "BUILD.bazel"), name)
}

// bazelBundle has Bazel build the bundle and write a script that becomes the engine when
// it is run. The Bazel that runs this program has let go of its lock by then.
func bazelBundle(ctx context.Context, workspace, label string) (string, error) {
	dir, err := os.MkdirTemp("", "bundle")
	if err != nil {
		return "", err
	}
	script := filepath.Join(dir, "engine")
	bazel := filepath.Join(workspace, "bazelw")
	if _, err := os.Stat(bazel); err != nil {
		bazel = "bazel" // a workspace of another repository
	}
	command := exec.CommandContext(ctx, bazel, "run", "--script_path="+script, label)
	command.Dir = workspace
	// What Bazel says while it builds is for whoever has started it.
	command.Stderr = os.Stderr
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("building %s: %w", label, err)
	}
	return script, nil
}
