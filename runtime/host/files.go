package host

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
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
func (f *Files) Watch(path string, logger *slog.Logger, parse func([]byte) (any, error)) policy.WatchedFile {
	return &watchedFile{path: path, clock: f.clock, logger: logger.With(slog.String("file", path)), parse: parse}
}

// watchedFile reads a file again when it has changed. Nothing runs in the background:
// a caller that finds the content old enough looks at the file, and the others go on
// with the value that is there.
type watchedFile struct {
	path   string
	clock  policy.Clock
	logger *slog.Logger
	parse  func([]byte) (any, error)

	current atomic.Pointer[fileVersion]
	looking sync.Mutex
}

// fileVersion is what a file said, and when it was looked at. Immutable.
type fileVersion struct {
	value any
	// err is set where there has been no good value yet.
	err error
	// trouble is what was logged last, empty where the file is good.
	trouble string
	// file is the version that was read, nil where reading it failed.
	file os.FileInfo
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
	info, err := os.Stat(f.path)
	if err != nil || !sameFile(info, old.file) {
		f.read(&next, old)
	}
	f.current.Store(&next)
	return &next
}

// read puts the file's content into next, which holds the last good value.
func (f *watchedFile) read(next, old *fileVersion) {
	content, info, err := readFile(f.path)
	var value any
	if err == nil {
		value, err = f.parsed(content)
	}
	next.file = info
	if err == nil {
		next.value, next.err, next.trouble = value, nil, ""
		if old.trouble != "" {
			f.logger.Info("a policy's file is good again")
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

func (f *watchedFile) parsed(content []byte) (v any, err error) {
	defer func() {
		if r := recover(); r != nil {
			v, err = nil, fmt.Errorf("parsing it panicked: %v", r)
		}
	}()
	return f.parse(content)
}

// readFile reads a regular file, and tells which version of it was read. A file that
// is not regular, such as a pipe, might never end.
func readFile(path string) ([]byte, os.FileInfo, error) {
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
	content, err := io.ReadAll(io.LimitReader(file, policy.FileMaxSize+1))
	switch {
	case err != nil:
		return nil, nil, err
	case len(content) > policy.FileMaxSize:
		return nil, info, fmt.Errorf("it is larger than %d bytes", policy.FileMaxSize)
	}
	return content, info, nil
}
