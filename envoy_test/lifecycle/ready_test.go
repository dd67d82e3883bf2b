package lifecycle_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"policyengine.dev/envoy_test/engines"
	"policyengine.dev/envoy_test/harness"
	"policyengine.dev/envoy_test/harness/harnesstest"
)

// starting starts an engine with chains that are not valid.
func (s *site) starting(name string, source map[string]any) (*harness.Engine, error) {
	s.t.Helper()
	dir := filepath.Join(s.dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		s.t.Fatal(err)
	}
	return harness.StartEngine(harnesstest.Context(s.t), harness.EngineOptions{
		Path: engines.Binary(s.t, engines.Cases), Dir: dir, Unready: true,
		Config: map[string]any{"source": source}, Chains: []byte("chains: 7\n"),
	})
}

// TestAnInvalidStartEndsTheEngine shows that an engine which is not told otherwise does
// not stay without valid chains: it says what is wrong with them and fails.
func TestAnInvalidStartEndsTheEngine(t *testing.T) {
	t.Parallel()
	e, err := newSite(t).starting("only", map[string]any{"path": "chains.yaml"})
	if err == nil {
		// It may have told its health before it had read the file.
		ended(t, e, 1)
		if !strings.Contains(e.Log(), "chains.yaml:1:9") {
			t.Error("the engine has not said what is wrong")
		}
		return
	}
	if !strings.Contains(err.Error(), "exit status 1") || !strings.Contains(err.Error(), "chains.yaml:1:9") {
		t.Error(err)
	}
}

// TestAnEngineThatIsNotReadyIsPassedOver shows an Envoy that checks health: while there
// is another engine no request goes to one that waits for valid chains, and where there
// is none the client is told to try again. Once the chains are valid the engine serves.
func TestAnEngineThatIsNotReadyIsPassedOver(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	waits, err := s.starting("waits", map[string]any{"path": "chains.yaml", "onInvalidStart": "wait"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(waits.Stop)
	path := func(e *harness.Engine) string { return strings.TrimPrefix(e.Address(), "unix:") }

	alone := s.startEnvoy("alone", waits.Address(), fleet(path(waits)))
	takes(t, alone)
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(harnesstest.Context(t), http.MethodGet, "http://"+alone.Listener(harness.MainListener)+"/app", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("retry-after") != "1" {
		t.Errorf("without another engine the answer is %d, retry-after %q", response.StatusCode, response.Header.Get("retry-after"))
	}
	if n := s.upstream.count(); n != 0 {
		t.Errorf("%d requests have reached the upstream unchecked", n)
	}

	serves := s.engine("serves", nil)
	s.front(serves.Address(), fleet(path(waits), path(serves)))
	takes(t, s.envoy, serves)
	l := send(t, s.envoy, "/app")
	l.served(t, "serves")
	if err := waits.SetChains(harnesstest.Context(t), s.chains("waits")); err != nil {
		t.Fatal(err)
	}
	takes(t, s.envoy, serves, waits)
	l.served(t, "waits")
	l.end(t)
}
