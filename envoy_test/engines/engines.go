// Package engines has the engines that tests and the demo run: in Bazel the bundles
// themselves, and outside what `go build` makes of the same policies.
package engines

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"policyengine.dev/tools/builder/linked"
	"policyengine.dev/tools/builder/registry"
	"policyengine.dev/tools/builder/validated"
	"policyengine.dev/tools/runfiles"
)

// paymentsLocation is where the bundle is among the runfiles; Bazel sets it when it
// links.
var paymentsLocation string

// casesVariable names, in Bazel, where the engine of Cases is among the runfiles. The
// tests that use it set it, so that nothing else is made to carry that engine.
const casesVariable = "POLICY_ENGINE_CASES"

// module is the repository's Go module.
const module = "policyengine.dev"

// Payments returns the path of the bundle //bundles:payments. It is safe for
// concurrent use.
func Payments() (string, error) { return payments() }

// Cases returns the path of an engine with all reference policies and those that
// are made for tests. It is safe for concurrent use.
func Cases() (string, error) { return cases() }

// Binary fails the test where an engine is not to be had.
func Binary(t testing.TB, engine func() (string, error)) string {
	t.Helper()
	path, err := engine()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var payments = sync.OnceValues(func() (string, error) {
	if paymentsLocation != "" {
		return runfiles.Path(paymentsLocation)
	}
	return build("payments", "bundles/BUILD.bazel", "payments")
})

var cases = sync.OnceValues(func() (string, error) {
	if location := os.Getenv(casesVariable); location != "" {
		return runfiles.Path(location)
	}
	if os.Getenv("TEST_SRCDIR") != "" {
		return "", errors.New(casesVariable + " is not set: see //envoy_test/engines:engines_test")
	}
	return build("cases", "envoy_test/engines/BUILD.bazel", "cases")
})

// build does what the rule policy_engine_bundle does, with the same generator, into
// the user's cache.
func build(name, file, bundle string) (_ string, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("building the engine %s: %w", name, err)
		}
	}()
	root, err := repository()
	if err != nil {
		return "", err
	}
	if err := see(root); err != nil {
		return "", err
	}
	main, err := generate(root, file, bundle)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	// One for each checkout: another's tests may be running.
	checkout := sha256.Sum256([]byte(root))
	dir := filepath.Join(cache, "policy-engine", "test-engines", name+"-"+hex.EncodeToString(checkout[:4]))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	unlock, err := lock(dir)
	if err != nil {
		return "", err
	}
	defer unlock()
	return link(root, dir, name, main)
}

// see looks at every directory that an engine is built from. `go test` keeps a result
// for as long as the files are the same that the test has looked at, and does not
// know what another `go build` reads.
func see(root string) error {
	for _, dir := range []string{"sdk", "runtime", "policies", "envoy_test/policies"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(_ string, _ fs.DirEntry, err error) error { return err })
		if err != nil {
			return err
		}
	}
	return nil
}

// link builds main as if it were a package of the repository.
func link(root, dir, name string, main []byte) (string, error) {
	source, overlay := filepath.Join(dir, "main.go"), filepath.Join(dir, "overlay.json")
	virtual := filepath.Join(root, "envoy_test", "engines", "generated_"+name)
	if err := os.WriteFile(source, main, 0o600); err != nil {
		return "", err
	}
	if err := os.WriteFile(overlay, fmt.Appendf(nil, `{"Replace": {%q: %q}}`, filepath.Join(virtual, "main.go"), source), 0o600); err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "engine")
	// Linked beside and renamed: another test may be running the old one.
	command := exec.Command("go", "build", "-overlay", overlay, "-buildvcs=false", "-o", binary+".new", virtual)
	command.Dir = root
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return binary, os.Rename(binary+".new", binary)
}

// lock keeps other processes from building the same engine.
func lock(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

// repository is the directory of go.mod, from the working directory upwards.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		src, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(src), "module "+module+"\n") {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("the working directory is not in the repository")
		}
	}
}

var (
	bundleRule  = regexp.MustCompile(`(?s)policy_engine_bundle\((.*?)\n\)`)
	nameLine    = regexp.MustCompile(`name = "([^"]+)"`)
	policyLabel = regexp.MustCompile(`"//([^":]+)"`)
)

// generate writes the main package of a bundle that is declared in a BUILD file.
func generate(root, file, bundle string) ([]byte, error) {
	src, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		return nil, err
	}
	for _, rule := range bundleRule.FindAllStringSubmatch(string(src), -1) {
		if name := nameLine.FindStringSubmatch(rule[1]); name == nil || name[1] != bundle {
			continue
		}
		var policies []*validated.Policy
		for _, label := range policyLabel.FindAllStringSubmatch(rule[1], -1) {
			p, err := policy(root, label[1])
			if err != nil {
				return nil, err
			}
			policies = append(policies, p)
		}
		manifest, err := linked.Manifest(bundle, runtime.Version(), policies, nil)
		if err != nil {
			return nil, err
		}
		text, err := manifest.Encode()
		if err != nil {
			return nil, err
		}
		return registry.Generate(registry.Engine, policies, text)
	}
	return nil, fmt.Errorf("%s declares no bundle %s", file, bundle)
}

func policy(root, directory string) (*validated.Policy, error) {
	file := filepath.Join(directory, "policy.yaml")
	src, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		return nil, err
	}
	return validated.New(module+"/"+directory, file, src)
}
