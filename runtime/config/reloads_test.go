package config_test

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"policyengine.dev/runtime/config"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
)

// counted is a policy of which each instance is counted.
type counted struct{ open *atomic.Int64 }

type countedParams struct {
	Value string `json:"value"`
}

func (c *counted) OnRequestHeaders(context.Context, *policy.RequestContext) (policy.RequestAction, error) {
	return nil, nil
}

func (c *counted) Close() error { c.open.Add(-1); return nil }

// TestAThousandReloads proves that files, chains and instances that are replaced a thousand times leave nothing behind,
// and that the instances of what has not changed stay the same ones.
func TestAThousandReloads(t *testing.T) {
	reloads := 1000
	if testing.Short() {
		reloads = 100
	}
	var open, made atomic.Int64
	registry, err := worker.NewRegistry(worker.Entry{
		Definition: `{"apiVersion":"policyengine/v1","name":"counted","version":"v1.0.0","description":"Is counted.","phases":["request_headers"],
"parameters":{"type":"object","additionalProperties":false,"properties":{"value":{"type":"string"}}}}`,
		Factory: policy.Define(func(countedParams, policy.Host) (*counted, error) {
			open.Add(1)
			made.Add(1)
			return &counted{&open}, nil
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	const files, chainsPerFile = 4, 25
	dir := t.TempDir()
	content := func(file int, value string) string {
		var b strings.Builder
		b.WriteString("chains:\n")
		for c := range chainsPerFile {
			fmt.Fprintf(&b, "- {name: c%d-%d, policies: [{name: counted, version: v1, params: {value: %q}}]}\n", file, c, value)
			value = "same"
		}
		b.WriteString("routes:\n")
		for c := range chainsPerFile {
			fmt.Fprintf(&b, "- {name: r%d-%d, chain: c%d-%d}\n", file, c, file, c)
		}
		return b.String()
	}
	name := func(file int) string { return filepath.Join(dir, fmt.Sprintf("%d.yaml", file)) }
	for i := range files {
		write(t, name(i), content(i, "first"))
	}
	w := newWorker(t, registry)
	// As soon as a file is renamed, it is read.
	r := runSource(t, config.FileSource{Path: dir, Quiet: time.Millisecond, Poll: time.Hour, Now: later})
	apply := func(u config.Update) {
		t.Helper()
		if _, err := w.Update(t.Context(), u.Spec); err != nil || u.Err != nil {
			t.Fatal(err, u.Err)
		}
	}
	r.next(nil, apply)
	first, firstMade := w.Work(), made.Load()
	reload := func(i int) {
		replace(t, name(i%files), content(i%files, fmt.Sprintf("value %d", i)))
		r.next(nil, apply)
	}
	objects := func() uint64 {
		for range 2 {
			runtime.GC()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapObjects
	}
	settle := func() {
		t.Helper()
		// A configuration that is replaced is closed beside.
		for deadline := time.Now().Add(20 * time.Second); open.Load() != files*chainsPerFile; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d instances are open, want %d", open.Load(), files*chainsPerFile)
			}
		}
	}
	// What grows once, such as pools and maps, has grown after these.
	const before = 50
	for i := range before {
		reload(i)
	}
	settle()
	start := objects()
	for i := range reloads {
		reload(before + i)
	}
	settle()
	if end := objects(); end > start+uint64(reloads)/2 {
		t.Errorf("%d reloads left %d objects behind", reloads, end-start)
	}
	all := uint64(before + reloads)
	work := w.Work()
	if n := uint64(made.Load() - firstMade); n != all {
		t.Errorf("%d reloads of one parameter made %d instances", all, n)
	}
	if n := work.ChainsCompiled - first.ChainsCompiled; n != all {
		t.Errorf("%d reloads of one chain compiled %d", all, n)
	}
	if n := r.counts.FilesParsed.Load(); n != files+all {
		t.Errorf("%d files were parsed, want %d", n, files+all)
	}
}
