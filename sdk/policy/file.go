package policy

import (
	"errors"
	"log/slog"
)

const (
	// FileMaxSize bounds what [WatchFile] and [WatchDirectory] read, in bytes, where
	// [MaxFileSize] sets no other bound.
	FileMaxSize = 4 << 20
	// FileSizeLimit is the highest bound that [MaxFileSize] can set.
	FileSizeLimit = 64 << 20
	// DirectoryMaxFiles bounds the files that [WatchDirectory] reads.
	DirectoryMaxFiles = 4096
)

// FileOptions say how files are read. The zero value has the defaults.
type FileOptions struct {
	// MaxSize is set by [MaxFileSize]; 0 stands for [FileMaxSize].
	MaxSize int
}

// Bound is MaxSize with its default applied. It is for runtimes.
func (o FileOptions) Bound() int {
	if o.MaxSize == 0 {
		return FileMaxSize
	}
	return o.MaxSize
}

// A FileOption is given to [WatchFile] and [WatchDirectory].
type FileOption func(*FileOptions)

// MaxFileSize bounds the size of the file, or of all files of a directory together, to n
// bytes. Below 1 it is 1, above [FileSizeLimit] it is that limit.
//
// Whoever calls [File.Value] when a file has changed waits until it has been parsed. A
// policy with large files calls it from a goroutine of its own and leaves the result
// where requests find it.
func MaxFileSize(n int) FileOption {
	return func(o *FileOptions) { o.MaxSize = min(max(n, 1), FileSizeLimit) }
}

// Files gives access to files that are no secrets and may change while the process
// runs. Policies use it through [WatchFile] and [WatchDirectory]. Safe for concurrent
// use.
type Files interface {
	// Watch returns the file at path as parse reads it. It does no I/O. What is
	// wrong with the file goes to logger.
	Watch(path string, options FileOptions, logger *slog.Logger, parse func(content []byte) (any, error)) WatchedFile
	// WatchDirectory returns the files of the directory at path whose names end in
	// suffix, as described at [WatchDirectory].
	WatchDirectory(path, suffix string, options FileOptions, logger *slog.Logger, parse func(files []NamedFile) (any, error)) WatchedFile
}

// WatchedFile is what [Files.Watch] returns.
type WatchedFile interface {
	// Value is what the file has been parsed into, as described at [File.Value].
	Value() (any, error)
}

// NamedFile is a file of a directory.
type NamedFile struct {
	// Name is the file's name within the directory.
	Name    string
	Content []byte
}

// File is a file beside the configuration that may change while the process runs, such
// as a list or a table, or a directory of such files. Make one with [WatchFile] or
// [WatchDirectory]. It is safe for concurrent use.
type File[T any] struct{ source WatchedFile }

// WatchFile returns the file at path as parse reads it. It does no I/O: call
// [File.Value] in Start where the policy cannot work without the file.
//
// parse is called with the whole content, once for each version of the file, never
// twice at a time; what it returns is shared by concurrent requests. A panic in it is
// an error.
func WatchFile[T any](host Host, path string, parse func(content []byte) (T, error), options ...FileOption) *File[T] {
	if host.Files == nil {
		return &File[T]{noFiles{}}
	}
	return &File[T]{host.Files.Watch(path, fileOptions(options), host.Logger, func(content []byte) (any, error) {
		v, err := parse(content)
		return v, err
	})}
}

// WatchDirectory is [WatchFile] for all files of the directory at path whose names end
// in suffix. Files whose names begin with "." and the files of directories within are
// left out; symbolic links are followed.
//
// parse gets the files sorted by name, all of one state of the directory: where the
// directory changes while it is read, it is read again. A directory without such files is
// an empty list. One file that cannot be read, or more than [DirectoryMaxFiles] of them,
// make the whole directory unusable, and the last good value stays.
func WatchDirectory[T any](host Host, path, suffix string, parse func(files []NamedFile) (T, error), options ...FileOption) *File[T] {
	if host.Files == nil {
		return &File[T]{noFiles{}}
	}
	return &File[T]{host.Files.WatchDirectory(path, suffix, fileOptions(options), host.Logger, func(files []NamedFile) (any, error) {
		v, err := parse(files)
		return v, err
	})}
}

func fileOptions(options []FileOption) (o FileOptions) {
	for _, set := range options {
		set(&o)
	}
	return o
}

// Value is what the content has been parsed into. A file that has been replaced or
// written to is read again within a second or two. Where that fails, because the file is
// gone, too large ([MaxFileSize]) or refused by parse, the last good value stays and the
// trouble is logged, once for each kind. It is an error only where there has been no good
// value yet. Cheap enough for the request path as long as parse is.
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
