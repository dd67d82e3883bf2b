// Package runfiles finds the files that Bazel lays out for a program beside it.
//
// It knows directories of runfiles and no manifests, which are what Linux has, and
// takes paths as $(rlocationpath ...) spells them, so that no mapping of
// repository names is needed.
package runfiles

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Dir returns the runfiles directory of this process: that of the test that runs
// it, of the target that it is part of, or its own. program is os.Args[0].
func Dir(program string, getenv func(string) string) (string, error) {
	program, err := filepath.Abs(program)
	if err != nil {
		return "", err
	}
	const suffix = ".runfiles"
	candidates := []string{getenv("RUNFILES_DIR"), getenv("TEST_SRCDIR"), program + suffix}
	if i := strings.LastIndex(program, suffix+string(filepath.Separator)); i >= 0 {
		candidates = append(candidates, program[:i+len(suffix)])
	}
	for _, dir := range candidates {
		if dir == "" {
			continue
		}
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return filepath.Abs(dir)
		}
	}
	return "", fmt.Errorf("there are no runfiles: RUNFILES_DIR is not set, and there is no %s%s", program, suffix)
}

// Path returns where the file is that $(rlocationpath ...) gave the name of.
func Path(rlocation string) (string, error) {
	dir, err := Dir(os.Args[0], os.Getenv)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, filepath.FromSlash(rlocation))
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("looking for a runfile: %w", err)
	}
	return path, nil
}
