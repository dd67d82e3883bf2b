package lifecycle_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"policyengine.dev/envoy_test/engines"
	"policyengine.dev/envoy_test/harness"
	"policyengine.dev/envoy_test/harness/harnesstest"
	"policyengine.dev/runtime/commandline"
	"policyengine.dev/tools/controlplane"
	"policyengine.dev/tools/pectl/planecmd"
)

// changing are chains and routes in which the chain has the change's name, so that a part
// of a change has no chain for its route. Requests and responses carry that name.
func changing(change int, valid bool) []byte {
	name, version := fmt.Sprintf("v%d", change), "v1.0.0"
	if !valid {
		version = "v9.9.9"
	}
	b, err := json.Marshal(map[string]any{
		"routes": []any{map[string]any{"name": "app", "chain": name}},
		"chains": []any{map[string]any{"name": name, "policies": []any{map[string]any{"name": "set-header", "version": version, "params": map[string]any{
			"request":  map[string]any{"set": []any{map[string]any{"name": "x-asked", "value": name}}},
			"response": map[string]any{"set": []any{map[string]any{"name": "x-answered", "value": name}}},
		}}}}},
	})
	if err != nil {
		panic(err)
	}
	return b
}

// openLoad sends requests at a fixed rate, whether or not the earlier ones were answered.
type openLoad struct {
	stop func()

	mu      sync.Mutex
	sent    int
	latest  string
	wrong   []answer
	refused map[string]bool // names that no answer may have
}

const every = 5 * time.Millisecond

func (s *site) openLoad() *openLoad {
	l := &openLoad{refused: map[string]bool{}}
	ctx, cancel := context.WithCancel(context.Background()) // ended by stop
	transport := &http.Transport{MaxIdleConnsPerHost: 200}
	client := &http.Client{Transport: transport}
	var all sync.WaitGroup
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			all.Go(func() {
				// A request that was sent is waited for.
				a := get(context.WithoutCancel(ctx), client, s.envoy, "/app")
				l.mu.Lock()
				defer l.mu.Unlock()
				l.sent++
				if l.latest = a.answered; a.signed() != nil || l.refused[a.answered] {
					l.wrong = append(l.wrong, a)
				}
			})
		}
	}()
	l.stop = sync.OnceFunc(func() { cancel(); <-ended; all.Wait(); transport.CloseIdleConnections() })
	s.t.Cleanup(l.stop)
	return l
}

// sees waits for an answer of a change.
func (l *openLoad) sees(t *testing.T, name string) {
	t.Helper()
	harnesstest.Eventually(t, func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.latest != name {
			return fmt.Errorf("the newest answer is of %s, want %s", l.latest, name)
		}
		return nil
	})
}

// end stops the load and fails the test if a request failed, had a wrong answer, or was
// decided by two configurations.
func (l *openLoad) end(t *testing.T) {
	t.Helper()
	l.stop()
	t.Logf("%d requests", l.sent)
	if len(l.wrong) > 0 {
		t.Errorf("%d of %d requests were not as they have to be, the first: %+v", len(l.wrong), l.sent, l.wrong[0])
	}
}

// plane is a control plane on a Unix socket.
type plane struct {
	t      *testing.T
	dir    string
	socket string
	served *controlplane.Plane
	stop   func()
}

func (s *site) plane(first []byte) *plane {
	p := &plane{t: s.t, dir: filepath.Join(s.dir, "served"), socket: filepath.Join(s.dir, "plane.sock")}
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		s.t.Fatal(err)
	}
	p.write(first)
	p.start()
	s.t.Cleanup(func() { p.stop() })
	return p
}

func (p *plane) write(content []byte) {
	p.t.Helper()
	put(p.t, filepath.Join(p.dir, "chains.yaml"), content)
}

// put writes a file that appears as a whole.
func put(t *testing.T, path string, content []byte) {
	t.Helper()
	next := filepath.Join(filepath.Dir(path), ".next")
	if err := os.WriteFile(next, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
}

func (p *plane) start() {
	p.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	served, err := controlplane.New(ctx, controlplane.Options{Dir: p.dir, Poll: 5 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		cancel()
		p.t.Fatal(err)
	}
	p.served = served
	os.Remove(p.socket)
	l, err := net.Listen("unix", p.socket)
	if err != nil {
		cancel()
		p.t.Fatal(err)
	}
	server := grpc.NewServer()
	served.Register(server)
	var all sync.WaitGroup
	all.Go(func() { _ = server.Serve(l) })
	all.Go(func() { served.Watch(ctx) })
	p.stop = sync.OnceFunc(func() { cancel(); server.Stop(); all.Wait() })
}

// following starts an engine that takes chains and routes from the source, in which null
// takes the harness's file out.
func (s *site) following(name string, binary func() (string, error), source map[string]any) *harness.Engine {
	s.t.Helper()
	dir := filepath.Join(s.dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		s.t.Fatal(err)
	}
	path := engines.Binary(s.t, binary) // which may take longer than an engine's start
	e, err := harness.StartEngine(harnesstest.Context(s.t), harness.EngineOptions{
		Path: path, Dir: dir, Chains: changing(0, true),
		Config: map[string]any{"source": source, "drain": map[string]any{"delay": "5s"}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		e.Stop()
		if s.t.Failed() {
			s.t.Logf("the log of the engine %s:\n%s", name, e.Log())
		}
	})
	return e
}

func (p *plane) source(more map[string]any) map[string]any {
	xds := map[string]any{"servers": []any{map[string]any{"address": "unix:" + p.socket}}}
	for k, v := range more {
		xds[k] = v
	}
	return map[string]any{"path": nil, "xds": xds}
}

// changes is how many changes a test makes, of which every tenth is invalid.
const changes = 200

// TestNoChangeCostsARequest changes chains and routes 200 times under open-loop load, from
// files and from a control plane in both variants. No request fails, gets an answer of an
// invalid change, or is decided by two configurations.
func TestNoChangeCostsARequest(t *testing.T) {
	for _, from := range []string{"files", "incremental", "state_of_the_world"} {
		t.Run(from, func(t *testing.T) {
			s := newSite(t)
			source, write := map[string]any{"path": "chains.yaml"}, func([]byte) {}
			if from != "files" {
				p := s.plane(changing(0, true))
				source, write = p.source(map[string]any{"variant": from}), p.write
			}
			e := s.following("engine", engines.Cases, source)
			if from == "files" {
				write = func(content []byte) { put(t, e.ChainsFile(), content) }
			}
			s.front(e.Address(), nil)
			takes(t, s.envoy, e)
			l := s.openLoad()
			l.sees(t, "v0")
			refusals := 0.0
			for i := 1; i <= changes; i++ {
				if i%10 != 0 {
					write(changing(i, true))
					l.sees(t, fmt.Sprint("v", i))
					continue
				}
				l.mu.Lock()
				l.refused[fmt.Sprint("v", i)] = true
				l.mu.Unlock()
				write(changing(i, false))
				refusals++
				harnesstest.Eventually(t, func() error {
					n, err := metric(t.Context(), e, "config_rejections_total")
					if err == nil && n < refusals {
						err = fmt.Errorf("%v refusals, want %v", n, refusals)
					}
					return err
				})
			}
			l.end(t)
		})
	}
}

// TestALostControlPlaneCostsNoRequest kills the control plane under open-loop load, lets it
// be gone for a while, and brings it back with other content.
func TestALostControlPlaneCostsNoRequest(t *testing.T) {
	s := newSite(t)
	p := s.plane(changing(0, true))
	e := s.following("engine", engines.Cases, p.source(nil))
	s.front(e.Address(), nil)
	takes(t, s.envoy, e)
	l := s.openLoad()
	l.sees(t, "v0")
	for i := range 3 {
		p.stop()
		harnesstest.Eventually(t, func() error {
			n, err := metric(t.Context(), e, "control_plane_connected")
			if err == nil && n != 0 {
				err = fmt.Errorf("the engine has not seen that the control plane is gone")
			}
			return err
		})
		p.write(changing(i+1, true))
		for range 50 { // gone for a while
			time.Sleep(every)
		}
		l.sees(t, fmt.Sprint("v", i))
		p.start()
		l.sees(t, fmt.Sprint("v", i+1))
	}
	l.end(t)
}

// socketOf is the path of an engine's socket, whether or not the engine runs.
func (s *site) socketOf(name string) string { return filepath.Join(s.dir, name, "engine.sock") }

// TestAnotherBundleTakesOver replaces an engine by one of another bundle under open-loop
// load. Both take chains and routes from one control plane, and no request fails.
func TestAnotherBundleTakesOver(t *testing.T) {
	s := newSite(t)
	p := s.plane(changing(0, true))
	old := s.following("a", engines.Cases, p.source(nil))
	s.front(old.Address(), fleet(s.socketOf("a"), s.socketOf("b")))
	takes(t, s.envoy, old)
	l := s.openLoad()
	l.sees(t, "v0")
	next := s.following("b", engines.Payments, p.source(nil))
	takes(t, s.envoy, old, next)
	old.Terminate()
	takes(t, s.envoy, next)
	ended(t, old, 0)
	p.write(changing(1, true))
	l.sees(t, "v1")
	l.end(t)
}

// TestAKilledEngineFailsNoRequestForLong kills one of two engines under open-loop load. What
// fails is Envoy's own refusal, and ends when Envoy has seen that the engine is gone.
func TestAKilledEngineFailsNoRequestForLong(t *testing.T) {
	s := newSite(t)
	p := s.plane(changing(0, true))
	first, second := s.following("a", engines.Cases, p.source(nil)), s.following("b", engines.Cases, p.source(nil))
	s.front(first.Address(), generated(t, first, second))
	takes(t, s.envoy, first, second)
	l := s.openLoad()
	l.sees(t, "v0")
	first.Kill()
	takes(t, s.envoy, second)
	p.write(changing(1, true))
	l.sees(t, "v1")
	l.mu.Lock()
	failed := l.wrong
	l.wrong = nil
	l.mu.Unlock()
	t.Logf("%d requests have failed", len(failed))
	for _, a := range failed {
		if a.err != nil || a.status != http.StatusInternalServerError || a.asked != "" || a.answered != "" {
			t.Errorf("got %+v, want Envoy's own refusal", a)
		}
	}
	p.write(changing(2, true))
	l.sees(t, "v2")
	l.end(t)
}

// TestTheOperatorsPageMovesToAControlPlane follows the page from a file to a control plane
// with two engines, and back, under open-loop load. No request fails.
func TestTheOperatorsPageMovesToAControlPlane(t *testing.T) {
	s := newSite(t)
	p := s.plane(changing(0, true))
	files := map[string]any{"path": "chains.yaml"}
	first, second := s.following("a", engines.Cases, files), s.following("b", engines.Cases, files)
	s.front(first.Address(), fleet(s.socketOf("a"), s.socketOf("b")))
	takes(t, s.envoy, first, second)
	l := s.openLoad()
	l.sees(t, "v0")
	onPlane := decoded(t, onPage(t, "# engine.yaml, with a control plane", "/run/control-plane.sock", p.socket, "/var/lib/policy-engine", s.dir))
	move := func(e, other *harness.Engine, dir string, source any) {
		t.Helper()
		file := filepath.Join(s.dir, dir, "engine.yaml")
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var static map[string]any
		if err := json.Unmarshal(b, &static); err != nil {
			t.Fatal(err)
		}
		static["source"] = source
		if b, err = json.Marshal(static); err != nil {
			t.Fatal(err)
		}
		put(t, file, b)
		e.Terminate()
		takes(t, s.envoy, other)
		ended(t, e, 0)
		if err := e.Start(harnesstest.Context(t), changing(0, true)); err != nil {
			t.Fatal(err)
		}
		takes(t, s.envoy, first, second)
	}
	move(first, second, "a", onPlane["source"])
	move(second, first, "b", onPlane["source"])
	var out bytes.Buffer
	pages := httptest.NewServer(p.served.Handler())
	defer pages.Close()
	code := commandline.Main(t.Context(), planecmd.Command(), []string{"status", "--pages", pages.Listener.Addr().String()}, commandline.IO{Out: &out, Err: &out})
	if code != 0 || strings.Count(out.String(), "acknowledged") != 2 {
		t.Errorf("the status is %d %s", code, &out)
	}
	p.write(changing(1, true))
	l.sees(t, "v1")
	p.write(changing(0, true))
	l.sees(t, "v0")
	move(first, second, "a", files)
	move(second, first, "b", files)
	p.stop()
	l.sees(t, "v0")
	l.end(t)
}
