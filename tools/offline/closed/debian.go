package closed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
)

// The variables by which a user says where the suite is to be had, where the
// host's own apt configuration does not lead to it.
const (
	MirrorVariable  = "POLICY_ENGINE_DEBIAN_MIRROR"
	KeyringVariable = "POLICY_ENGINE_DEBIAN_KEYRING"
)

const debianKeyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// archive is an apt of our own: its lists, its cache and its idea of what is
// installed (nothing) are under dir. The host's proxies and credentials hold.
type archive struct {
	dir string
	run runner
	say func(format string, args ...any)
}

// target is a line of the host's apt configuration.
type target struct{ uri, signedBy string }

// mirrors returns where the suite may be had, likeliest first: what the user
// says, else the base URIs of the host's own configuration, which apt itself is
// asked for, so that both of its file formats are read as it reads them.
func mirrors(ctx context.Context, run runner, getenv func(string) string) ([]target, error) {
	keyring := getenv(KeyringVariable)
	if uri := getenv(MirrorVariable); uri != "" {
		return []target{{uri, keyring}}, nil
	}
	out, err := run.output(ctx, "", nil, "apt-get", "indextargets", "--format", "$(REPO_URI)\t$(SIGNED_BY)", "Created-By: Packages")
	if err != nil {
		return nil, fmt.Errorf("asking apt for the host's mirrors: %w", err)
	}
	found := parseTargets(out)
	if len(found) == 0 {
		return nil, problem{
			"apt has no mirror configured",
			"set " + MirrorVariable + " to the base URI of a Debian mirror that has " + suite,
		}
	}
	for i := range found {
		if keyring != "" {
			found[i].signedBy = keyring
		}
	}
	return found, nil
}

// parseTargets reads lines of URI and keyring, and puts those last that are
// unlikely to have the suite: archives of security updates and dated snapshots.
func parseTargets(lines string) []target {
	var found []target
	seen := map[string]bool{}
	for _, line := range strings.Split(lines, "\n") {
		uri, signedBy, _ := strings.Cut(strings.TrimSpace(line), "\t")
		uri = strings.TrimSuffix(uri, "/")
		if uri == "" || seen[uri] {
			continue
		}
		seen[uri] = true
		if !strings.HasPrefix(signedBy, "/") { // unset, or a key's fingerprint
			signedBy = ""
		}
		found = append(found, target{uri, signedBy})
	}
	unlikely := func(t target) int {
		n := 0
		if strings.Contains(t.uri, "security") {
			n += 2
		}
		if strings.Contains(t.uri, "snapshot") {
			n++
		}
		return n
	}
	sort.SliceStable(found, func(i, j int) bool { return unlikely(found[i]) < unlikely(found[j]) })
	return found
}

// open writes the configuration and fetches the suite's index from the first
// mirror that has it, with the Bazel that is wanted.
func (a archive) open(ctx context.Context, from []target) error {
	for _, d := range []string{"state/lists/partial", "cache/archives/partial", "debs"} {
		if err := os.MkdirAll(filepath.Join(a.dir, d), 0o755); err != nil {
			return err
		}
	}
	var problems []error
	for _, t := range from {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := a.configure(t); err != nil {
			problems = append(problems, err)
			continue
		}
		a.say("asking %s for Debian's suite %s", t.uri, suite)
		if _, err := a.apt(ctx, "update", "-q", "-o", "APT::Update::Error-Mode=any"); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", t.uri, err))
			continue
		}
		if err := a.checkBazel(ctx); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", t.uri, err))
			continue
		}
		return nil
	}
	return problem{
		fmt.Sprintf("no mirror in apt's configuration has Bazel %s in Debian's suite %s:\n%s", BazelVersion, suite, indent(errors.Join(problems...).Error())),
		fmt.Sprintf("set %s to the base URI of a Debian mirror, or of a dated snapshot of one, that has it (and %s to its keyring, if it is signed by another)", MirrorVariable, KeyringVariable),
	}
}

func (a archive) configure(t target) error {
	keyring := t.signedBy
	if keyring == "" {
		keyring = debianKeyring
	}
	if _, err := os.Stat(keyring); err != nil {
		return problem{"Debian's archive keys are not at " + keyring, "install debian-archive-keyring, or set " + KeyringVariable}
	}
	source := fmt.Sprintf("deb [signed-by=%s check-valid-until=no] %s %s main\n", keyring, t.uri, suite)
	return errors.Join(
		os.WriteFile(filepath.Join(a.dir, "sources.list"), []byte(source), 0o644),
		os.WriteFile(filepath.Join(a.dir, "state/status"), nil, 0o644),
		os.WriteFile(filepath.Join(a.dir, "apt.conf"), []byte(aptConf(a.dir, os.Geteuid() == 0)), 0o644),
	)
}

// aptConf is read by apt after the host's own files, and so has the last word.
func aptConf(dir string, root bool) string {
	conf := fmt.Sprintf(`Dir::Etc::sourcelist %[1]q;
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State %[2]q;
Dir::State::status %[3]q;
Dir::Cache %[4]q;
APT::Architecture "amd64";
APT::Architectures { "amd64"; };
APT::Install-Recommends "false";
Acquire::Languages "none";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Install-Pkgs;
#clear DPkg::Post-Invoke;
#clear Acquire::IndexTargets::deb::DEP-11;
#clear Acquire::IndexTargets::deb::DEP-11-icons;
#clear Acquire::IndexTargets::deb::DEP-11-icons-small;
`, filepath.Join(dir, "sources.list"), filepath.Join(dir, "state"), filepath.Join(dir, "state/status"), filepath.Join(dir, "cache"))
	if root {
		// The user that apt drops to may not read the cache.
		conf += "APT::Sandbox::User \"root\";\n"
	}
	return conf
}

func (a archive) apt(ctx context.Context, args ...string) (string, error) {
	env := []string{"APT_CONFIG=" + filepath.Join(a.dir, "apt.conf"), "LC_ALL=C"}
	return a.run.output(ctx, filepath.Join(a.dir, "debs"), env, "apt-get", args...)
}

func (a archive) checkBazel(ctx context.Context) error {
	out, err := a.apt(ctx, "install", "--print-uris", "-qq", "-y", roots[0])
	if err != nil {
		return err
	}
	version, ok := versionOf(roots[0], out)
	switch {
	case !ok:
		return fmt.Errorf("%s has no %s", suite, roots[0])
	case !strings.HasPrefix(version, BazelVersion+"+") && !strings.HasPrefix(version, BazelVersion+"-") && version != BazelVersion:
		return fmt.Errorf("%s has moved on to %s %s", suite, roots[0], version)
	}
	return nil
}

// fetch downloads roots and what they depend on, less what is unneeded, and
// returns the files.
func (a archive) fetch(ctx context.Context) ([]string, error) {
	out, err := a.apt(ctx, append([]string{"install", "--print-uris", "-qq", "-y"}, roots...)...)
	if err != nil {
		return nil, problem{
			fmt.Sprintf("Debian's suite %s, which moves, cannot install %s at the moment:\n%s", suite, strings.Join(roots, " and "), indent(err.Error())),
			"try again later, or set " + MirrorVariable + " to a dated snapshot of it",
		}
	}
	want := needed(packagesOf(out))
	a.say("fetching %d Debian packages", len(want))
	if out, err := a.apt(ctx, append([]string{"download", "-q"}, want...)...); err != nil {
		return nil, fmt.Errorf("downloading Debian packages: %w\n%s", err, out)
	}
	return filepath.Glob(filepath.Join(a.dir, "debs", "*.deb"))
}

// packagesOf reads the output of apt-get --print-uris ('URI' NAME_VERSION_ARCH.deb
// SIZE HASH) and returns the packages' names.
func packagesOf(uris string) []string {
	var names []string
	for _, line := range strings.Split(uris, "\n") {
		fields := strings.Fields(line)
		if len(fields) < 3 || !strings.HasPrefix(fields[0], "'") {
			continue
		}
		name, _, _ := strings.Cut(fields[1], "_")
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

func versionOf(name, uris string) (string, bool) {
	for _, line := range strings.Split(uris, "\n") {
		fields := strings.Fields(line)
		if len(fields) < 3 {
			continue
		}
		parts := strings.Split(fields[1], "_")
		if len(parts) == 3 && parts[0] == name {
			return parts[1], true
		}
	}
	return "", false
}

func needed(names []string) []string {
	var kept []string
	for _, name := range names {
		if !matches(unneeded, name) {
			kept = append(kept, name)
		}
	}
	return kept
}

// matches reports whether one of the patterns, in which * stands for anything and
// ? for one character, is the whole of name.
func matches(patterns []string, name string) bool {
	for _, p := range patterns {
		if ok, err := path.Match(p, name); err == nil && ok {
			return true
		}
	}
	return false
}

func indent(s string) string {
	return "    " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n    ")
}
