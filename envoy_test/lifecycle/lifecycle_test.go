// Package lifecycle_test shows, behind the real Envoy, what the engine's server does
// while engines come, go and change: drains and rolling updates, the age of
// connections, certificates, and who may connect. Each test says what a request sees
// of it; nothing of it may let one pass that no chain has looked at.
package lifecycle_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"policyengine.dev/envoy_test/engines"
	"policyengine.dev/envoy_test/harness"
	"policyengine.dev/envoy_test/harness/harnesstest"
	"policyengine.dev/tools/envoy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// answerTimeout is Envoy's message_timeout here: how long a policy may be held.
const answerTimeout = 60 * time.Second

// site is a machine with an upstream, engines and an Envoy in front.
type site struct {
	t        *testing.T
	dir      string
	upstream *upstream
	envoy    *harness.Envoy
	// edit changes Envoy's configuration before it starts; it may be nil.
	edit func(*harness.Bootstrap)
}

// newSite makes a site without engines and Envoy, or skips the test where there is
// no Envoy.
func newSite(t *testing.T) *site {
	t.Helper()
	envoy.Binary(t) // or the test is skipped, before an engine is built
	return &site{t: t, dir: harnesstest.Dir(t), upstream: newUpstream(t)}
}

// gate is the file that policies wait for on the routes "held" and "stuck".
func (s *site) gate() string { return filepath.Join(s.dir, "gate") }

// open lets every request go on that is held.
func (s *site) open() {
	s.t.Helper()
	if err := os.WriteFile(s.gate(), nil, 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.upstream.open()
}

// chains are those of the engine called name. Each request and response on "app",
// "held" and "slow" carries the name of the engine that has seen it.
func (s *site) chains(name string) []byte {
	signed := map[string]any{"name": "set-header", "version": "v1.0.0", "params": map[string]any{
		"request":  map[string]any{"set": []any{map[string]any{"name": "x-asked", "value": name}}},
		"response": map[string]any{"set": []any{map[string]any{"name": "x-answered", "value": name}}},
	}}
	probe := func(fail map[string]any) map[string]any {
		return map[string]any{"name": "probe", "version": "v1.0.0", "timeout": "50s",
			"params": map[string]any{"requestHeaders": map[string]any{"fail": fail}}}
	}
	chain := func(name string, policies ...any) any { return map[string]any{"name": name, "policies": policies} }
	var routes []any
	for _, r := range []string{"app", "slow", "held", "stuck"} {
		routes = append(routes, map[string]any{"name": r, "chain": r})
	}
	text, err := json.Marshal(map[string]any{"routes": routes, "chains": []any{
		chain("app", signed), chain("slow", signed),
		chain("held", probe(map[string]any{"until": s.gate()}), signed),
		chain("stuck", probe(map[string]any{"block": "1h"})),
	}})
	if err != nil {
		s.t.Fatal(err)
	}
	return text
}

// engine starts an engine in its own directory, with config merged into its
// engine.yaml.
func (s *site) engine(name string, config map[string]any) *harness.Engine {
	s.t.Helper()
	dir := filepath.Join(s.dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		s.t.Fatal(err)
	}
	all := map[string]any{"filter": map[string]any{"messageTimeout": answerTimeout.String(), "allowModeOverride": true}}
	for k, v := range config {
		all[k] = v
	}
	e, err := harness.StartEngine(harnesstest.Context(s.t), harness.EngineOptions{
		Path: engines.Binary(s.t, engines.Cases), Dir: dir, Config: all, Chains: s.chains(name),
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

// front starts the Envoy. cluster is merged into the engines' cluster.
func (s *site) front(engine string, cluster map[string]any) {
	s.t.Helper()
	s.envoy = s.startEnvoy("envoy", engine, cluster)
}

func (s *site) startEnvoy(name, engine string, cluster map[string]any) *harness.Envoy {
	s.t.Helper()
	dir := filepath.Join(s.dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		s.t.Fatal(err)
	}
	var routes []any
	for _, r := range []string{"app", "slow", "held", "stuck"} {
		routes = append(routes, harness.Route(r, "/"+r))
	}
	bootstrap := harness.Bootstrap{
		Upstream: s.upstream.server.Listener.Addr().String(), Engine: engine, Routes: routes, Cluster: cluster,
		ExtProc: map[string]any{"message_timeout": fmt.Sprintf("%ds", int(answerTimeout.Seconds()))},
	}
	if s.edit != nil {
		s.edit(&bootstrap)
	}
	config, err := bootstrap.JSON()
	if err != nil {
		s.t.Fatal(err)
	}
	e, err := harness.StartEnvoy(harnesstest.Context(s.t), harness.EnvoyOptions{Path: envoy.Binary(s.t), Dir: dir, Config: config})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		e.Stop()
		if s.t.Failed() {
			s.t.Logf("the log of %s:\n%s", name, e.Log())
		}
	})
	return e
}

// answer is what a client got.
type answer struct {
	status          int
	asked, answered string
	err             error
}

// signed says that the request and the response have both passed the chain of the
// same engine, and the request reached the upstream.
func (a answer) signed() error {
	if a.err != nil || a.status != http.StatusOK || a.asked == "" || a.asked != a.answered {
		return fmt.Errorf("got %+v", a)
	}
	return nil
}

// get asks Envoy.
func get(ctx context.Context, client *http.Client, e *harness.Envoy, path string) answer {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+e.Listener(harness.MainListener)+path, nil)
	if err != nil {
		return answer{err: err}
	}
	response, err := client.Do(request)
	if err != nil {
		return answer{err: err}
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return answer{response.StatusCode, response.Header.Get("x-saw"), response.Header.Get("x-answered"), err}
}

// get asks the site's Envoy on its own connection.
func (s *site) get(path string) answer {
	s.t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	return get(harnesstest.Context(s.t), &http.Client{Transport: transport}, s.envoy, path)
}

// begin asks without waiting for the answer.
func (s *site) begin(path string) <-chan answer {
	answers := make(chan answer, 1)
	ctx := harnesstest.Context(s.t)
	go func() {
		transport := &http.Transport{DisableKeepAlives: true}
		defer transport.CloseIdleConnections()
		answers <- get(ctx, &http.Client{Transport: transport}, s.envoy, path)
	}()
	return answers
}

// refused says that Envoy has refused by itself, and nothing has reached the upstream.
func (s *site) refused(a answer) error {
	if a.err != nil || a.status < 500 || a.status > 599 || a.asked != "" || a.answered != "" {
		return fmt.Errorf("got %+v, want Envoy's own refusal", a)
	}
	if n := s.upstream.count(); n != 0 {
		return fmt.Errorf("%d requests have reached the upstream unchecked", n)
	}
	return nil
}

// metric is the value of one of the engine's metrics without labels.
func metric(ctx context.Context, e *harness.Engine, name string) (float64, error) {
	page, err := e.Admin(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(page)) {
		if value, found := strings.CutPrefix(line, "policy_engine_"+name+" "); found {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, fmt.Errorf("no metric %s", name)
}

// inFlight waits until the engine has so many streams open.
func inFlight(t *testing.T, e *harness.Engine, want float64) {
	t.Helper()
	harnesstest.Eventually(t, func() error {
		got, err := metric(t.Context(), e, "streams_open")
		if err == nil && got != want {
			err = fmt.Errorf("%v streams are open, want %v", got, want)
		}
		return err
	})
}

// wait waits for one thing, within the patience of the tests.
func wait[T any](t *testing.T, what string, from <-chan T) (got T) {
	t.Helper()
	select {
	case got = <-from:
	case <-harnesstest.Context(t).Done():
		t.Fatalf("waited in vain for %s", what)
	}
	return got
}

// logs waits until the engine has logged the texts, after so many bytes of its log: it
// may do so after its client has seen what it has done.
func logs(t *testing.T, e *harness.Engine, from int, texts ...string) {
	t.Helper()
	harnesstest.Eventually(t, func() error {
		for _, text := range texts {
			if !strings.Contains(e.Log()[from:], text) {
				return fmt.Errorf("the engine's log does not say %q", text)
			}
		}
		return nil
	})
}

// ended waits for the end of the engine's process and compares its exit code.
func ended(t *testing.T, e *harness.Engine, code int) {
	t.Helper()
	wait(t, "the engine to end", e.Ended())
	if got := e.ExitCode(); got != code {
		t.Errorf("the engine has ended with %d, want %d", got, code)
	}
}

// upstream answers at once, but for paths that begin with /slow: they wait for open.
// It says in x-saw which engine had seen the request.
type upstream struct {
	server *httptest.Server
	held   chan struct{}
	once   sync.Once

	mu      sync.Mutex
	reached map[string]int
	unasked int
}

func newUpstream(t *testing.T) *upstream {
	u := &upstream{held: make(chan struct{}), reached: map[string]int{}}
	u.server = httptest.NewUnstartedServer(u)
	u.server.Config.Protocols = new(http.Protocols)
	u.server.Config.Protocols.SetHTTP1(true)
	u.server.Config.Protocols.SetUnencryptedHTTP2(true)
	// Envoy sends streams before it knows a lower limit, and those would be refused.
	u.server.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 100_000}
	u.server.Start()
	t.Cleanup(func() { u.open(); u.server.Close() })
	return u
}

// ServeHTTP implements http.Handler.
func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	u.reached[r.URL.Path]++
	if r.Header.Get("x-asked") == "" {
		u.unasked++
	}
	u.mu.Unlock()
	if strings.HasPrefix(r.URL.Path, "/slow") {
		select {
		case <-u.held:
		case <-r.Context().Done():
		}
	}
	w.Header().Set("x-saw", r.Header.Get("x-asked"))
}

func (u *upstream) open() { u.once.Do(func() { close(u.held) }) }

// count is how many requests have arrived, for all paths or for those that are named.
func (u *upstream) count(paths ...string) (n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for path, m := range u.reached {
		if len(paths) == 0 || path == paths[0] {
			n += m
		}
	}
	return n
}

// unchecked is how many requests have arrived that no chain has signed.
func (u *upstream) unchecked() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.unasked
}

// arrived waits until a request for path has arrived.
func (u *upstream) arrived(t *testing.T, path string) {
	t.Helper()
	harnesstest.Eventually(t, func() error {
		if u.count(path) == 0 {
			return errors.New("no request arrived at " + path)
		}
		return nil
	})
}
