package config

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

// FileSource reads chains and routes from files and watches them. It is a
// [Source].
//
// Path is watched by its directories rather than as a file, so that what is put in
// place by renaming counts: an editor's atomic save, and the swap of a symbolic link
// by which Kubernetes updates a volume. Several files that have to change together
// are best swapped that way; written one after the other, they are read together
// once nothing has changed for the time of Quiet. A file that is written in place may
// be seen half-written; it is then refused, or, where the half is valid, in force
// until the rest is there.
type FileSource struct {
	// Path is a file, or a directory of which every .yaml and .yml file is
	// read (not those below it, and none whose name begins with a dot).
	Path string
	// Quiet is how long nothing must have changed before files are read again;
	// 0 counts as 100 ms. A change is not put off for more than ten times as
	// long.
	Quiet time.Duration
	// Poll is how often files are looked at even though nothing was heard of a
	// change, as happens on network file systems; 0 counts as 10 s.
	Poll time.Duration
	// Wait has Run go on where the first configuration is refused. As long as
	// none is in force, one that has not changed is tried again every Poll: it
	// may have been refused for what is not in the files, such as a required
	// policy that could not start.
	Wait bool
}

// Load reads the files once.
func (s FileSource) Load() Update {
	files, err := readAll(s.Path)
	if err != nil {
		return Update{Err: fmt.Errorf("reading chains and routes: %w", err)}
	}
	for i := range files {
		files[i].Name = plainName(files[i].Name)
	}
	spec, at, err := ParseChains(files)
	spec.Positions = at
	return Update{Spec: spec, Positions: at, Err: err}
}

// Run implements [Source]. Content that has not changed brings no update, whatever
// happened to the files; neither does an error that is still the same, but see Wait. Apart from
// apply's, its errors are those of the operating system, before apply is called for
// the first time: out of watches, for instance.
func (s FileSource) Run(ctx context.Context, apply func(ctx context.Context, update Update) error) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watching chains and routes: %w", err)
	}
	defer watcher.Close()
	// Watched first and read then, so that no change falls between.
	w := watch{source: s, watcher: watcher}
	w.renew()
	last := s.Load()
	err = apply(ctx, last)
	if err != nil && !s.Wait {
		return err
	}
	none := err != nil
	for w.wait(ctx) {
		w.renew()
		next := s.Load()
		if same(last, next) && !none {
			continue
		}
		last = next
		// The refusal is apply's to report; what was in force stays.
		if err := apply(ctx, next); err == nil {
			none = false
		}
	}
	return nil
}

func same(a, b Update) bool {
	if a.Err != nil || b.Err != nil {
		return a.Err != nil && b.Err != nil && a.Spec.Version == b.Spec.Version && a.Err.Error() == b.Err.Error()
	}
	return a.Spec.Version == b.Spec.Version
}

// watch tells when it is time to look at the files again.
type watch struct {
	source  FileSource
	watcher *fsnotify.Watcher
}

// renew watches every directory in which a change can replace what Path leads to.
// Which those are changes with the symbolic links. A directory that cannot be
// watched is left to polling.
func (w *watch) renew() {
	now := directories(w.source.Path)
	for _, dir := range w.watcher.WatchList() {
		if !slices.Contains(now, dir) {
			_ = w.watcher.Remove(dir)
		}
	}
	for _, dir := range now {
		_ = w.watcher.Add(dir)
	}
}

// directories are those that hold path, and each symbolic link on the way to it,
// themselves without symbolic links, so that a name always means the same one.
func directories(path string) []string {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil
	}
	var dirs []string
	add := func(dir string) {
		if dir, err := filepath.EvalSymlinks(dir); err == nil && !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		add(path)
	}
	// Links may point to links; the bound is the operating system's own.
	for range 40 {
		add(filepath.Dir(path))
		link := lastLink(path)
		if link == "" {
			break
		}
		add(filepath.Dir(link))
		target, err := os.Readlink(link)
		if err != nil {
			break
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(link), target)
		}
		path = filepath.Join(target, path[len(link):])
	}
	return dirs
}

// lastLink is the longest prefix of path that is a symbolic link, or "".
func lastLink(path string) string {
	for ; path != filepath.Dir(path); path = filepath.Dir(path) {
		if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSymlink != 0 {
			return path
		}
	}
	return ""
}

// wait returns true when the files may have changed, and false when ctx has ended.
func (w *watch) wait(ctx context.Context) bool {
	quiet, poll := w.source.Quiet, w.source.Poll
	if quiet <= 0 {
		quiet = 100 * time.Millisecond
	}
	if poll <= 0 {
		poll = 10 * time.Second
	}
	timer := time.NewTimer(poll)
	defer timer.Stop()
	var first time.Time
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-w.watcher.Events:
		case <-w.watcher.Errors:
			// Too many changes to tell which: look.
		}
		now := time.Now()
		if first.IsZero() {
			first = now
		}
		timer.Reset(min(quiet, max(0, first.Add(10*quiet).Sub(now))))
	}
}

var _ Source = FileSource{}
