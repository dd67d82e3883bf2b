package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"policyengine.dev/sdk/policy"
)

// directoryAttempts is how often a directory is read that changes meanwhile, before the
// last good content stays until the next look.
const directoryAttempts = 3

var errChanging = errors.New("it changes while it is read")

// directory is the files of a directory whose names end in a suffix.
type directory struct {
	path, suffix string
	// maxSize bounds the files together, in bytes.
	maxSize int
}

// stat describes the files, sorted by name. It is empty and not nil where there are none.
func (d directory) stat() (version, error) {
	opened, err := os.Open(d.path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = opened.Close() }() // nothing was written
	entries, err := opened.ReadDir(-1)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		if name := e.Name(); strings.HasSuffix(name, d.suffix) && !strings.HasPrefix(name, ".") {
			names = append(names, name)
		}
	}
	if len(names) > policy.DirectoryMaxFiles {
		return nil, fmt.Errorf("it has %d files, more than %d", len(names), policy.DirectoryMaxFiles)
	}
	slices.Sort(names)
	found := make(version, 0, len(names))
	for _, name := range names {
		// Stat follows a link; the info has the name of the link.
		info, err := os.Stat(filepath.Join(d.path, name))
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			found = append(found, info)
		}
	}
	return found, nil
}

// read returns the files as they were at one time.
func (d directory) read() ([]policy.NamedFile, version, error) {
	for range directoryAttempts {
		found, err := d.stat()
		if err != nil {
			return nil, nil, err
		}
		files, read, err := d.readEach(found)
		if errors.Is(err, errTooLarge) {
			return nil, found, err
		}
		// A file may be gone, or cut, because the directory has changed.
		now, statErr := d.stat()
		if statErr == nil && now.same(found) {
			if err != nil {
				return nil, nil, err
			}
			if read.same(found) {
				return files, found, nil
			}
		}
	}
	return nil, nil, errChanging
}

var errTooLarge = errors.New("its files are too large")

func (d directory) readEach(found version) (files []policy.NamedFile, read version, err error) {
	left := d.maxSize
	read = make(version, 0, len(found))
	for _, info := range found {
		if info.Size() > int64(left) {
			return nil, nil, fmt.Errorf("%w: they have more than %d bytes together", errTooLarge, d.maxSize)
		}
		content, v, err := readFile(filepath.Join(d.path, info.Name()), left)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", info.Name(), err)
		}
		left -= len(content)
		files = append(files, policy.NamedFile{Name: info.Name(), Content: content})
		read = append(read, v...)
	}
	return files, read, nil
}
