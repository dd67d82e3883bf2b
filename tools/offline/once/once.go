// Package once makes directories that are either whole or not there.
//
// What is set up on a machine may be interrupted at any moment, and two may set
// it up at once. A directory is therefore made beside its final place, and takes
// that place by a rename when it is whole; a lock file lets one process do the
// work while the others wait for it.
package once

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Dir makes sure that the directory final exists, calling build at most once to
// make it. It is safe to call from several processes at the same time.
//
// build is given an empty directory next to final, to be filled; it becomes final
// when build returns nil, and is removed when build returns an error. What an
// interrupted call left behind is removed by the next one. waiting, which may be
// nil, is called once if another process holds the lock.
func Dir(final string, waiting func(), build func(temp string) error) error {
	if isDir(final) {
		return nil
	}
	parent := filepath.Dir(final)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return fmt.Errorf("making the cache directory: %w", err)
	}
	unlock, err := Lock(final+".lock", waiting)
	if err != nil {
		return err
	}
	defer unlock()
	if isDir(final) { // made while this process waited
		return nil
	}
	removeLeftovers(final)
	temp, err := os.MkdirTemp(parent, filepath.Base(final)+tempInfix)
	if err != nil {
		return fmt.Errorf("making a temporary directory: %w", err)
	}
	if err := os.Chmod(temp, 0o755); err != nil {
		return err
	}
	if err := build(temp); err != nil {
		return errors.Join(err, RemoveAll(temp))
	}
	if err := os.Rename(temp, final); err != nil {
		return errors.Join(fmt.Errorf("putting %s in place: %w", final, err), RemoveAll(temp))
	}
	return nil
}

// Lock takes an exclusive lock on the file at path, which it creates, and waits
// for whoever holds it. The lock ends with unlock, or with the process.
func Lock(path string, waiting func()) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the lock: %w", err)
	}
	err = flock(f, syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		if waiting != nil {
			waiting()
		}
		err = flock(f, syscall.LOCK_EX)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("locking %s: %w", path, err), f.Close())
	}
	return func() { _ = f.Close() }, nil
}

// RemoveAll removes a tree, read-only directories in it included: those of the Go
// module cache are.
func RemoveAll(dir string) error {
	if err := os.RemoveAll(dir); err == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}

const tempInfix = ".new-"

// removeLeftovers takes away what interrupted calls left. What resists (a program
// that outlived its bazelw may still write there) is in nobody's way.
func removeLeftovers(final string) {
	left, err := filepath.Glob(final + tempInfix + "*")
	if err != nil { // final has a character that is special to Glob
		return
	}
	for _, dir := range left {
		_ = RemoveAll(dir)
	}
}

func flock(f *os.File, how int) error {
	for {
		err := syscall.Flock(int(f.Fd()), how)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
