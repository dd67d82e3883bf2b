package closed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"policyengine.dev/tools/offline/once"
)

// fetchGoModule copies a Go module into dir, in the shape that Bazel needs it in:
// writable, its scripts executable, which the module cache takes from them, and
// with a vendor directory where its own tools are built from one.
func fetchGoModule(ctx context.Context, run runner, m goModule, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	// Outside any module, so that no go.mod has a say; with no flags of the user's.
	env := []string{"GOFLAGS=-mod=mod", "GOWORK=off"}
	out, err := run.output(ctx, dir, env, "go", "mod", "download", "-json", m.path+"@"+m.version)
	if err != nil {
		return problem{
			fmt.Sprintf("go cannot fetch %s %s: %v", m.path, m.version, err),
			"check GOPROXY (go env GOPROXY): it must name a proxy that has this module",
		}
	}
	var info struct{ Dir string }
	if err := json.Unmarshal([]byte(out), &info); err != nil || info.Dir == "" {
		return errors.Join(fmt.Errorf("reading what go says of %s: %.200q", m.path, out), err)
	}
	if err := os.CopyFS(dir, os.DirFS(info.Dir)); err != nil {
		return fmt.Errorf("copying %s: %w", m.path, err)
	}
	if err := settle(dir); err != nil {
		return err
	}
	for _, d := range m.drop {
		if err := once.RemoveAll(filepath.Join(dir, d)); err != nil {
			return err
		}
	}
	for _, e := range m.edits {
		if err := e.apply(dir); err != nil {
			return fmt.Errorf("changing %s %s: %w", m.name, m.version, err)
		}
	}
	if m.vendor {
		// -e: what only tests need may be missing.
		if _, err := run.output(ctx, dir, env, "go", "mod", "vendor", "-e"); err != nil {
			return fmt.Errorf("vendoring what %s is built from: %w", m.name, err)
		}
	}
	return nil
}

func (e edit) apply(dir string) error {
	path := filepath.Join(dir, e.file)
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if n := strings.Count(string(text), e.old); n != 1 {
		return fmt.Errorf("%s has %d places like %q, want 1", e.file, n, e.old)
	}
	return os.WriteFile(path, []byte(strings.Replace(string(text), e.old, e.new, 1)), 0o644)
}

// settle makes a tree writable by its owner, and its shell scripts executable.
func settle(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			return os.Chmod(path, 0o755)
		case d.Type().IsRegular() && strings.HasSuffix(path, ".sh"):
			return os.Chmod(path, 0o755)
		case d.Type().IsRegular():
			return os.Chmod(path, 0o644)
		}
		return nil
	})
}
