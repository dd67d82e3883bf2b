// Package envoy finds the Envoy that this project is pinned to.
//
// In a Bazel build it is there, as a toolchain: a program or test that imports
// this package carries it along. Outside Bazel, the variable POLICY_ENGINE_ENVOY
// says where it is. Either way it is of exactly the pinned version: Bazel checks
// the hash of the binary, and so does this package where Bazel has not.
package envoy

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"policyengine.dev/tools/runfiles"
)

// Variable is the environment variable that names an Envoy outside Bazel.
const Variable = "POLICY_ENGINE_ENVOY"

// ErrUnset is what Locate returns outside Bazel when Variable is not set.
var ErrUnset = errors.New(Variable + " is not set: set it to the path of an Envoy " + Version())

// rlocation is where the binary is among the runfiles; Bazel sets it when it links.
var rlocation string

//go:embed pin.json
var pinJSON []byte

var pinned = sync.OnceValue(func() (p struct {
	Version string            `json:"version"`
	SHA256  map[string]string `json:"sha256"`
}) {
	if err := json.Unmarshal(pinJSON, &p); err != nil {
		panic("decoding pin.json: " + err.Error()) // it is embedded, and a test reads it
	}
	return p
})

// Version is the version that is pinned, such as "1.36.2".
func Version() string { return pinned().Version }

// Binary returns the path of the pinned Envoy. Outside Bazel, a test is skipped
// where Variable does not name one; inside, a missing one fails it, since a test
// that skips there would prove nothing.
func Binary(tb testing.TB) string {
	tb.Helper()
	path, err := Locate()
	if errors.Is(err, ErrUnset) {
		tb.Skip(err)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return path
}

// Locate returns the absolute path of the pinned Envoy. The error is ErrUnset
// outside Bazel when Variable is not set, and names both hashes if the Envoy there
// is another. It is safe for concurrent use; the binary is hashed once.
func Locate() (string, error) { return located() }

var located = sync.OnceValues(func() (string, error) {
	if rlocation != "" {
		return runfiles.Path(rlocation) // hashed by the repository rule
	}
	path := os.Getenv(Variable)
	if path == "" {
		return "", ErrUnset
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return path, Check(path)
})

// Check reports whether the file at path is the pinned Envoy for this platform.
func Check(path string) error {
	platform := runtime.GOOS + "_" + runtime.GOARCH
	want, ok := pinned().SHA256[platform]
	if !ok {
		return fmt.Errorf("there is no pinned Envoy %s for %s", Version(), platform)
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("opening Envoy: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return fmt.Errorf("hashing Envoy: %w", err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		return fmt.Errorf("%s is not the pinned Envoy %s: its sha256 is %s, pinned is %s", path, Version(), got, want)
	}
	return nil
}
