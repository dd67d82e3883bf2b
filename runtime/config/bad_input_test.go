package config_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"policyengine.dev/runtime/config"
	"policyengine.dev/runtime/host"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/strictyaml"
)

// keyed is a policy that reads a secret when it starts.
type keyed struct{ key policy.SecretSource }

type keyedParams struct {
	Key policy.Secret `json:"key"`
}

func newKeyed(p keyedParams, h policy.Host) (*keyed, error) {
	return &keyed{h.Secrets.Open(p.Key)}, nil
}

func (k *keyed) Start(context.Context) error {
	_, err := k.key.Value()
	return err
}

func (*keyed) OnRequestHeaders(context.Context, *policy.RequestContext) (policy.RequestAction, error) {
	return nil, nil
}

const keyedDefinition = `{"apiVersion":"policyengine/v1","name":"keyed","version":"v1.0.0","description":"Reads a secret.","phases":["request_headers"],
"parameters":{"type":"object","additionalProperties":false,"required":["key"],"properties":{"key":{"x-secret":true}}}}`

// fleet is a source over a directory and a worker that takes what it brings, as in an engine.
type fleet struct {
	t      *testing.T
	worker *worker.Worker
	path   string
	told   chan error
}

func runFleet(t *testing.T, s config.FileSource) *fleet {
	t.Helper()
	registry, err := worker.NewRegistry(worker.Entry{Definition: keyedDefinition, Factory: policy.Define(newKeyed)})
	if err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.DiscardHandler)
	w := worker.New(registry, worker.Options{Host: policy.Host{Logger: logger, Clock: host.Clock{}, Secrets: host.NewSecrets(host.Clock{})}})
	f := &fleet{t: t, worker: w, path: s.Path, told: make(chan error, 1000)}
	s.Quiet, s.Poll = 10*time.Millisecond, time.Hour
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- s.Run(ctx, func(ctx context.Context, u config.Update) error {
			err := f.apply(ctx, u)
			f.told <- err
			return err
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := w.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return f
}

func (f *fleet) apply(ctx context.Context, u config.Update) error {
	var err error
	if u.Err != nil {
		_, err = f.worker.Check(u.Spec)
	} else {
		_, err = f.worker.Update(ctx, u.Spec)
	}
	var problems worker.Problems
	errors.As(err, &problems)
	return u.Problems(problems)
}

// next is what became of the next change.
func (f *fleet) next() error {
	f.t.Helper()
	select {
	case err := <-f.told:
		return err
	case <-time.After(30 * time.Second):
		f.t.Fatal("the source brings nothing")
		return nil
	}
}

// serves reports the chain of the route, in the configuration that is in force.
func (f *fleet) serves(route string) string {
	f.t.Helper()
	s := f.worker.Acquire()
	if s == nil {
		f.t.Fatal("nothing is in force")
	}
	defer s.Release()
	c, ok := s.Chain(route)
	if !ok {
		return ""
	}
	return c.Name()
}

const good = "chains: [{name: good, policies: []}]\nroutes: [{name: r, chain: good}]\n"

// step is a file with a chain of one step, which has these fields besides its name.
func step(fields string) string {
	return "chains:\n- name: c\n  policies:\n  - {name: keyed, " + fields + "}\nroutes: [{name: r, chain: c}]\n"
}

func routesOf(names ...string) string {
	var b strings.Builder
	b.WriteString("chains: [{name: c, policies: []}]\nroutes:\n")
	for _, name := range names {
		fmt.Fprintf(&b, "- {name: %q, chain: c}\n", name)
	}
	return b.String()
}

// bomb has aliases of aliases, which stand for 10^30 values.
func bomb() string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 30; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s*a%d]\n", i, i, strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 9), i-1)
	}
	return b.String()
}

// TestBadInput proves of each kind of bad input that a running source brings a clear error
// of bounded length, with the place where there is one, that the last good configuration
// stays in force, and that the next good one is taken.
func TestBadInput(t *testing.T) {
	var patterns []string
	for i := range worker.MaxPatterns + 1 {
		patterns = append(patterns, fmt.Sprintf("team-%d/*", i))
	}
	var crossing []string
	for i := range 1000 {
		crossing = append(crossing, fmt.Sprintf("a/x%d/*", i), fmt.Sprintf("*/*/y%d", i))
	}
	for _, tt := range []struct {
		name, content string
		size          int64 // of a file without content
		want          []string
	}{
		{"an empty file", "", 0, []string{"chains.yaml:1:1: the file is empty"}},
		{"white space", "\n  \n# nothing\n", 0, []string{"chains.yaml:1:1: the file is empty"}},
		{"100 MB", "", 100 << 20, []string{"chains.yaml is larger than 8388608 bytes"}},
		{"bytes that are no text", "chains: [\x00\xff]\n", 0, []string{"chains.yaml:1:"}},
		{"no YAML", "chains: [\n", 0, []string{"chains.yaml:"}},
		{"several documents", good + "---\n" + good, 0, []string{"chains.yaml:3:"}},
		{"brackets, nested deeply", "chains: " + strings.Repeat("[", 100_000) + "\n", 0, []string{"chains.yaml:1:"}},
		{"lists, nested deeply", "chains:\n" + strings.Repeat("- ", 5000) + "x\n", 0, []string{"nested too deeply"}},
		{"parameters, nested deeply", step("version: v1, params: {key: " + strings.Repeat("{a: ", 90) + "1" + strings.Repeat("}", 90) + "}"), 0, []string{"chains.yaml:4:", "chains[0].policies[0].params"}},
		{"anchors that stand for very much", bomb(), 0, []string{"the file holds too much, counting aliases as what they stand for"}},
		{"an anchor that stands for itself", "chains: &a [*a]\nroutes: []\n", 0, []string{"chains.yaml:1:"}},
		{"a field twice", "chains: []\nroutes: []\nchains: []\n", 0, []string{"chains.yaml:3:1: chains: given twice, first in line 1"}},
		{"a chain twice", "chains: [{name: c, policies: []}, {name: c, policies: []}]\nroutes: []\n", 0, []string{"chains.yaml:1:42: chains[1].name: a second chain of this name"}},
		{"a route twice", routesOf("r", "r"), 0, []string{"chains.yaml:4:10: routes[1].name: a second route of this name"}},
		{"unknown fields, all at once", "chain: []\nroutes: []\n" + "chains: [{name: c, polices: []}]\n", 0, []string{"chains.yaml:1:1: chain: unknown field; did you mean \"chains\"?", "chains.yaml:3:20: chains[0].polices: unknown field; did you mean \"policies\"?"}},
		{"wrong types, all at once", "chains: [{name: [c], policies: 7}]\nroutes: {}\nonUnknownRoute: true\n", 0, []string{"chains.yaml:1:17: chains[0].name: ", "chains.yaml:1:32: chains[0].policies: ", "chains.yaml:2:9: routes: ", "chains.yaml:3:17: onUnknownRoute: "}},
		{"an unknown policy", strings.ReplaceAll(step("version: v1"), "keyed", "kayed"), 0, []string{"chains.yaml:4:12: chains[0].policies[0].name: no policy is called \"kayed\"; did you mean \"keyed\"?"}},
		{"an unknown version", step("version: v2, params: {key: x}"), 0, []string{"chains.yaml:4:28: chains[0].policies[0].version: keyed has no version v2; compiled in are v1.0.0"}},
		{"no version at all", step("version: latest, params: {key: x}"), 0, []string{"\"latest\" is not a version; write one like v1.0.0"}},
		{"an unknown parameter", step("version: v1, params: {key: x, kay: a-secret-by-mistake}"), 0, []string{"chains.yaml:4:", "params.kay: "}},
		{"a condition that does not compile", step("version: v1, params: {key: x}, when: 'request.method = \"GET\"'"), 0, []string{"chains.yaml:4:", "chains[0].policies[0].when: "}},
		{"a condition of another type", step("version: v1, params: {key: x}, when: '1 + 1'"), 0, []string{"chains.yaml:4:", "chains[0].policies[0].when: "}},
		{"a condition that is too long", step("version: v1, params: {key: x}, when: '" + strings.Repeat("true && ", 1000) + "true'"), 0, []string{"chains.yaml:4:", "chains[0].policies[0].when: "}},
		{"a secret that does not exist", step("version: v1, required: true, params: {key: {file: /there/is/no/secret}}"), 0, []string{"chains.yaml:4:", "chains[0].policies[0]: keyed@v1.0.0 is required and has not started", "/there/is/no/secret"}},
		{"a variable that does not exist", step("version: v1, required: true, params: {key: {env: CONFIG_TEST_NONE}}"), 0, []string{"chains.yaml:4:", "has not started", "CONFIG_TEST_NONE"}},
		{"a pattern with an empty segment", routesOf("a//*"), 0, []string{"chains.yaml:3:10: routes[0].name: a pattern with an empty segment; write something between the slashes"}},
		{"a pattern of thousands of wildcards", routesOf(strings.Repeat("*/", 5000) + "*"), 0, []string{"chains.yaml:3:10: routes[0].name: a pattern of 5001 segments; at most 32"}},
		{"too many patterns", routesOf(patterns...), 0, []string{"10001 patterns", "10000"}},
		{"very many patterns that cannot be ordered", routesOf(crossing...), 0, []string{"chains.yaml:4:10: routes[1].name: the patterns \"*/*/y0\" and \"a/x0/*\" (routes[0]) both fit some names, and neither is more specific"}},
		{"a chain that is not there", strings.Replace(good, "chain: good", "chain: goods", 1), 0, []string{"chains.yaml:2:27: routes[0].chain: no chain is called \"goods\"; did you mean \"good\"?"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "chains.yaml")
			write(t, path, good)
			f := runFleet(t, config.FileSource{Path: path})
			if err := f.next(); err != nil {
				t.Fatal(err)
			}
			write(t, path+".new", tt.content)
			if tt.size > 0 {
				if err := os.Truncate(path+".new", tt.size); err != nil {
					t.Fatal(err)
				}
			}
			rename(t, path+".new", path)
			err := f.next()
			if err == nil {
				t.Fatal("it is in force")
			}
			text := err.Error()
			for _, want := range tt.want {
				if !strings.Contains(text, want) {
					t.Errorf("the error does not say %q", want)
				}
			}
			var found strictyaml.Diagnostics
			if errors.As(err, &found) && len(found) > 1001 || len(text) > 64<<10 {
				t.Errorf("%d problems in %d bytes", len(found), len(text))
			}
			if strings.Contains(text, "by-mistake") {
				t.Error("the error quotes a parameter")
			}
			if t.Failed() {
				t.Logf("%.2000s", text)
			}
			if got := f.serves("r"); got != "good" {
				t.Errorf("the route is served by %q", got)
			}
			replace(t, path, strings.ReplaceAll(good, "good", "better"))
			if err := f.next(); err != nil || f.serves("r") != "better" {
				t.Errorf("the next configuration: %v; the route is served by %q", err, f.serves("r"))
			}
		})
	}
}

// TestASecretThatExists proves that the cases of secrets in TestBadInput fail for what they say.
func TestASecretThatExists(t *testing.T) {
	t.Setenv("CONFIG_TEST_KEY", "a key that is there")
	path := filepath.Join(t.TempDir(), "chains.yaml")
	write(t, path, step("version: v1, required: true, params: {key: {env: CONFIG_TEST_KEY}}"))
	if err := runFleet(t, config.FileSource{Path: path}).next(); err != nil {
		t.Error(err)
	}
}

// TestADirectoryThatChangesWhileItIsRead proves that files which are replaced between two
// reads of one configuration are never combined: the source reads them again, says so if
// they do not settle, and takes them once they have.
func TestADirectoryThatChangesWhileItIsRead(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "chains.yaml"), "chains: [{name: c0, policies: []}]\n")
	write(t, filepath.Join(dir, "routes.yaml"), "routes: [{name: r, chain: c0}]\n")
	var changes atomic.Int64 // how often the files change before they are read
	version := 0
	change := func() {
		version++
		for _, file := range []string{"chains", "routes"} {
			text := fmt.Sprintf("chains: [{name: c%d, policies: []}]\n", version)
			if file == "routes" {
				text = fmt.Sprintf("routes: [{name: r, chain: c%d}]\n", version)
			}
			// A name that begins with a dot is no file of the configuration.
			if os.WriteFile(filepath.Join(dir, ".new"), []byte(text), 0o600) != nil || os.Rename(filepath.Join(dir, ".new"), filepath.Join(dir, file+".yaml")) != nil {
				t.Error("a file cannot be replaced")
			}
		}
	}
	// The source asks for the time just before it reads a file.
	f := runFleet(t, config.FileSource{Path: dir, Now: func() time.Time {
		if changes.Add(-1) >= 0 {
			change()
		}
		return time.Now()
	}})
	if err := f.next(); err != nil {
		t.Fatal(err)
	}
	touch := func() { write(t, filepath.Join(dir, "more.yaml"), fmt.Sprintf("# %d\nroutes: []\n", changes.Load())) }
	for _, tt := range []struct {
		changes int64
		fails   bool
	}{{1, false}, {3, false}, {1000, true}} {
		changes.Store(tt.changes)
		touch()
		failed := false
		for {
			err := f.next()
			if err != nil {
				failed = true
				if !strings.Contains(err.Error(), "keeps changing while it is read") {
					t.Fatalf("files of two configurations were combined: %v", err)
				}
				changes.Store(0) // let them settle
				continue
			}
			break
		}
		if failed != tt.fails {
			t.Errorf("%d changes: failed %t", tt.changes, failed)
		}
	}
	if got, want := f.serves("r"), fmt.Sprintf("c%d", version); got != want {
		t.Errorf("the route is served by %s, want %s", got, want)
	}
}
