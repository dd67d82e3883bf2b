package main

import (
	"context"
	"crypto/sha256"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// suite is an apt of our own, for one suite and one architecture.
type suite struct{ dir, name, arch, mirror string }

func (s suite) open(ctx context.Context, keyring string) error {
	for _, d := range []string{"state/lists/partial", "cache/archives/partial", "debs"} {
		if err := os.MkdirAll(filepath.Join(s.dir, d), 0o755); err != nil {
			return err
		}
	}
	source := fmt.Sprintf("deb [signed-by=%s check-valid-until=no] %s %s main\n", keyring, s.mirror, s.name)
	conf := fmt.Sprintf(`Dir::Etc::sourcelist "%[1]s/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "%[1]s/state";
Dir::State::status "%[1]s/state/status";
Dir::Cache "%[1]s/cache";
APT::Architecture %[2]q;
APT::Architectures { %[2]q; };
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
#clear Acquire::IndexTargets::deb::DEP-11;
`, s.dir, s.arch)
	err := errors.Join(
		os.WriteFile(filepath.Join(s.dir, "sources.list"), []byte(source), 0o644),
		os.WriteFile(filepath.Join(s.dir, "state/status"), nil, 0o644),
		os.WriteFile(filepath.Join(s.dir, "apt.conf"), []byte(conf), 0o644),
	)
	if err == nil {
		_, err = s.run(ctx, "apt-get", "update", "-q", "-o", "APT::Update::Error-Mode=any")
	}
	return err
}

func (s suite) run(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = filepath.Join(s.dir, "debs")
	cmd.Env = append(os.Environ(), "APT_CONFIG="+filepath.Join(s.dir, "apt.conf"), "LC_ALL=C")
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, exit.Stderr)
	}
	return string(out), err
}

// resolve finds the packages that each program needs.
func (s suite) resolve(ctx context.Context, programs map[string]program) (*architecture, error) {
	var roots []string
	for _, p := range programs {
		roots = append(roots, p.Packages...)
	}
	out, err := s.run(ctx, "apt-get", append([]string{"install", "--print-uris", "-qq", "-y"}, roots...)...)
	if err != nil {
		return nil, err
	}
	uris := parseURIs(out, s.mirror)
	available := map[string]*unpacked{}
	for name := range uris {
		if available[name], err = s.unpack(ctx, name); err != nil {
			return nil, err
		}
	}
	found := &architecture{Packages: map[string]pin{}, Programs: map[string][]string{}}
	for name, p := range programs {
		needed, err := closure(p.Packages, available)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		found.Programs[name] = needed
		for _, n := range needed {
			found.Packages[n] = pin{uris[n], available[n].sha256}
		}
	}
	return found, nil
}

// parseURIs reads the output of apt-get --print-uris ('URI' NAME_VERSION_ARCH.deb
// SIZE HASH) and returns where below the mirror each package is.
func parseURIs(out, mirror string) map[string]string {
	found := map[string]string{}
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		file, ok := strings.CutPrefix(strings.Trim(fields[0], "'"), strings.TrimSuffix(mirror, "/")+"/")
		if !ok {
			continue
		}
		name, _, _ := strings.Cut(fields[1], "_")
		found[name] = file
	}
	return found
}

// unpacked is a package's libraries: those that it has, and those that its own
// programs and libraries are linked with.
type unpacked struct {
	sha256           string
	provides, needed []string
}

func (s suite) unpack(ctx context.Context, name string) (*unpacked, error) {
	if _, err := s.run(ctx, "apt-get", "download", "-q", name); err != nil {
		return nil, err
	}
	debs, err := filepath.Glob(filepath.Join(s.dir, "debs", name+"_*.deb"))
	if err != nil || len(debs) != 1 {
		return nil, fmt.Errorf("downloading %s left %q", name, debs)
	}
	data, err := os.ReadFile(debs[0])
	if err != nil {
		return nil, err
	}
	u := &unpacked{sha256: fmt.Sprintf("%x", sha256.Sum256(data))}
	root := filepath.Join(s.dir, "unpacked", name)
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, err
	}
	if _, err := s.run(ctx, "dpkg-deb", "-x", debs[0], root); err != nil {
		return nil, err
	}
	return u, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if strings.Contains(d.Name(), ".so") {
			u.provides = append(u.provides, d.Name())
		}
		if !d.Type().IsRegular() {
			return nil
		}
		f, err := elf.Open(path)
		if err != nil {
			return nil // a text, or another file that no loader reads
		}
		defer f.Close()
		libraries, err := f.ImportedLibraries()
		u.needed = append(u.needed, libraries...)
		return err
	})
}

// closure returns packages, and those that hold the libraries which they are linked
// with, sorted.
func closure(packages []string, available map[string]*unpacked) ([]string, error) {
	owner := map[string]string{}
	for name, u := range available {
		for _, library := range u.provides {
			owner[library] = name
		}
	}
	found := slices.Clone(packages)
	for i := 0; i < len(found); i++ {
		u, ok := available[found[i]]
		if !ok {
			return nil, fmt.Errorf("the suite has no package %s", found[i])
		}
		for _, library := range u.needed {
			name, ok := owner[library]
			if !ok {
				return nil, fmt.Errorf("no package that %s depends on has its library %s", found[i], library)
			}
			if !slices.Contains(found, name) {
				found = append(found, name)
			}
		}
	}
	slices.Sort(found)
	return found, nil
}
