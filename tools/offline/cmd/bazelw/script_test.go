package main_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestScript runs the script at the root of the repository, in a checkout of its
// own and with a go command that builds what is not Go.
func TestScript(t *testing.T) {
	script, err := os.ReadFile("../../../../bazelw")
	if err != nil {
		t.Fatal(err)
	}
	const builds = `case $1 in
version) echo "go version go1.26.8 linux/amd64" ;;
build) echo built >>"$LOG"; printf '#!/bin/sh\necho "ran $*"\nexit 7\n' >"$4" ;;
esac
`
	checkout := func(t *testing.T, goCommand string) (run func(env ...string) (string, int), root string) {
		root = filepath.Join(t.TempDir(), "a checkout")
		bin := filepath.Join(root, "bin")
		write(t, filepath.Join(root, "bazelw"), string(script))
		write(t, filepath.Join(root, "tools/offline/x.go"), "package offline\n")
		if goCommand != "" {
			write(t, filepath.Join(bin, "go"), "#!/bin/sh\n"+goCommand)
		}
		return func(env ...string) (string, int) {
			cmd := exec.CommandContext(t.Context(), filepath.Join(root, "bazelw"), "test", "//a b")
			cmd.Dir = t.TempDir()
			cmd.Env = append([]string{"PATH=" + bin + ":/usr/bin:/bin", "LOG=" + filepath.Join(root, "log")}, env...)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			return string(out), cmd.ProcessState.ExitCode()
		}, root
	}
	builtTimes := func(root string) int {
		log, _ := os.ReadFile(filepath.Join(root, "log"))
		return strings.Count(string(log), "built")
	}

	t.Run("the program is built once for each state of its sources, and its exit code is bazelw's", func(t *testing.T) {
		run, root := checkout(t, builds)
		cache := filepath.Join(t.TempDir(), "cache")
		for range 2 {
			out, code := run("POLICY_ENGINE_CACHE=" + cache)
			want := "ran --root=" + root + " --cache=" + cache + " -- test //a b\n"
			if out != want || code != 7 {
				t.Errorf("said %q and ended with %d, want %q and 7", out, code, want)
			}
		}
		if n := builtTimes(root); n != 1 {
			t.Errorf("built %d times, want once", n)
		}
		write(t, filepath.Join(root, "tools/offline/x_test.go"), "package offline_test\n")
		run("POLICY_ENGINE_CACHE=" + cache)
		if n := builtTimes(root); n != 1 {
			t.Errorf("built %d times after a test changed, want once", n)
		}
		write(t, filepath.Join(root, "tools/offline/x.go"), "package offline // changed\n")
		run("POLICY_ENGINE_CACHE=" + cache)
		if n := builtTimes(root); n != 2 {
			t.Errorf("built %d times after a change, want twice", n)
		}
		if left, _ := filepath.Glob(filepath.Join(cache, "wrapper", "new.*")); len(left) > 0 {
			t.Errorf("left behind: %q", left)
		}
	})

	caches := []struct{ name, env, want string }{
		{"its own variable comes first", "POLICY_ENGINE_CACHE=/proc/own", "/proc/own"},
		{"then the desktop's", "XDG_CACHE_HOME=/proc/xdg", "/proc/xdg"},
		{"then the home directory", "HOME=/proc/home", "/proc/home"},
		{"without any it does not guess: a directory that others can write to would let them run code", "HOME=", "Set POLICY_ENGINE_CACHE"},
		{"a relative path would be another one elsewhere", "POLICY_ENGINE_CACHE=cache", "Set POLICY_ENGINE_CACHE"},
		{"spaces are more than Bazel's options take", "POLICY_ENGINE_CACHE=/proc/a b", "Set POLICY_ENGINE_CACHE"},
	}
	for _, tt := range caches {
		t.Run("the cache: "+tt.name, func(t *testing.T) {
			run, _ := checkout(t, builds)
			// Nobody can write there, so that the path shows in what mkdir says.
			if out, code := run(tt.env); code == 0 || !strings.Contains(out, tt.want) {
				t.Errorf("ended with %d and said %q, want %q", code, out, tt.want)
			}
		})
	}

	for name, goCommand := range map[string]string{
		"none":   "exit 127",
		"go1.20": `echo "go version go1.20.14 linux/amd64"`,
		"go1.19": `echo "go version go1.19.8 linux/amd64"`,
		"go1.4":  `echo "go version go1.4 linux/amd64"`,
	} {
		t.Run("without a Go that is new enough it says so: "+name, func(t *testing.T) {
			run, _ := checkout(t, goCommand)
			out, code := run("POLICY_ENGINE_CACHE=" + filepath.Join(t.TempDir(), "cache"))
			if code != 1 || !strings.Contains(out, "no Go 1.21 or later") {
				t.Errorf("ended with %d and said %q", code, out)
			}
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o755)); err != nil {
		t.Fatal(err)
	}
}
