package ci

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// testPath is the PATH that Bazel gives to tests (--incompatible_strict_action_env).
const testPath = "/bin:/usr/bin:/usr/local/bin"

// elsewhere are programs that somebody's tests might be tempted to run, beside those
// of tools/debian/programs.json.
var elsewhere = []string{"bazel", "bazelisk", "chromium", "crane", "docker", "jq", "podman", "promtool", "redis-cli", "envoy"}

// HidePrograms changes this process's PATH so that none of the programs is found on
// it which tests use: a test that passes then has them from the build. It returns
// the flags by which Bazel does the same for its tests; none, if its PATH has none
// of them. Directories of links are made below cache.
func HidePrograms(root, cache string) (flags []string, err error) {
	src, err := os.ReadFile(filepath.Join(root, "tools", "debian", "programs.json"))
	if err != nil {
		return nil, err
	}
	var declared struct{ Programs map[string]any }
	if err := json.Unmarshal(src, &declared); err != nil {
		return nil, fmt.Errorf("reading programs.json: %w", err)
	}
	names := slices.Concat(sorted(declared.Programs), elsewhere)
	path, err := without(os.Getenv("PATH"), filepath.Join(cache, "own"), names)
	if err != nil {
		return nil, err
	}
	if err := os.Setenv("PATH", path); err != nil {
		return nil, err
	}
	tests, err := without(testPath, filepath.Join(cache, "tests"), names)
	if err != nil {
		return nil, err
	}
	if tests != testPath {
		flags = append(flags, "--test_env=PATH="+tests)
	}
	return flags, nil
}

// without returns path, with each directory that has one of names replaced by a
// directory below dir that has links to everything else in it.
func without(path, dir string, names []string) (string, error) {
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	dirs := filepath.SplitList(path)
	for i, original := range dirs {
		if !slices.ContainsFunc(names, func(name string) bool { return exists(filepath.Join(original, name)) }) {
			continue
		}
		entries, err := os.ReadDir(original)
		if err != nil {
			return "", err
		}
		dirs[i] = filepath.Join(dir, fmt.Sprint(i))
		err = os.MkdirAll(dirs[i], 0o755)
		for _, e := range entries {
			if !slices.Contains(names, e.Name()) {
				err = errors.Join(err, os.Symlink(filepath.Join(original, e.Name()), filepath.Join(dirs[i], e.Name())))
			}
		}
		if err != nil {
			return "", fmt.Errorf("hiding programs of %s: %w", original, err)
		}
	}
	return strings.Join(dirs, string(filepath.ListSeparator)), nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
