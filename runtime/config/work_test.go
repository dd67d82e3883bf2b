package config_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"policyengine.dev/runtime/config"
	"policyengine.dev/runtime/worker"
)

// source runs a FileSource over a directory, and hands its updates to a test one by one.
type source struct {
	t       *testing.T
	counts  *config.Counts
	updates chan config.Update
	answers chan error
}

func runSource(t *testing.T, s config.FileSource) *source {
	t.Helper()
	r := &source{t, new(config.Counts), make(chan config.Update), make(chan error)}
	s.Counts = r.counts
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- s.Run(ctx, func(ctx context.Context, u config.Update) error {
			select {
			case r.updates <- u:
				return <-r.answers
			case <-ctx.Done():
				return nil
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return r
}

// next waits for an update and answers it. f sees it before.
func (r *source) next(answer error, f func(u config.Update)) config.Update {
	r.t.Helper()
	select {
	case u := <-r.updates:
		if f != nil {
			f(u)
		}
		r.answers <- answer
		return u
	case <-time.After(20 * time.Second):
		r.t.Fatal("no update")
		return config.Update{}
	}
}

// later is a clock by which every file was written long ago.
func later() time.Time { return time.Now().Add(time.Hour) }

// TestAChangeCostsTheFilesThatChanged proves that a source reads what may have changed,
// parses what has, does nothing while nothing happens, and keeps no YAML in between.
func TestAChangeCostsTheFilesThatChanged(t *testing.T) {
	const n = 50
	dir := t.TempDir()
	name := func(i int) string { return filepath.Join(dir, fmt.Sprintf("%03d.yaml", i)) }
	for i := range n {
		write(t, name(i), chain(fmt.Sprint("c", i)))
	}
	r := runSource(t, config.FileSource{Path: dir, Quiet: 5 * time.Millisecond, Poll: time.Millisecond, Now: later})
	read, parsed := uint64(0), uint64(0)
	costs := func(what string, files, trees uint64) {
		t.Helper()
		gotRead, gotParsed := r.counts.FilesRead.Load()-read, r.counts.FilesParsed.Load()-parsed
		if gotRead != files || gotParsed != trees {
			t.Errorf("%s: %d files were read and %d parsed, want %d and %d", what, gotRead, gotParsed, files, trees)
		}
		read, parsed = r.counts.FilesRead.Load(), r.counts.FilesParsed.Load()
	}
	var first config.Positions
	u := r.next(nil, func(u config.Update) {
		costs("the first configuration", n, n)
		first = u.Positions.(config.Positions)
		// The YAML of a file is made when a line is looked for.
		if first.Trees() != 0 {
			t.Errorf("the YAML of %d files is kept while the configuration is dealt with", first.Trees())
		}
		if at, ok := first.Position("chains[3].policies"); !ok || at.Line == 0 || first.Trees() != 1 {
			t.Errorf("a place in a file is %+v, and %d files were parsed for it", at, first.Trees())
		}
	})
	if len(u.Spec.Chains) != n {
		t.Errorf("%d chains", len(u.Spec.Chains))
	}
	// A new file that says nothing shows that the source has looked again.
	write(t, name(n), "routes: []\n")
	r.next(nil, nil)
	costs("a file more", 1, 1)
	if first.Trees() != 0 {
		t.Errorf("the YAML of %d files is kept", first.Trees())
	}

	// A file that is replaced with the same content is read and not parsed.
	replace(t, name(7), chain("c7"))
	for r.counts.FilesRead.Load() == read {
		time.Sleep(time.Millisecond)
	}
	// The source may still be reading, and would read the file again if another changed
	// meanwhile. The next update shows that it has finished.
	write(t, name(n), "routes: []\n# Changed.\n")
	r.next(nil, nil)
	if files, trees := r.counts.FilesRead.Load()-read, r.counts.FilesParsed.Load()-parsed; files < 2 || files > 3 || trees != 1 {
		t.Errorf("one file was replaced with the same content and one has changed: %d were read and %d parsed, want 2 or 3 and 1", files, trees)
	}
	read, parsed = r.counts.FilesRead.Load(), r.counts.FilesParsed.Load()

	replace(t, name(8), chain("changed"))
	u = r.next(nil, func(u config.Update) {
		if got := r.counts.FilesParsed.Load() - parsed; got != 1 {
			t.Errorf("one file has changed, and %d were parsed", got)
		}
		if got := r.counts.FilesRead.Load() - read; got != 1 {
			t.Errorf("one file has changed, and %d were read", got)
		}
		// A file that was not parsed still leads to its lines.
		at, ok := u.Positions.Position("chains[3].policies")
		if !ok || at.Source != name(3) || at.Line == 0 || at.Field != "chains[0].policies" {
			t.Errorf("a place in a file that has not changed is %+v", at)
		}
		if n := u.Positions.(config.Positions).Trees(); n != 1 {
			t.Errorf("%d files were parsed for one position", n)
		}
	})
	if u.Spec.Chains[8].Name != "changed" || u.Spec.Chains[7].Name != "c7" {
		t.Errorf("the chains are %v", u.Spec.Chains)
	}
}

// TestARefusedChangeIsTriedAsBefore proves that the memory of files does not hide a change
// back to what is in force, nor a file that changed after its YAML was let go.
func TestARefusedChangeIsTriedAsBefore(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a.yaml")
	write(t, file, chain("a"))
	r := runSource(t, config.FileSource{Path: dir, Quiet: 5 * time.Millisecond, Poll: 10 * time.Millisecond})
	first := r.next(nil, nil)
	replace(t, file, "chains: [{name: b}]\n")
	bad := r.next(errors.New("refused"), nil)
	if bad.Err == nil || !strings.Contains(bad.Err.Error(), "a.yaml:1:10: chains[0].policies: missing") {
		t.Errorf("the error is %v", bad.Err)
	}
	// What the first configuration was read from is gone.
	if at, ok := first.Positions.Position("chains[0].name"); !ok || at.Line != 0 || at.Source != file || at.Field != "chains[0].name" {
		t.Errorf("a place in a file that has changed since is %+v", at)
	}
	replace(t, file, chain("a"))
	back := r.next(nil, nil)
	if back.Err != nil || back.Spec.Version != first.Spec.Version {
		t.Errorf("back to the first configuration: %v", back.Err)
	}
}

// TestOneRouteAmongManyEndToEnd proves over files and worker together that one route more
// among 10,000 parses one file and compiles no chain.
func TestOneRouteAmongManyEndToEnd(t *testing.T) {
	const n = 10_000
	dir := t.TempDir()
	var chains, routes strings.Builder
	chains.WriteString("chains:\n")
	routes.WriteString("routes:\n")
	for i := range n {
		fmt.Fprintf(&chains, "- {name: c%d, policies: []}\n", i)
		fmt.Fprintf(&routes, "- {name: r%d, chain: c%d}\n", i, i)
	}
	write(t, filepath.Join(dir, "chains.yaml"), chains.String())
	write(t, filepath.Join(dir, "routes.yaml"), routes.String())
	write(t, filepath.Join(dir, "team.yaml"), "routes: []\n")
	registry, err := worker.NewRegistry()
	if err != nil {
		t.Fatal(err)
	}
	w := newWorker(t, registry)
	r := runSource(t, config.FileSource{Path: dir, Quiet: 5 * time.Millisecond, Poll: time.Hour})
	apply := func(u config.Update) {
		if _, err := w.Update(t.Context(), u.Spec); err != nil || u.Err != nil {
			t.Fatal(err, u.Err)
		}
	}
	r.next(nil, apply)
	work, parsed := w.Work(), r.counts.FilesParsed.Load()
	replace(t, filepath.Join(dir, "team.yaml"), "routes: [{name: more, chain: c7}]\n")
	r.next(nil, apply)
	after := w.Work()
	if p := r.counts.FilesParsed.Load() - parsed; p != 1 || after.ChainsCompiled != work.ChainsCompiled || after.ChainsReused-work.ChainsReused != n {
		t.Errorf("one route more parsed %d files, compiled %d chains and reused %d", p, after.ChainsCompiled-work.ChainsCompiled, after.ChainsReused-work.ChainsReused)
	}
	s := w.Acquire()
	defer s.Release()
	if c, ok := s.Chain("more"); !ok || c.Name() != "c7" {
		t.Error("the route has no chain")
	}
}
