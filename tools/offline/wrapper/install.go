package wrapper

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const shimMark = "Installed by: bazelw install"

// shim is the `bazel` that install puts on PATH.
const shim = `#!/bin/sh
# ` + shimMark + `
# Runs the nearest bazelw upwards from here, or else the next bazel on PATH.
dir=$(pwd -P)
while :; do
    if [ -f "$dir/bazelw" ] && [ -x "$dir/bazelw" ]; then exec "$dir/bazelw" "$@"; fi
    [ "$dir" = / ] || [ -z "$dir" ] && break
    dir=${dir%/*}
    [ -n "$dir" ] || dir=/
done
IFS=:
for dir in $PATH; do
    bazel=${dir:-.}/bazel
    if [ -f "$bazel" ] && [ -x "$bazel" ] && ! head -c 256 "$bazel" | grep -aq '` + shimMark + `'; then
        unset IFS
        exec "$bazel" "$@"
    fi
done
echo "bazel: there is no bazelw in this directory or above it, and no other bazel on PATH" >&2
exit 1
`

// install puts the shim into the first directory of PATH that is the user's own to
// write to, and before any other bazel; without one, into ~/.local/bin.
func (w *Wrapper) install() error {
	home := w.Getenv("HOME")
	path := filepath.SplitList(w.Getenv("PATH"))
	dir := shimDir(path, home)
	onPath := dir != ""
	if !onPath {
		if home == "" {
			return errors.New("no directory of PATH can be written to, and HOME is not set\n  remedy: set HOME")
		}
		dir = filepath.Join(home, ".local", "bin")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("installing bazel: %w", err)
	}
	target := filepath.Join(dir, "bazel")
	if isProgram(target) && !isShim(target) {
		return fmt.Errorf("%s is there already, and is not bazelw's\n  remedy: move it to a later directory of PATH; the installed bazel runs it wherever there is no bazelw", target)
	}
	temp, err := os.CreateTemp(dir, ".bazel-")
	if err != nil {
		return fmt.Errorf("installing bazel: %w", err)
	}
	defer os.Remove(temp.Name())
	_, err = temp.WriteString(shim)
	err = errors.Join(err, temp.Chmod(0o755), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), target)
	}
	if err != nil {
		return fmt.Errorf("installing bazel: %w", err)
	}
	fmt.Fprintf(w.Stdout, "installed %s: it runs the nearest bazelw upwards, or else the next bazel on PATH\n", target)
	if !onPath {
		fmt.Fprintf(w.Stdout, "%s is not on PATH yet. Add it:  export PATH=%q:\"$PATH\"\n", dir, dir)
	} else if first := firstOn(path, "bazel"); first != target {
		fmt.Fprintf(w.Stdout, "%s comes before it on PATH. Put %s first:  export PATH=%q:\"$PATH\"\n", first, dir, dir)
	}
	return nil
}

// shimDir returns the directory of path to install to, "" if there is none: the
// first under home, else /usr/local/bin.
func shimDir(path []string, home string) string {
	usable := func(dir string) bool {
		return filepath.IsAbs(dir) && writable(dir)
	}
	for _, own := range []string{".local/bin", "bin"} {
		if dir := filepath.Join(home, own); home != "" && slices.Contains(path, dir) && (usable(dir) || !exists(dir)) {
			return dir
		}
	}
	if dir := "/usr/local/bin"; slices.Contains(path, dir) && usable(dir) {
		return dir
	}
	for _, dir := range path {
		if home != "" && strings.HasPrefix(dir, home+"/") && usable(dir) {
			return dir
		}
	}
	return ""
}

func firstOn(path []string, name string) string {
	for _, dir := range path {
		if candidate := filepath.Join(dir, name); isProgram(candidate) {
			return candidate
		}
	}
	return ""
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// writable reports whether a file can be made in dir, by making one.
func writable(dir string) bool {
	f, err := os.CreateTemp(dir, ".bazelw-")
	if err != nil {
		return false
	}
	_ = f.Close()
	return os.Remove(f.Name()) == nil
}
