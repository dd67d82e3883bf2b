package host_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"policyengine.dev/runtime/host"
	"policyengine.dev/sdk/policy"
)

// watching is a file that is watched, and all about it.
type watching struct {
	t      *testing.T
	clock  *manual
	log    bytes.Buffer
	parsed atomic.Int32
	file   *policy.File[string]
}

// watch watches path. Its content has to begin with "v".
func watch(t *testing.T, path string) *watching {
	w := &watching{t: t, clock: &manual{now: time.Unix(1_000_000, 0)}}
	h := policy.Host{Logger: slog.New(slog.NewTextHandler(&w.log, nil)), Files: host.NewFiles(w.clock)}
	w.file = policy.WatchFile(h, path, func(content []byte) (string, error) {
		w.parsed.Add(1)
		switch {
		case bytes.HasPrefix(content, []byte("panic")):
			panic("at " + string(content))
		case !bytes.HasPrefix(content, []byte("v")):
			return "", errors.New("it is not a version")
		}
		return strings.TrimSpace(string(content)), nil
	})
	return w
}

func (w *watching) later() { w.clock.advance(host.FileCheckInterval) }

func (w *watching) want(when, value string) {
	w.t.Helper()
	if got, err := w.file.Value(); err != nil || got != value {
		w.t.Errorf("%s: %q, %v; want %q", when, got, err, value)
	}
}

func (w *watching) wantLogged(when, text string, times int) {
	w.t.Helper()
	if n := strings.Count(w.log.String(), text); n != times {
		w.t.Errorf("%s: %q is logged %d times, want %d:\n%s", when, text, n, times, w.log.String())
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func replace(t *testing.T, path, content string) {
	t.Helper()
	must(t, os.WriteFile(path+".next", []byte(content), 0o600))
	must(t, os.Rename(path+".next", path))
}

func TestWatchedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	w := watch(t, path)
	if _, err := w.file.Value(); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("a missing file gives %v", err)
	}
	w.later()
	if _, err := w.file.Value(); err == nil {
		t.Error("a missing file gives a value")
	}
	w.wantLogged("missing", "there is no earlier content", 1)
	replace(t, path, "v1\n")
	w.later()
	w.want("after it appeared", "v1")
	w.wantLogged("appeared", "valid again", 1)

	replace(t, path, "v2")
	w.want("before the interval is over", "v1")
	w.later()
	w.want("after it was replaced", "v2")
	parsed := w.parsed.Load()
	for range 3 {
		w.later()
		w.want("while it stays the same", "v2")
	}
	if n := w.parsed.Load(); n != parsed {
		t.Errorf("a file that stays the same is parsed %d times more", n-parsed)
	}

	must(t, os.WriteFile(path, []byte("v2, written over"), 0o600))
	w.later()
	w.want("after it was written over", "v2, written over")

	for what, content := range map[string]string{
		"it is not a version": "broken", "parsing it panicked": "panic", "it is larger than": "v" + strings.Repeat("x", policy.FileMaxSize),
	} {
		replace(t, path, content)
		parsed := w.parsed.Load()
		for range 3 {
			w.later()
			w.want("while "+what, "v2, written over")
		}
		w.wantLogged("broken", what, 1)
		if n := w.parsed.Load() - parsed; n > 1 {
			t.Errorf("a broken file that stays the same is parsed %d times", n)
		}
	}
	must(t, os.Remove(path))
	w.later()
	w.want("while it is gone", "v2, written over")
	must(t, os.Mkdir(path, 0o700))
	w.later()
	w.want("while it is a directory", "v2, written over")
	must(t, os.Remove(path))
	must(t, syscall.Mkfifo(path, 0o600))
	w.later()
	w.want("while it is a pipe that nobody writes to", "v2, written over")
	must(t, os.Remove(path))
	replace(t, path, "v3")
	w.later()
	w.want("when it is back", "v3")
	w.wantLogged("back", "valid again", 2)
	w.wantLogged("in all", "last good content stays", 5)
}

// Kubernetes puts a new directory beside the old one and renames a symbolic link, of
// the same name and target for each file, onto the one that leads there.
func TestWatchedFileThroughSymbolicLinks(t *testing.T) {
	dir := t.TempDir()
	version := func(name, content string) {
		t.Helper()
		must(t, os.Mkdir(filepath.Join(dir, name), 0o700))
		must(t, os.WriteFile(filepath.Join(dir, name, "list"), []byte(content), 0o600))
		must(t, os.Symlink(name, filepath.Join(dir, "..data_tmp")))
		must(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
	}
	version("..1", "v1")
	must(t, os.Symlink(filepath.Join("..data", "list"), filepath.Join(dir, "list")))
	w := watch(t, filepath.Join(dir, "list"))
	w.want("at first", "v1")
	version("..2", "v2")
	must(t, os.RemoveAll(filepath.Join(dir, "..1")))
	w.later()
	w.want("after the links were swapped", "v2")
	version("..3", "broken")
	w.later()
	w.want("while the new version is broken", "v2")
	version("..4", "v4")
	w.later()
	w.want("after it was mended", "v4")
	must(t, os.Remove(filepath.Join(dir, "..data")))
	w.later()
	w.want("while the link leads nowhere", "v4")
}

// Readers never see anything but a whole version, and are not held up by one that is
// being read.
func TestWatchedFileInConcurrentUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	content := func(i int) string { return "v" + strings.Repeat(fmt.Sprint(i%10), 10_000) }
	replace(t, path, content(0))
	w := watch(t, path)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				v, err := w.file.Value()
				if err != nil || len(v) != 10_001 || strings.Count(v, v[1:2]) != 10_000 {
					t.Errorf("a torn value: %.20q, %v", v, err)
					return
				}
			}
		})
	}
	for i := range 50 {
		replace(t, path, content(i))
		w.later()
		if v, err := w.file.Value(); err != nil || len(v) != 10_001 {
			t.Fatalf("a torn value: %.20q, %v", v, err)
		}
	}
	close(stop)
	wg.Wait()
	w.later()
	if v, err := w.file.Value(); err != nil || v != content(49) {
		t.Errorf("at last: %.20q, %v", v, err)
	}
}

func TestWatchedFileOnTheRequestPathAllocatesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	replace(t, path, "v1")
	w := watch(t, path)
	if n := testing.AllocsPerRun(100, func() { _, _ = w.file.Value() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
