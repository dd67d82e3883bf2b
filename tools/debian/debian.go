// Package debian finds the programs that tests run and that are not ours: servers
// and clients from Debian's packages.
//
// In a Bazel build they are fetched, unpacked and made to run from where they are
// unpacked; nothing has to be installed. A test has those that it runs among its
// data. Outside Bazel the variable POLICY_ENGINE_PROGRAMS names the directory that
// `./bazelw build //tools/debian:programs` leaves them in. The PATH is never
// searched: what is found there differs from machine to machine.
package debian

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"policyengine.dev/tools/runfiles"
)

// Variable is the environment variable that names the directory of the programs
// outside Bazel.
const Variable = "POLICY_ENGINE_PROGRAMS"

// directory is where the programs are among the runfiles.
const directory = "_main/tools/debian/"

//go:embed programs.json
var programsJSON []byte

// ErrUnset is what Locate returns outside Bazel when Variable is not set.
var ErrUnset = errors.New(Variable + " is not set: run ./bazelw build //tools/debian:programs, and set it to the absolute path of bazel-bin/tools/debian")

var names = sync.OnceValue(func() []string {
	var declared struct{ Programs map[string]any }
	if err := json.Unmarshal(programsJSON, &declared); err != nil {
		panic("decoding programs.json: " + err.Error()) // it is embedded, and a test reads it
	}
	found := make([]string, 0, len(declared.Programs))
	for name := range declared.Programs {
		found = append(found, name)
	}
	slices.Sort(found)
	return found
})

// Program returns the absolute path of a program of programs.json. Outside Bazel, a
// test is skipped where Variable is not set. Inside, a program that is not among the
// test's data fails it.
func Program(tb testing.TB, name string) string {
	tb.Helper()
	path, err := Locate(name, os.Getenv)
	if errors.Is(err, ErrUnset) {
		tb.Skip(err)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return path
}

// Locate returns the absolute path of a program of programs.json.
func Locate(name string, getenv func(string) string) (string, error) {
	if !slices.Contains(names(), name) {
		return "", fmt.Errorf("%q is not in tools/debian/programs.json, which has %s", name, strings.Join(names(), ", "))
	}
	if getenv("TEST_SRCDIR") != "" {
		path, err := runfiles.Path(directory + name)
		if err != nil {
			return "", fmt.Errorf("add //tools/debian:%s to the test's data: %w", name, err)
		}
		return path, nil
	}
	dir := getenv(Variable)
	if dir == "" {
		return "", ErrUnset
	}
	path, err := filepath.Abs(filepath.Join(dir, name))
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%s names a directory without %s: %w", Variable, name, err)
	}
	return path, nil
}
