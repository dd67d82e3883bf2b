package policytest

import (
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"

	"policyengine.dev/sdk/policy"
)

// SetFile gives the file at path a content, or another one, both for references to
// secrets and for files that the policy watches.
func (h *Host) SetFile(path, content string) {
	h.Secrets.SetFile(path, strings.TrimSuffix(strings.TrimSuffix(content, "\n"), "\r"))
	h.Files.Set(path, content)
}

// Files are the files that a policy watches with [policy.WatchFile]. The zero value has
// none. A change is seen at once, and a panic in a policy's parse function is one in the
// test. Safe for concurrent use.
type Files struct {
	mu      sync.Mutex
	content map[string]string
}

// Set gives the file at path a content, or another one.
func (f *Files) Set(path, content string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.content == nil {
		f.content = map[string]string{}
	}
	f.content[path] = content
}

// Remove takes the file at path away.
func (f *Files) Remove(path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.content, path)
}

func (f *Files) read(path string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	content, ok := f.content[path]
	if !ok {
		return "", &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	if len(content) > policy.FileMaxSize {
		return "", fmt.Errorf("it is larger than %d bytes", policy.FileMaxSize)
	}
	return content, nil
}

// Watch implements [policy.Files].
func (f *Files) Watch(path string, logger *slog.Logger, parse func([]byte) (any, error)) policy.WatchedFile {
	return &watchedFile{files: f, path: path, logger: logger, parse: parse}
}

type watchedFile struct {
	files  *Files
	path   string
	logger *slog.Logger
	parse  func([]byte) (any, error)

	mu      sync.Mutex
	seen    *string
	value   any
	good    bool
	trouble error
}

// Value implements [policy.WatchedFile].
func (w *watchedFile) Value() (any, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	content, err := w.files.read(w.path)
	if err == nil && (w.seen == nil || *w.seen != content) {
		w.seen = &content
		var v any
		if v, err = w.parse([]byte(content)); err == nil {
			w.value, w.good = v, true
		}
		w.note(err)
	} else if err != nil {
		w.seen = nil
		w.note(err)
	}
	if !w.good {
		return nil, fmt.Errorf("reading the file %s: %w", w.path, w.trouble)
	}
	return w.value, nil
}

// note logs what is wrong, once.
func (w *watchedFile) note(err error) {
	if err != nil && (w.trouble == nil || w.trouble.Error() != err.Error()) {
		w.logger.Warn("a policy's file cannot be used", slog.String("file", w.path), slog.String("error", err.Error()))
	}
	w.trouble = err
}
