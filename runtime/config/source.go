package config

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
	// Quiet is how long nothing must have been written before files are read again;
	// 0 counts as 100 ms. What is put in place by renaming is complete: it is read
	// after a fifth of that. A change is not put off for more than ten times Quiet.
	Quiet time.Duration
	// Poll is how often files are looked at even though nothing was heard of a
	// change, as happens on network file systems; 0 counts as 10 s.
	Poll time.Duration
	// Wait has Run go on where the first configuration is refused. As long as
	// none is in force, one that has not changed is tried again every Poll: it
	// may have been refused for what is not in the files, such as a required
	// policy that could not start.
	Wait bool
	// Now tells the time by which files were written; nil is time.Now.
	Now func() time.Time
	// Counts is told what the source has to do; nil tells nobody.
	Counts *Counts
}

// Load reads the files once.
func (s FileSource) Load() Update {
	documents, err := s.loader().load()
	return update(documents, err)
}

// Load reads the files, and the files of the directories, at paths once. Together they are
// one configuration.
func Load(paths ...string) Update {
	var all []*document
	for _, path := range paths {
		documents, err := (FileSource{Path: path}).loader().load()
		if err != nil {
			return update(nil, err)
		}
		all = append(all, documents...)
	}
	return update(all, nil)
}

func (s FileSource) loader() *loader {
	if s.Counts == nil {
		s.Counts = new(Counts)
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	return &loader{path: s.Path, counts: s.Counts, now: s.Now}
}

func update(documents []*document, err error) Update {
	if err != nil {
		return Update{Err: fmt.Errorf("reading chains and routes: %w", err)}
	}
	spec, at, err := merge(documents)
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
	r := running{loader: s.loader(), apply: apply}
	if err := r.look(ctx); err != nil && !s.Wait {
		return err
	}
	for w.wait(ctx) {
		w.renew()
		// The refusal is apply's to report; what was in force stays.
		_ = r.look(ctx)
	}
	return nil
}

// running is what a FileSource has brought.
type running struct {
	loader *loader
	apply  func(ctx context.Context, update Update) error
	// last are the files that apply was called with last, or none and why they could
	// not be read.
	last []*document
	why  string
	// inForce says that apply has returned nil at some time.
	inForce bool
}

// look reads the files, and applies what they say where it is not what they said before,
// or where nothing is in force yet.
func (r *running) look(ctx context.Context) error {
	documents, err := r.loader.load()
	why := ""
	if err != nil {
		why = err.Error()
	}
	if r.inForce && why == r.why && slices.EqualFunc(documents, r.last, sameDocument) {
		return nil
	}
	r.last, r.why = documents, why
	err = r.apply(ctx, update(documents, err))
	if err == nil {
		r.inForce = true
	}
	for _, d := range documents {
		d.letGo()
	}
	return err
}

// sameDocument reports whether two files say the same, by the same name.
func sameDocument(a, b *document) bool { return a == b || a.name == b.name && a.sum == b.sum }

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
	b := burst{quiet: quiet}
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case event := <-w.watcher.Events:
			timer.Reset(b.next(event, time.Now()))
		case <-w.watcher.Errors:
			// Too many changes to tell which: look.
			timer.Reset(b.next(fsnotify.Event{Name: "*", Op: fsnotify.Write}, time.Now()))
		}
	}
}

// burst are changes of files that follow one another.
type burst struct {
	quiet time.Duration
	first time.Time
	// written says that a file was written in place, and may not be complete.
	written bool
}

// next is told of a change, and returns for how long no other must follow before files are read.
func (b *burst) next(event fsnotify.Event, now time.Time) time.Duration {
	if b.first.IsZero() {
		b.first = now
	}
	// A file whose name begins with a dot is never read.
	b.written = b.written || event.Op.Has(fsnotify.Write) && !strings.HasPrefix(filepath.Base(event.Name), ".")
	pause := b.quiet
	if !b.written {
		pause /= 5
	}
	return min(pause, max(0, b.first.Add(10*b.quiet).Sub(now)))
}

var _ Source = FileSource{}
