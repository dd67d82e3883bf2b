package wrapper_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"policyengine.dev/tools/offline/wrapper"
)

// machine is a home directory, a PATH and a checkout.
type machine struct {
	home, bin, root string
	w               *wrapper.Wrapper
	stdout          *bytes.Buffer
	ran             []string
	watched         []string // the commands that were
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	dir := t.TempDir()
	m := &machine{home: filepath.Join(dir, "home"), bin: filepath.Join(dir, "bin"), root: filepath.Join(dir, "checkout"), stdout: new(bytes.Buffer)}
	for _, d := range []string{m.home, m.bin, m.root} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	m.w = wrapper.New(m.root, filepath.Join(dir, "cache"))
	m.w.Stdout, m.w.Stderr = m.stdout, new(bytes.Buffer)
	env := map[string]string{"HOME": m.home, "PATH": m.bin + ":" + filepath.Join(m.home, ".local", "bin")}
	m.w.Getenv = func(k string) string { return env[k] }
	m.w.Probe = func(context.Context) error { return nil }
	m.w.Exec = func(program string, args, _ []string) error {
		m.ran = append(m.ran, strings.Join(args, " "))
		return nil
	}
	m.w.Watch = func(_ context.Context, program string, args []string, at int) error {
		m.ran, m.watched = append(m.ran, strings.Join(append([]string{program}, args...), " ")), append(m.watched, args[at])
		return nil
	}
	return m
}

func program(t *testing.T, path, script string) string {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755)); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRunOnAnOpenNetwork(t *testing.T) {
	t.Run("bazelisk goes before bazel, and gets the caches and the arguments", func(t *testing.T) {
		m := newMachine(t)
		program(t, filepath.Join(m.bin, "bazel"), "")
		bazelisk := program(t, filepath.Join(m.bin, "bazelisk"), "")
		if err := m.w.Run(t.Context(), []string{"test", "//..."}); err != nil {
			t.Fatal(err)
		}
		words := strings.Fields(m.ran[0])
		if words[0] != bazelisk || !slices.Equal(words[len(words)-2:], []string{"test", "//..."}) {
			t.Fatalf("ran %q", m.ran)
		}
		rc, err := os.ReadFile(strings.TrimPrefix(words[1], "--bazelrc="))
		if err != nil || !strings.Contains(string(rc), "--disk_cache="+m.w.Cache) || strings.Contains(string(rc), "override_module") {
			t.Errorf("the bazelrc (%v):\n%s", err, rc)
		}
	})
	t.Run("the bazel that install installs leads back here, and is passed over", func(t *testing.T) {
		m := newMachine(t)
		if err := m.w.Run(t.Context(), []string{"install"}); err != nil {
			t.Fatal(err)
		}
		real := program(t, filepath.Join(m.home, ".local", "bin2", "bazel"), "")
		path := filepath.Join(m.home, ".local", "bin") + ":" + filepath.Dir(real)
		m.w.Getenv = func(k string) string { return map[string]string{"PATH": path, "HOME": m.home}[k] }
		if err := m.w.Run(t.Context(), []string{"info"}); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(m.ran[0], real+" ") {
			t.Errorf("ran %q, want %s", m.ran, real)
		}
	})
	t.Run("it says what a probe found, once", func(t *testing.T) {
		m := newMachine(t)
		program(t, filepath.Join(m.bin, "bazel"), "")
		said := new(bytes.Buffer)
		m.w.Stderr = said
		for range 2 {
			if err := m.w.Run(t.Context(), []string{"info"}); err != nil {
				t.Fatal(err)
			}
		}
		if n := strings.Count(said.String(), "the network is open"); n != 1 {
			t.Errorf("said so %d times:\n%s", n, said)
		}
	})
	t.Run("a setting that is neither open nor closed stops it", func(t *testing.T) {
		m := newMachine(t)
		m.w.Getenv = func(string) string { return "ajar" }
		if err := m.w.Run(t.Context(), []string{"info"}); err == nil || m.ran != nil {
			t.Errorf("Run = %v, ran %q", err, m.ran)
		}
	})
}

func TestWhatBuildsIsWatched(t *testing.T) {
	tests := []struct {
		args    string
		watched []string
	}{
		{"test //...", []string{"test"}},
		{"--batch build -c opt //a", []string{"build"}},
		{"run //:demo -- --build", []string{"run"}},
		{"info", nil},
		{"query build", nil},
		{"test //... --build_event_json_file=mine", nil},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			m := newMachine(t)
			program(t, filepath.Join(m.bin, "bazel"), "")
			if err := m.w.Run(t.Context(), strings.Fields(tt.args)); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(m.watched, tt.watched) || len(m.ran) != 1 || !strings.HasSuffix(m.ran[0], " "+tt.args) {
				t.Errorf("watched %q, ran %q", m.watched, m.ran)
			}
		})
	}
}

func TestDoctor(t *testing.T) {
	m := newMachine(t)
	bazel := program(t, filepath.Join(m.bin, "bazel"), "")
	if err := m.w.Run(t.Context(), []string{"doctor"}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"open: Bazel's module registry answers", bazel, m.w.Cache, "ready"} {
		if !strings.Contains(m.stdout.String(), want) {
			t.Errorf("%q is not in:\n%s", want, m.stdout)
		}
	}
	if len(m.ran) > 0 {
		t.Errorf("ran %q", m.ran)
	}
}

func TestInstall(t *testing.T) {
	m := newMachine(t)
	if err := m.w.Run(t.Context(), []string{"install"}); err != nil {
		t.Fatal(err)
	}
	shim := filepath.Join(m.home, ".local", "bin", "bazel")
	if !strings.Contains(m.stdout.String(), "installed "+shim) {
		t.Errorf("said %q", m.stdout)
	}
	if err := m.w.Run(t.Context(), []string{"install"}); err != nil {
		t.Errorf("a second time: %v", err)
	}

	program(t, filepath.Join(m.root, "bazelw"), `echo "bazelw $*"`)
	inner := filepath.Join(m.root, "a", "b")
	outside := t.TempDir()
	if err := os.MkdirAll(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	next := program(t, filepath.Join(m.bin, "bazel"), `echo "next $*"`)
	tests := []struct{ name, dir, path, want string }{
		{"in a checkout it runs bazelw", m.root, "", "bazelw build //x y"},
		{"below it, too", inner, filepath.Dir(next), "bazelw build //x y"},
		{"elsewhere it runs the next bazel on PATH, not itself", outside, filepath.Dir(shim) + ":" + filepath.Dir(next), "next build //x y"},
		{"where there is none, it says so", outside, filepath.Dir(shim), "there is no bazelw"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), shim, "build", "//x y")
			cmd.Dir = tt.dir
			cmd.Env = []string{"PATH=" + tt.path + ":/usr/bin:/bin"}
			out, _ := cmd.CombinedOutput()
			if got := strings.TrimSpace(string(out)); !strings.Contains(got, tt.want) {
				t.Errorf("said %q, want %q", got, tt.want)
			}
		})
	}
}

func TestInstallLeavesAForeignBazelAlone(t *testing.T) {
	m := newMachine(t)
	foreign := program(t, filepath.Join(m.home, ".local", "bin", "bazel"), "echo mine")
	err := m.w.Run(t.Context(), []string{"install"})
	if err == nil || !strings.Contains(err.Error(), "remedy: ") {
		t.Errorf("install = %v", err)
	}
	if text, _ := os.ReadFile(foreign); !strings.Contains(string(text), "echo mine") {
		t.Error("it was overwritten")
	}
}

func TestInstallTellsOfPATH(t *testing.T) {
	m := newMachine(t)
	m.w.Getenv = func(k string) string { return map[string]string{"HOME": m.home, "PATH": "/usr/bin"}[k] }
	if err := m.w.Run(t.Context(), []string{"install"}); err != nil {
		t.Fatal(err)
	}
	if said := m.stdout.String(); !strings.Contains(said, "is not on PATH yet") {
		t.Errorf("said %q", said)
	}
}

func TestInstallTellsOfAnEarlierBazel(t *testing.T) {
	m := newMachine(t)
	earlier := program(t, filepath.Join(m.bin, "bazel"), "")
	if err := m.w.Run(t.Context(), []string{"install"}); err != nil {
		t.Fatal(err)
	}
	if said := m.stdout.String(); !strings.Contains(said, earlier+" comes before it") {
		t.Errorf("said %q", said)
	}
}
