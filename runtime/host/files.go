package host

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"policyengine.dev/sdk/policy"
)

// FileCheckInterval is how old a watched file's content may be before a look at the
// file tells whether it has changed.
const FileCheckInterval = time.Second

// Files are files that policies watch. The zero value is not usable: see [NewFiles].
// Safe for concurrent use.
type Files struct{ clock policy.Clock }

// NewFiles returns files that are as old as clock says.
func NewFiles(clock policy.Clock) *Files { return &Files{clock} }

// Watch implements policy.Files.
func (f *Files) Watch(path string, options policy.FileOptions, logger *slog.Logger, parse func([]byte) (any, error)) policy.WatchedFile {
	return &watchedFile{
		path: path, clock: f.clock, logger: logger.With(slog.String("file", path)),
		stat: func() (version, error) { return statFile(path) },
		load: func() (any, version, error) {
			content, found, err := readFile(path, options.Bound())
			if err != nil {
				return nil, found, err
			}
			v, err := parse(content)
			return v, found, err
		},
	}
}

// WatchDirectory implements policy.Files.
func (f *Files) WatchDirectory(path, suffix string, options policy.FileOptions, logger *slog.Logger, parse func([]policy.NamedFile) (any, error)) policy.WatchedFile {
	d := directory{path: path, suffix: suffix, maxSize: options.Bound()}
	return &watchedFile{
		path: path, clock: f.clock, logger: logger.With(slog.String("directory", path)),
		stat: d.stat,
		load: func() (any, version, error) {
			files, found, err := d.read()
			if err != nil {
				return nil, found, err
			}
			v, err := parse(files)
			return v, found, err
		},
	}
}

// watchedFile reads a file, or the files of a directory, again when they have changed.
// Nothing runs in the background: a caller that finds the content old enough looks at the
// file, and the others go on with the value that is there.
type watchedFile struct {
	path   string
	clock  policy.Clock
	logger *slog.Logger
	// stat says which version is there, and load reads and parses it. load returns the
	// version also where reading it again could not help, and nil where it could.
	stat func() (version, error)
	load func() (any, version, error)

	current atomic.Pointer[fileVersion]
	looking sync.Mutex
}

// version tells one state of a file, or of the files of a directory, from another. nil is
// none.
type version []os.FileInfo

// same reports whether both are there and alike.
func (v version) same(o version) bool {
	if v == nil || o == nil {
		return false
	}
	return slices.EqualFunc(v, o, func(a, b os.FileInfo) bool { return a.Name() == b.Name() && sameFile(a, b) })
}

// fileVersion is what a file said, and when it was checked. Immutable.
type fileVersion struct {
	value any
	// err is set where there has been no good value yet.
	err error
	// trouble is what was logged last, empty where the file is good.
	trouble string
	// read is the version that was read, nil where reading it failed.
	read version
	at   time.Time
}

// Value implements policy.WatchedFile.
func (f *watchedFile) Value() (any, error) {
	v := f.current.Load()
	switch {
	case v == nil:
		f.looking.Lock()
		defer f.looking.Unlock()
		if v = f.current.Load(); v == nil {
			v = f.look(&fileVersion{err: errors.New("not read yet")})
		}
	case f.clock.Now().Sub(v.at) >= FileCheckInterval && f.looking.TryLock():
		defer f.looking.Unlock()
		v = f.look(f.current.Load())
	}
	return v.value, v.err
}

// look reads the file where it is not as it was. The caller holds looking.
func (f *watchedFile) look(old *fileVersion) *fileVersion {
	next := *old
	next.at = f.clock.Now()
	found, err := f.stat()
	if err != nil || !found.same(old.read) {
		f.read(&next, old)
	}
	f.current.Store(&next)
	return &next
}

// read puts the file's content into next, which holds the last good value.
func (f *watchedFile) read(next, old *fileVersion) {
	value, found, err := f.parsed()
	next.read = found
	if err == nil {
		next.value, next.err, next.trouble = value, nil, ""
		if old.trouble != "" {
			f.logger.Info("a policy's file is valid again")
		}
		return
	}
	if next.trouble = err.Error(); next.trouble != old.trouble {
		message := "a policy's file cannot be used; its last good content stays"
		if old.err != nil {
			message = "a policy's file cannot be used, and there is no earlier content"
		}
		f.logger.Warn(message, slog.String("error", next.trouble))
	}
	if old.err != nil {
		next.err = fmt.Errorf("reading the file %s: %w", f.path, err)
	}
}

// parsed loads the file; a panic in a policy's parse function is an error. The version is
// that before, then: the same content would panic again.
func (f *watchedFile) parsed() (v any, found version, err error) {
	defer func() {
		if r := recover(); r != nil {
			found, _ = f.stat()
			v, err = nil, fmt.Errorf("parsing it panicked: %v", r)
		}
	}()
	return f.load()
}

func statFile(path string) (version, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	return version{info}, nil
}

// readFile reads a regular file of at most limit bytes, and tells which version of it was
// read. A file that is not regular, such as a pipe, might never end.
func readFile(path string, limit int) ([]byte, version, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, errors.New("it is not a regular file")
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = file.Close() }() // nothing was written
	if info, err = file.Stat(); err != nil {
		return nil, nil, err
	}
	content, err := io.ReadAll(io.LimitReader(file, int64(limit)+1))
	switch {
	case err != nil:
		return nil, nil, err
	case len(content) > limit:
		return nil, version{info}, fmt.Errorf("it is larger than %d bytes", limit)
	}
	// What is written over meanwhile may be half of one version.
	if after, err := file.Stat(); err != nil || !sameFile(after, info) {
		return nil, nil, errChanging
	}
	return content, version{info}, nil
}
