package config

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	// maxFile bounds one file, maxFiles and maxTotal a directory of them.
	maxFile  = 8 << 20
	maxFiles = 1000
	maxTotal = 32 << 20
	// readTries is how often a set of files that changes while it is read is
	// read again at once. What changes even then is read when it has settled.
	readTries = 5
)

// readFile reads a regular file of at most limit bytes.
func readFile(path string, limit int64) ([]byte, error) {
	// Not blocking, since opening a named pipe would wait for a writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	src, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(src)) > limit:
		return nil, fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return src, nil
}

type listed struct {
	path string
	info fs.FileInfo
}

// list finds the YAML files. Names that begin with a dot are left out: editors' own,
// and those that Kubernetes keeps a volume's versions under.
func list(path string) ([]listed, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []listed{{path, info}}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var all []listed
	for _, entry := range entries {
		name := entry.Name()
		if extension := filepath.Ext(name); name[0] == '.' || (extension != ".yaml" && extension != ".yml") {
			continue
		}
		file := filepath.Join(path, name)
		info, err := os.Stat(file)
		if err != nil {
			return nil, err
		}
		all = append(all, listed{file, info})
	}
	switch {
	case len(all) == 0:
		return nil, fmt.Errorf("%s has no file whose name ends in .yaml or .yml", path)
	case len(all) > maxFiles:
		return nil, fmt.Errorf("%s has %d files, at most %d are read", path, len(all), maxFiles)
	}
	return all, nil
}

func sameFiles(a, b []listed) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].path != b[i].path || !os.SameFile(a[i].info, b[i].info) ||
			a[i].info.Size() != b[i].info.Size() || !a[i].info.ModTime().Equal(b[i].info.ModTime()) {
			return false
		}
	}
	return true
}

// plainName is a file's name as messages show it: relative to the working
// directory where it is below it.
func plainName(path string) string {
	if dir, err := os.Getwd(); err == nil {
		if short, ok := strings.CutPrefix(path, dir+string(filepath.Separator)); ok {
			return short
		}
	}
	return path
}
