package policy

import (
	"errors"
	"log/slog"
)

const (
	// FileMaxSize is the default limit of [WatchFile] and [WatchDirectory], in bytes.
	// [MaxFileSize] sets another.
	FileMaxSize = 4 << 20
	// FileSizeLimit is the highest limit that [MaxFileSize] can set.
	FileSizeLimit = 64 << 20
	// DirectoryMaxFiles is the highest number of files that [WatchDirectory] reads.
	DirectoryMaxFiles = 4096
)

// FileOptions are the options for reading files. The zero value has the defaults.
type FileOptions struct {
	// MaxSize is set by [MaxFileSize]; 0 means [FileMaxSize].
	MaxSize int
}

// Bound returns MaxSize with its default. It is for runtimes.
func (o FileOptions) Bound() int {
	if o.MaxSize == 0 {
		return FileMaxSize
	}
	return o.MaxSize
}

// A FileOption is an option of [WatchFile] and [WatchDirectory].
type FileOption func(*FileOptions)

// MaxFileSize limits the size of the file, or of all files of a directory together, to n
// bytes. Values below 1 count as 1, values above [FileSizeLimit] as that limit.
//
// The first call of [File.Value] after a change parses the file, and returns when that is
// done. A policy with large files calls Value in a goroutine and stores the result for
// requests.
func MaxFileSize(n int) FileOption {
	return func(o *FileOptions) { o.MaxSize = min(max(n, 1), FileSizeLimit) }
}

// Files gives access to files without secrets that may change while the process runs.
// Policies use it through [WatchFile] and [WatchDirectory]. Safe for concurrent use.
type Files interface {
	// Watch returns the file at path, parsed by parse. It does no I/O. Problems with the
	// file are logged to logger.
	Watch(path string, options FileOptions, logger *slog.Logger, parse func(content []byte) (any, error)) WatchedFile
	// WatchDirectory returns the files of the directory at path whose names end in
	// suffix, as described at [WatchDirectory].
	WatchDirectory(path, suffix string, options FileOptions, logger *slog.Logger, parse func(files []NamedFile) (any, error)) WatchedFile
}

// WatchedFile is what [Files.Watch] returns.
type WatchedFile interface {
	// Value returns the parsed content, as described at [File.Value].
	Value() (any, error)
}

// NamedFile is a file of a directory.
type NamedFile struct {
	// Name is the file's name within the directory.
	Name    string
	Content []byte
}

// File is a file outside of the configuration that may change while the process runs, such
// as a list or a table, or a directory of such files. Create it with [WatchFile] or
// [WatchDirectory]. Safe for concurrent use.
type File[T any] struct{ source WatchedFile }

// WatchFile returns the file at path, parsed by parse. It does no I/O: call [File.Value] in
// Start if the policy cannot work without the file.
//
// parse is called with the whole content, once for each version of the file, and never
// concurrently. Concurrent requests share its result. A panic in it is an error.
func WatchFile[T any](host Host, path string, parse func(content []byte) (T, error), options ...FileOption) *File[T] {
	if host.Files == nil {
		return &File[T]{noFiles{}}
	}
	return &File[T]{host.Files.Watch(path, fileOptions(options), host.Logger, func(content []byte) (any, error) {
		v, err := parse(content)
		return v, err
	})}
}

// WatchDirectory is like [WatchFile], for all files of the directory at path whose names
// end in suffix. Files whose names begin with ".", and the files of subdirectories, are
// left out. Symbolic links are followed.
//
// parse gets the files sorted by name, all from one state of the directory: if the
// directory changes while it is read, it is read again. A directory without such files
// gives an empty list. If one file cannot be read, or there are more than
// [DirectoryMaxFiles], the last valid value of the whole directory stays in use.
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

// Value returns the parsed content. A file that changed is read again within two seconds.
// If that fails, because the file is missing, too large ([MaxFileSize]) or refused by
// parse, the last valid value stays in use and the problem is logged, once for each kind.
// It is an error only if there never was a valid value. Cheap enough for the request path
// if parse is.
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
