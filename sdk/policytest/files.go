package policytest

import (
	"fmt"
	"io/fs"
	"log/slog"
	"reflect"
	"slices"
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

// Files are the files that a policy watches with [policy.WatchFile] and
// [policy.WatchDirectory]. The zero value has
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

func (f *Files) read(path string, limit int) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	content, ok := f.content[path]
	if !ok {
		return "", &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	if len(content) > limit {
		return "", fmt.Errorf("it is larger than %d bytes", limit)
	}
	return content, nil
}

// readDirectory returns the files below path. A directory without any is none.
func (f *Files) readDirectory(path, suffix string, limit int) ([]policy.NamedFile, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var files []policy.NamedFile
	there, size := false, 0
	for name, content := range f.content {
		name, below := strings.CutPrefix(name, strings.TrimSuffix(path, "/")+"/")
		there = there || below
		if !below || strings.Contains(name, "/") || strings.HasPrefix(name, ".") || !strings.HasSuffix(name, suffix) {
			continue
		}
		files = append(files, policy.NamedFile{Name: name, Content: []byte(content)})
		size += len(content)
	}
	switch {
	case !there:
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	case size > limit:
		return nil, fmt.Errorf("its files are too large: they have more than %d bytes together", limit)
	case len(files) > policy.DirectoryMaxFiles:
		return nil, fmt.Errorf("it has %d files, more than %d", len(files), policy.DirectoryMaxFiles)
	}
	slices.SortFunc(files, func(a, b policy.NamedFile) int { return strings.Compare(a.Name, b.Name) })
	return files, nil
}

// Watch implements [policy.Files].
func (f *Files) Watch(path string, options policy.FileOptions, logger *slog.Logger, parse func([]byte) (any, error)) policy.WatchedFile {
	return &watchedFile{path: path, logger: logger, read: func() (any, error) { return f.read(path, options.Bound()) },
		parse: func(content any) (any, error) { return parse([]byte(content.(string))) }}
}

// WatchDirectory implements [policy.Files]. The directory has the files that were set at
// paths below its own.
func (f *Files) WatchDirectory(path, suffix string, options policy.FileOptions, logger *slog.Logger, parse func([]policy.NamedFile) (any, error)) policy.WatchedFile {
	return &watchedFile{path: path, logger: logger, read: func() (any, error) { return f.readDirectory(path, suffix, options.Bound()) },
		parse: func(content any) (any, error) { return parse(content.([]policy.NamedFile)) }}
}

type watchedFile struct {
	path   string
	logger *slog.Logger
	read   func() (any, error)
	parse  func(any) (any, error)

	mu sync.Mutex
	// seen is what was parsed last.
	seen    any
	value   any
	good    bool
	trouble error
}

// Value implements [policy.WatchedFile].
func (w *watchedFile) Value() (any, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	content, err := w.read()
	if err == nil && (w.seen == nil || !reflect.DeepEqual(w.seen, content)) {
		w.seen = content
		var v any
		if v, err = w.parse(content); err == nil {
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
