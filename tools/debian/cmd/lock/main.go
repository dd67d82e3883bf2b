// Command lock writes tools/debian/lock.json: of the packages of programs.json, and
// of those that hold the libraries which the programs are linked with, the version
// that Debian's suite has now.
//
//	go run ./tools/debian/cmd/lock
//
// It needs apt-get, dpkg-deb and Debian's archive keyring.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
)

func main() {
	dir := flag.String("dir", "tools/debian", "the `directory` of programs.json and lock.json")
	mirror := flag.String("mirror", os.Getenv("POLICY_ENGINE_DEBIAN_MIRROR"), "the base `URI` of a Debian mirror; $POLICY_ENGINE_DEBIAN_MIRROR, or else one that apt is set to")
	keyring := flag.String("keyring", "/usr/share/keyrings/debian-archive-keyring.gpg", "the `file` with the keys of the mirror's signatures")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *dir, *mirror, *keyring)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "lock:", err)
		os.Exit(1)
	}
}

// lockFile is the content of lock.json.
type lockFile struct {
	AMD64 *architecture `json:"amd64"`
	ARM64 *architecture `json:"arm64"`
}

type architecture struct {
	Packages map[string]pin      `json:"packages"`
	Programs map[string][]string `json:"programs"`
}

// pin is one package: where it is below a mirror, and what it hashes to.
type pin struct {
	File   string `json:"file"`
	SHA256 string `json:"sha256"`
}

// declaration is the content of programs.json.
type declaration struct {
	Suite    string
	Programs map[string]program
}

// program is a file of packages.
type program struct {
	Packages []string
	Path     string
}

// aptMirror returns the Debian mirror that the host's apt is set to.
func aptMirror(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages").Output()
	if err != nil {
		return "", fmt.Errorf("asking apt for its mirrors: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		if uri := strings.TrimRight(strings.TrimSpace(line), "/"); strings.HasSuffix(uri, "/debian") {
			return uri, nil
		}
	}
	return "", errors.New("apt has no mirror whose path ends in /debian: set one with -mirror")
}

func run(ctx context.Context, dir, mirror, keyring string) (err error) {
	if mirror == "" {
		if mirror, err = aptMirror(ctx); err != nil {
			return err
		}
	}
	src, err := os.ReadFile(filepath.Join(dir, "programs.json"))
	if err != nil {
		return err
	}
	var declared declaration
	if err := json.Unmarshal(src, &declared); err != nil {
		return fmt.Errorf("reading programs.json: %w", err)
	}
	temp, err := os.MkdirTemp("", "policy-engine-lock-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()

	var lock lockFile
	for name, to := range map[string]**architecture{"amd64": &lock.AMD64, "arm64": &lock.ARM64} {
		s := suite{dir: filepath.Join(temp, name), name: declared.Suite, arch: name, mirror: mirror}
		if err := s.open(ctx, keyring); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if *to, err = s.resolve(ctx, declared.Programs); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	out, err := json.MarshalIndent(lock, "", "    ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "lock.json"), append(out, '\n'), 0o644)
}
