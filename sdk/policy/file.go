package policy

import (
	"errors"
	"log/slog"
)

// FileMaxSize bounds a file that [WatchFile] reads, in bytes.
const FileMaxSize = 4 << 20

// Files gives access to files that are no secrets and may change while the process
// runs. Policies use it through [WatchFile]. Safe for concurrent use.
type Files interface {
	// Watch returns the file at path as parse reads it. It does no I/O. What is
	// wrong with the file goes to logger.
	Watch(path string, logger *slog.Logger, parse func(content []byte) (any, error)) WatchedFile
}

// WatchedFile is what [Files.Watch] returns.
type WatchedFile interface {
	// Value is what the file has been parsed into, as described at [File.Value].
	Value() (any, error)
}

// File is a file beside the configuration that may change while the process runs, such
// as a list or a table. Make one with [WatchFile]. It is safe for concurrent use.
type File[T any] struct{ source WatchedFile }

// WatchFile returns the file at path as parse reads it. It does no I/O: call
// [File.Value] in Start where the policy cannot work without the file.
//
// parse is called with the whole content, once for each version of the file, never
// twice at a time; what it returns is shared by concurrent requests. A panic in it is
// an error.
func WatchFile[T any](host Host, path string, parse func(content []byte) (T, error)) *File[T] {
	if host.Files == nil {
		return &File[T]{noFiles{}}
	}
	return &File[T]{host.Files.Watch(path, host.Logger, func(content []byte) (any, error) {
		v, err := parse(content)
		return v, err
	})}
}

// Value is what the file's content has been parsed into. A file that has been replaced
// or written to is read again within a second or two. Where that fails, because the
// file is gone, larger than [FileMaxSize] or refused by parse, the last good value
// stays and the trouble is logged, once for each kind. It is an error only where there
// has been no good value yet. Cheap enough for the request path.
func (f *File[T]) Value() (T, error) {
	v, err := f.source.Value()
	if err != nil {
		var none T
		return none, err
	}
	typed, _ := v.(T) // parse has returned a T; the assertion fails for a nil interface alone
	return typed, nil
}

type noFiles struct{}

func (noFiles) Value() (any, error) { return nil, errors.New("the host has no files") }
