package once_test

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"policyengine.dev/tools/offline/once"
)

func TestDir(t *testing.T) {
	write := func(text string) func(string) error {
		return func(temp string) error { return os.WriteFile(filepath.Join(temp, "file"), []byte(text), 0o644) }
	}
	read := func(t *testing.T, dir string) string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(dir, "file"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}

	t.Run("a directory that is there is left alone", func(t *testing.T) {
		final := filepath.Join(t.TempDir(), "a", "b")
		for _, text := range []string{"first", "second"} {
			if err := once.Dir(final, nil, write(text)); err != nil {
				t.Fatal(err)
			}
		}
		if got := read(t, final); got != "first" {
			t.Errorf("file says %q, want what the first call wrote", got)
		}
	})

	t.Run("a failed build leaves nothing, and the next one starts afresh", func(t *testing.T) {
		parent := t.TempDir()
		final := filepath.Join(parent, "dir")
		broken := errors.New("broken")
		err := once.Dir(final, nil, func(temp string) error {
			return errors.Join(write("half")(temp), os.Mkdir(filepath.Join(temp, "sub"), 0o555), broken)
		})
		if !errors.Is(err, broken) {
			t.Fatalf("Dir = %v, want the build's error", err)
		}
		if left, _ := filepath.Glob(filepath.Join(parent, "dir*")); len(left) != 1 { // the lock
			t.Errorf("left behind: %q", left)
		}
		if err := once.Dir(final, nil, write("whole")); err != nil || read(t, final) != "whole" {
			t.Errorf("second Dir = %v", err)
		}
	})

	t.Run("what an interrupted process left is removed, read-only directories too", func(t *testing.T) {
		parent := t.TempDir()
		final := filepath.Join(parent, "dir")
		leftover := final + ".new-123"
		if err := os.MkdirAll(filepath.Join(leftover, "sub"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(write("half")(filepath.Join(leftover, "sub")), os.Chmod(filepath.Join(leftover, "sub"), 0o555)); err != nil {
			t.Fatal(err)
		}
		if err := once.Dir(final, nil, write("whole")); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(leftover); !os.IsNotExist(err) {
			t.Errorf("the leftover is still there (%v)", err)
		}
	})

	t.Run("of many at once, one builds and the others wait for it", func(t *testing.T) {
		final := filepath.Join(t.TempDir(), "dir")
		var builds atomic.Int32
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				err := once.Dir(final, nil, func(temp string) error {
					builds.Add(1)
					return write("whole")(temp)
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if builds.Load() != 1 || read(t, final) != "whole" {
			t.Errorf("built %d times, want once", builds.Load())
		}
	})
}

func TestLockWaits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := once.Lock(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	waiting, got := make(chan struct{}), make(chan error)
	go func() {
		release, err := once.Lock(path, func() { close(waiting) })
		if err == nil {
			release()
		}
		got <- err
	}()
	<-waiting
	select {
	case err := <-got:
		t.Fatalf("the second Lock returned (%v) while the first held", err)
	default:
	}
	unlock()
	if err := <-got; err != nil {
		t.Fatal(err)
	}
}
