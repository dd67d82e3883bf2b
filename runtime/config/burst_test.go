package config

import (
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
)

// TestABurstOfChanges proves that what is renamed into place is read soon, that a file which is written in place is
// given time to be complete, and that no number of changes puts one off for ever.
func TestABurstOfChanges(t *testing.T) {
	const quiet = 100 * time.Millisecond
	renamed := fsnotify.Event{Name: "dir/a.yaml", Op: fsnotify.Create}
	removed := fsnotify.Event{Name: "dir/a.yaml", Op: fsnotify.Remove}
	written := fsnotify.Event{Name: "dir/a.yaml", Op: fsnotify.Write}
	hidden := fsnotify.Event{Name: "dir/.a.yaml", Op: fsnotify.Write}
	for _, c := range []struct {
		name   string
		events []fsnotify.Event
		last   time.Duration // when the last of them comes
		want   time.Duration
	}{
		{"renamed", []fsnotify.Event{renamed}, 0, quiet / 5},
		{"removed", []fsnotify.Event{removed}, 0, quiet / 5},
		{"written", []fsnotify.Event{written}, 0, quiet},
		{"written under a name that is not read, and renamed", []fsnotify.Event{hidden, renamed}, 0, quiet / 5},
		{"created and written", []fsnotify.Event{renamed, written}, 0, quiet},
		{"written and then another renamed", []fsnotify.Event{written, renamed}, 0, quiet},
		{"written again and again", []fsnotify.Event{written, written}, 950 * time.Millisecond, 50 * time.Millisecond},
		{"written for longer than that", []fsnotify.Event{written, written}, 2 * time.Second, 0},
	} {
		b := burst{quiet: quiet}
		now := time.Unix(1, 0)
		var got time.Duration
		for i, event := range c.events {
			if i == len(c.events)-1 {
				now = now.Add(c.last)
			}
			got = b.next(event, now)
		}
		if got != c.want {
			t.Errorf("%s: files are read after %v, want %v", c.name, got, c.want)
		}
	}
}
