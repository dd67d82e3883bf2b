package host_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"policyengine.dev/runtime/host"
	"policyengine.dev/sdk/policy"
)

// watchDirectory watches the *.txt files of dir, and joins them.
func watchDirectory(t *testing.T, dir string, options ...policy.FileOption) *watching {
	w := &watching{t: t, clock: &manual{now: time.Unix(1_000_000, 0)}}
	h := policy.Host{Logger: slog.New(slog.NewTextHandler(&w.log, nil)), Files: host.NewFiles(w.clock)}
	w.file = policy.WatchDirectory(h, dir, ".txt", func(files []policy.NamedFile) (string, error) {
		w.parsed.Add(1)
		var all []string
		for _, f := range files {
			if bytes.HasPrefix(f.Content, []byte("broken")) {
				return "", fmt.Errorf("%s is broken", f.Name)
			}
			all = append(all, f.Name+"="+string(f.Content))
		}
		return strings.Join(all, " "), nil
	}, options...)
	return w
}

func TestWatchedDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "lists")
	write := func(name, content string) { t.Helper(); replace(t, filepath.Join(dir, name), content) }
	w := watchDirectory(t, dir, policy.MaxFileSize(40))
	if _, err := w.file.Value(); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("a missing directory gives %v", err)
	}
	must(t, os.Mkdir(dir, 0o700))
	w.later()
	w.want("while it is empty", "")
	write("b.txt", "2")
	write("a.txt", "1")
	write("c.json", "3")
	write(".d.txt", "4")
	must(t, os.Mkdir(filepath.Join(dir, "e.txt"), 0o700))
	w.want("before the interval is over", "")
	w.later()
	w.want("with two files", "a.txt=1 b.txt=2")
	parsed := w.parsed.Load()
	write("c.json", "33")
	for range 3 {
		w.later()
		w.want("while its files stay the same", "a.txt=1 b.txt=2")
	}
	if n := w.parsed.Load(); n != parsed {
		t.Errorf("files that stay the same are parsed %d times more", n-parsed)
	}
	must(t, os.Rename(filepath.Join(dir, "b.txt"), filepath.Join(dir, "z.txt")))
	w.later()
	w.want("after one was renamed", "a.txt=1 z.txt=2")
	must(t, os.Remove(filepath.Join(dir, "z.txt")))
	w.later()
	w.want("after one was removed", "a.txt=1")
	for what, change := range map[string]func(){
		"b.txt is broken":     func() { write("b.txt", "broken") },
		"more than 40 bytes":  func() { write("b.txt", strings.Repeat("x", 40)) },
		"n.txt: no such file": func() { must(t, os.Symlink("nowhere", filepath.Join(dir, "n.txt"))) },
	} {
		change()
		for range 3 {
			w.later()
			w.want("while "+what, "a.txt=1")
		}
		w.wantLogged("broken", what, 1)
		_ = os.Remove(filepath.Join(dir, "n.txt"))
	}
	write("b.txt", "2")
	w.later()
	w.want("when all are good again", "a.txt=1 b.txt=2")
	must(t, os.RemoveAll(dir))
	w.later()
	w.want("while the directory is gone", "a.txt=1 b.txt=2")
}

func TestWatchedDirectoryWithTooManyFiles(t *testing.T) {
	dir := t.TempDir()
	for i := range policy.DirectoryMaxFiles + 1 {
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.txt", i)), nil, 0o600))
	}
	if _, err := watchDirectory(t, dir).file.Value(); err == nil || !strings.Contains(err.Error(), "more than 4096") {
		t.Errorf("it gives %v", err)
	}
}

// Readers see the files of one version of a directory that Kubernetes mounts, whose
// versions are swapped by a symbolic link.
func TestWatchedDirectoryInConcurrentUse(t *testing.T) {
	dir := t.TempDir()
	version := func(i int) {
		t.Helper()
		name := fmt.Sprintf("..%d", i)
		must(t, os.Mkdir(filepath.Join(dir, name), 0o700))
		for _, file := range []string{"a.txt", "b.txt", "c.txt"} {
			must(t, os.WriteFile(filepath.Join(dir, name, file), fmt.Appendf(nil, "v%d", i), 0o600))
		}
		must(t, os.Symlink(name, filepath.Join(dir, "..data_tmp")))
		must(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
		if i > 0 {
			must(t, os.RemoveAll(filepath.Join(dir, fmt.Sprintf("..%d", i-1))))
		}
	}
	version(0)
	for _, file := range []string{"a.txt", "b.txt", "c.txt"} {
		must(t, os.Symlink(filepath.Join("..data", file), filepath.Join(dir, file)))
	}
	w := watchDirectory(t, dir)
	w.want("at first", "a.txt=v0 b.txt=v0 c.txt=v0")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				w.later()
				v, err := w.file.Value()
				var a, b, c int
				if n, _ := fmt.Sscanf(v, "a.txt=v%d b.txt=v%d c.txt=v%d", &a, &b, &c); err != nil || n != 3 || a != b || b != c {
					t.Errorf("a torn value: %q, %v", v, err)
					return
				}
			}
		})
	}
	for i := range 200 {
		version(i + 1)
	}
	close(stop)
	wg.Wait()
	w.later()
	w.want("at last", "a.txt=v200 b.txt=v200 c.txt=v200")
}

// A policy may ask for more than 4 MiB, up to a bound.
func TestMaxFileSize(t *testing.T) {
	for n, want := range map[int]int{-1: 1, 0: 1, 10: 10, policy.FileSizeLimit + 1: policy.FileSizeLimit} {
		var o policy.FileOptions
		policy.MaxFileSize(n)(&o)
		if o.Bound() != want {
			t.Errorf("MaxFileSize(%d) gives %d, want %d", n, o.Bound(), want)
		}
	}
	path := filepath.Join(t.TempDir(), "list")
	replace(t, path, strings.Repeat("x", policy.FileMaxSize+1))
	h := policy.Host{Logger: slog.New(slog.DiscardHandler), Files: host.NewFiles(&manual{now: time.Unix(1, 0)})}
	length := func(content []byte) (int, error) { return len(content), nil }
	if _, err := policy.WatchFile(h, path, length).Value(); err == nil {
		t.Error("without the option the file is read")
	}
	if n, err := policy.WatchFile(h, path, length, policy.MaxFileSize(policy.FileSizeLimit)).Value(); n != policy.FileMaxSize+1 || err != nil {
		t.Errorf("with the option: %d bytes, %v", n, err)
	}
}
