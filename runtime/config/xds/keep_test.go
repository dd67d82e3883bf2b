package xds_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"policyengine.dev/runtime/config"
	"policyengine.dev/runtime/config/xds"
)

// kept has a source store what a control plane serves, and returns the file.
func kept(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kept")
	c := serving("1", 1)
	f := follow(t, func(o *xds.Options) { o.Keep = file }, newPlane(t, c.serve))
	f.untilInForce("a(1) r->a")
	f.until("it is stored", func() bool { _, err := os.Stat(file); return err == nil })
	f.stop()
	return file
}

// nobody is a control plane that is not there.
func nobody(t *testing.T) *plane {
	return &plane{address: config.Address{Network: "unix", Address: filepath.Join(t.TempDir(), "none")}}
}

// TestKept proves that an engine starts from the stored configuration while no control plane
// answers, says so, and follows the control plane once it does.
func TestKept(t *testing.T) {
	file := kept(t)
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", info.Mode(), err)
	}
	c := serving("1", 2)
	p := newPlane(t, c.serve)
	p.server.Stop()
	f := follow(t, func(o *xds.Options) { o.Keep = file }, p)
	f.untilInForce("a(1) r->a")
	f.until("it says so", func() bool {
		k := f.source.Status().Kept
		return k != nil && k.Version != "" && time.Since(k.Saved) < time.Hour
	})
	p.start()
	f.untilInForce("a(2) r->a")
	f.until("it says so no more", func() bool { return f.source.Status().Kept == nil })
	f.until("nothing else is left", func() bool {
		left, err := filepath.Glob(filepath.Join(filepath.Dir(file), ".*"))
		return len(left) == 0 && err == nil
	})
}

// TestTheControlPlaneGoesFirst proves that a stored configuration is not used if a control
// plane answers.
func TestTheControlPlaneGoesFirst(t *testing.T) {
	file := kept(t)
	c := serving("1", 2)
	f := follow(t, func(o *xds.Options) { o.Keep = file }, newPlane(t, c.serve))
	f.untilInForce("a(2) r->a")
	if f.worker.Status().Updates != 1 {
		t.Error("another configuration was in force before")
	}
}

// TestKeptFilesThatAreNotUsed proves that a stored configuration that is not whole, not this
// node's, or too old is not used, and that the reason is told.
func TestKeptFilesThatAreNotUsed(t *testing.T) {
	file := kept(t)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitN(whole, []byte("\n"), 2)
	for _, c := range []struct {
		name, want string
		content    []byte
		mode       os.FileMode
		change     func(*xds.Options)
	}{
		{name: "it was cut", content: whole[:len(whole)-3], want: "it was cut or changed"},
		{name: "a byte has changed", content: append(append([]byte{}, whole[:len(whole)-1]...), whole[len(whole)-1]+1), want: "it was cut or changed"},
		{name: "it is of a newer version", content: append([]byte("policy-engine-kept 2 x\n"), lines[1]...), want: "it has format 2, and this engine reads format 1"},
		{name: "it is another file", content: []byte("chains: []\n"), want: "it is no kept configuration"},
		{name: "it is empty", content: []byte{}, want: "it is no kept configuration"},
		{name: "it is too old", content: whole, want: "old, and source.xds.keepMaxAge is", change: func(o *xds.Options) { o.KeepMaxAge = time.Nanosecond }},
		{name: "it is another cluster's", content: whole, want: `in cluster "pay", and this one is "engine" in "other"`, change: func(o *xds.Options) { o.Node = &corev3.Node{Id: "engine", Cluster: "other"} }},
		{name: "others can write to it", content: whole, mode: 0o666, want: "only its owner can write to"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "kept")
			if c.mode == 0 {
				c.mode = 0o600
			}
			if err := os.WriteFile(file, c.content, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(file, c.mode); err != nil {
				t.Fatal(err)
			}
			f := follow(t, func(o *xds.Options) {
				o.Keep = file
				if c.change != nil {
					c.change(o)
				}
			}, nobody(t))
			f.until("the reason is told", func() bool { return f.source.Status().KeepProblem != "" })
			if got := f.source.Status().KeepProblem; !strings.Contains(got, c.want) {
				t.Errorf("%q", got)
			}
			if got := inForce(f.worker); got != "nothing" {
				t.Errorf("in force is %s", got)
			}
		})
	}
}

// FuzzKept proves that no content of a stored file is used but what an engine has stored.
func FuzzKept(f *testing.F) {
	for i := range 3 {
		f.Add(fmt.Appendf(nil, "policy-engine-kept %d 00\n{}\n", i))
	}
	f.Add(xds.EncodeKept("a", "r"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if ok := xds.ReadKept(b); ok && !bytes.HasPrefix(b, []byte("policy-engine-kept 1 ")) {
			t.Errorf("%q is used", b)
		}
	})
}
