package config_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"policyengine.dev/runtime/config"
)

// watching runs a source over path. next compares the names of the chains of the
// update that follows, or its error's text, with the wanted start.
type watching struct {
	t       *testing.T
	updates chan config.Update
}

func watch(t *testing.T, s config.FileSource) *watching {
	t.Helper()
	if s.Quiet == 0 {
		s.Quiet = 20 * time.Millisecond
	}
	if s.Poll == 0 {
		s.Poll = time.Hour
	}
	w := &watching{t, make(chan config.Update, 100)}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() {
		ended <- s.Run(ctx, func(_ context.Context, u config.Update) error { w.updates <- u; return nil })
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return w
}

func (w *watching) next(want string) {
	w.t.Helper()
	w.skip(nil, want)
}

// nextWritten is next for a file that was written in place. On a busy machine the source
// can read it while it is still empty.
func (w *watching) nextWritten(want string) {
	w.t.Helper()
	w.skip(func(got string) bool { return strings.Contains(got, "the file is empty") }, want)
}

// skip waits for an update. It skips one that unwanted reports true for.
func (w *watching) skip(unwanted func(string) bool, want string) {
	w.t.Helper()
	select {
	case u := <-w.updates:
		if got := describe(u); unwanted != nil && unwanted(got) {
			w.skip(nil, want)
		} else if !strings.HasPrefix(got, want) {
			w.t.Fatalf("got %q, want %q", got, want)
		}
	case <-time.After(20 * time.Second):
		w.t.Fatalf("no update, want %q", want)
	}
}

func describe(u config.Update) string {
	if u.Err != nil {
		return "error: " + u.Err.Error()
	}
	var names []string
	for _, c := range u.Spec.Chains {
		names = append(names, c.Name)
	}
	return strings.Join(names, ",")
}

func chain(names ...string) string {
	var b strings.Builder
	b.WriteString("chains:\n")
	for _, name := range names {
		fmt.Fprintf(&b, "- {name: %s, policies: []}\n", name)
	}
	return b.String()
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func symlink(t *testing.T, target, link string) {
	t.Helper()
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
}

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
}

func TestAFileIsReadAgainWhenItIsReplacedOrWritten(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "chains.yaml")
	write(t, path, chain("a"))
	w := watch(t, config.FileSource{Path: path})
	w.next("a")
	write(t, filepath.Join(dir, "new"), chain("b"))
	rename(t, filepath.Join(dir, "new"), path)
	w.next("b")
	write(t, path, chain("c"))
	w.nextWritten("c")
}

func TestABrokenChangeIsToldAndTheNextGoodOneTaken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chains.yaml")
	write(t, path, chain("a"))
	w := watch(t, config.FileSource{Path: path})
	w.next("a")
	replace(t, path, "chains: 1\n")
	w.next("error: " + path + ":1:9: chains: expected a list, found a number")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	w.next("error: reading chains and routes: stat ")
	// The same as before the trouble, and still news: the trouble is over.
	write(t, path, chain("a"))
	w.nextWritten("a")
}

func replace(t *testing.T, path, content string) {
	t.Helper()
	write(t, path+".new", content)
	rename(t, path+".new", path)
}

func TestUnchangedContentIsNoUpdate(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "chains.yaml")
	write(t, path, chain("a"))
	// Polled often too, since neither way of looking may bring an update.
	w := watch(t, config.FileSource{Path: dir, Poll: 30 * time.Millisecond})
	w.next("a")
	for range 3 {
		replace(t, path, chain("a"))
		write(t, filepath.Join(dir, "unrelated.txt"), "text")
		write(t, filepath.Join(dir, ".hidden.yaml"), chain("hidden"))
		time.Sleep(60 * time.Millisecond) // time for a wrong update to come first
	}
	replace(t, path, chain("b"))
	w.next("b")
}

func TestADirectoryIsReadInTheOrderOfItsNames(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "2.yaml"), chain("b"))
	write(t, filepath.Join(dir, "1.yml"), chain("a"))
	write(t, filepath.Join(dir, "readme.md"), "no YAML: [")
	mkdir(t, filepath.Join(dir, "below"))
	w := watch(t, config.FileSource{Path: dir})
	w.next("a,b")
	write(t, filepath.Join(dir, "3.yaml"), chain("c"))
	w.next("a,b,c")
	if err := os.Remove(filepath.Join(dir, "1.yml")); err != nil {
		t.Fatal(err)
	}
	w.next("b,c")
}

func TestAKubernetesVolumeIsSwappedWhole(t *testing.T) {
	for name, path := range map[string]string{"the directory": "", "one file of it": "one.yaml"} {
		t.Run(name, func(t *testing.T) {
			// As the kubelet lays a ConfigMap out: files are links into
			// ..data, a link to the version's directory, that is replaced.
			dir := t.TempDir()
			version := func(name string, chains ...string) {
				mkdir(t, filepath.Join(dir, name))
				for i, file := range []string{"one.yaml", "two.yaml"} {
					write(t, filepath.Join(dir, name, file), chain(chains[i]))
				}
			}
			version("..v1", "a1", "b1")
			symlink(t, "..v1", filepath.Join(dir, "..data"))
			symlink(t, "..data/one.yaml", filepath.Join(dir, "one.yaml"))
			symlink(t, "..data/two.yaml", filepath.Join(dir, "two.yaml"))
			w := watch(t, config.FileSource{Path: filepath.Join(dir, path)})
			w.next("a1")
			for i := 2; i < 5; i++ {
				v := fmt.Sprint(i)
				version("..v"+v, "a"+v, "b"+v)
				symlink(t, "..v"+v, filepath.Join(dir, "..tmp"))
				rename(t, filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data"))
				if err := os.RemoveAll(filepath.Join(dir, fmt.Sprint("..v", i-1))); err != nil {
					t.Fatal(err)
				}
				if path == "" {
					w.next("a" + v + ",b" + v)
				} else {
					w.next("a" + v)
				}
			}
		})
	}
}

func TestALinkAboveTheFilesIsFollowedWhenItIsSwapped(t *testing.T) {
	root, releases := t.TempDir(), t.TempDir()
	for _, v := range []string{"1", "2", "3"} {
		mkdir(t, filepath.Join(releases, v, "chains"))
		write(t, filepath.Join(releases, v, "chains", "a.yaml"), chain("release"+v))
	}
	current := filepath.Join(root, "current")
	symlink(t, filepath.Join(releases, "1"), current)
	w := watch(t, config.FileSource{Path: filepath.Join(current, "chains")})
	w.next("release1")
	for _, v := range []string{"2", "3"} {
		symlink(t, filepath.Join(releases, v), current+".new")
		rename(t, current+".new", current)
		w.next("release" + v)
	}
	// And the files of the newest release are watched, not those of the first.
	replace(t, filepath.Join(releases, "3", "chains", "a.yaml"), chain("edited"))
	w.next("edited")
}

func TestPollingSeesWhatNobodyTold(t *testing.T) {
	path, elsewhere := filepath.Join(t.TempDir(), "chains.yaml"), filepath.Join(t.TempDir(), "same-file")
	write(t, path, chain("a"))
	if err := os.Link(path, elsewhere); err != nil {
		t.Fatal(err)
	}
	w := watch(t, config.FileSource{Path: path, Poll: 20 * time.Millisecond})
	w.next("a")
	// A directory's watch does not hear of what is done under another name.
	write(t, elsewhere, chain("b"))
	w.next("b")
}

func TestSeveralFilesWrittenInOneGoAreOneUpdate(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "0.yaml"), chain("c0"))
	w := watch(t, config.FileSource{Path: dir, Quiet: 300 * time.Millisecond})
	w.next("c0")
	var want []string
	for i := range 20 {
		name := fmt.Sprintf("c%02d", i)
		want = append(want, name)
		replace(t, filepath.Join(dir, fmt.Sprintf("1%02d.yaml", i)), chain(name))
	}
	w.next("c0," + strings.Join(want, ","))
}

func TestABrokenFirstConfigurationEndsRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chains.yaml")
	write(t, path, "chains: 1\nroutes: 2\n")
	calls := 0
	err := config.FileSource{Path: path}.Run(context.Background(), func(_ context.Context, u config.Update) error {
		calls++
		return u.Err
	})
	wantLines(t, err, []string{path + ":1:9: chains: expected a list, found a number", path + ":2:9: routes: expected a list, found a number"})
	if calls != 1 {
		t.Errorf("apply was called %d times", calls)
	}
}

// TestWaitingForAFirstConfiguration proves that a source which is to wait goes on after
// a refusal, tries what has not changed again, and stops doing so once it is in force.
func TestWaitingForAFirstConfiguration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chains.yaml")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	applied, answer := make(chan config.Update), make(chan error)
	ended := make(chan error, 1)
	source := config.FileSource{Path: path, Quiet: time.Millisecond, Poll: 5 * time.Millisecond, Wait: true}
	go func() {
		ended <- source.Run(ctx, func(_ context.Context, u config.Update) error { applied <- u; return <-answer })
	}()
	take := func(result error) (got string) {
		t.Helper()
		select {
		case u := <-applied:
			got = describe(u)
			answer <- result
		case err := <-ended:
			t.Fatalf("Run has ended: %v", err)
		case <-time.After(20 * time.Second):
			t.Fatal("no update")
		}
		return got
	}
	next := func(want string, result error) {
		t.Helper()
		if got := take(result); !strings.HasPrefix(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	refused := errors.New("refused")
	next("error: ", refused)
	next("error: ", refused)
	write(t, path+".new", chain("a"))
	rename(t, path+".new", path)
	for strings.HasPrefix(take(refused), "error: ") { // what was read before
	}
	next("a", refused)
	next("a", nil)
	select {
	case u := <-applied:
		t.Errorf("applied again: %s", describe(u))
		answer <- nil
	case <-time.After(50 * time.Millisecond):
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestARefusalLaterDoesNotEndRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chains.yaml")
	write(t, path, chain("a"))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var seen []string
	err := config.FileSource{Path: path, Quiet: time.Millisecond}.Run(ctx, func(_ context.Context, u config.Update) error {
		seen = append(seen, describe(u))
		switch len(seen) {
		case 1:
			replace(t, path, chain("b"))
			return nil
		case 2:
			replace(t, path, chain("c"))
			return errors.New("refused")
		}
		cancel()
		return nil
	})
	if err != nil || !slices.Equal(seen, []string{"a", "b", "c"}) {
		t.Errorf("got %v, %v", seen, err)
	}
}

func TestVersionFollowsTheContentAlone(t *testing.T) {
	load := func(files ...string) string {
		dir := t.TempDir()
		for i, content := range files {
			write(t, filepath.Join(dir, fmt.Sprint(i, ".yaml")), content)
		}
		u := config.FileSource{Path: dir}.Load()
		if u.Err != nil {
			t.Fatal(u.Err)
		}
		return u.Spec.Version
	}
	a := load(chain("a"), chain("b"))
	if b := load(chain("a"), chain("b")); a != b {
		t.Errorf("the same files in another directory: %s and %s", a, b)
	}
	// The same bytes, cut elsewhere, are another configuration.
	if b := load(chain("a")+"# ", "\n"+chain("b")); a == b {
		t.Error("other files have the same version")
	}
}

func TestWhatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe.yaml")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	large := filepath.Join(t.TempDir(), "large.yaml")
	write(t, large, "")
	if err := os.Truncate(large, 1<<30); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ path, want string }{
		"a named pipe, which would block":   {pipe, "not a regular file"},
		"a directory without configuration": {t.TempDir(), "no file whose name ends in .yaml or .yml"},
		"a file too large to hold":          {large, "larger than"},
		"no file":                           {filepath.Join(dir, "none"), "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			u := config.FileSource{Path: c.path}.Load()
			if u.Err == nil || !strings.Contains(u.Err.Error(), c.want) {
				t.Errorf("got %v, want %q", u.Err, c.want)
			}
		})
	}
}
