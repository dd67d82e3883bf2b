package engine

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"policyengine.dev/runtime/config"
	"policyengine.dev/runtime/worker"
)

// TestReadyzWaitsForTheEngine proves that /readyz refuses while a configuration is in force
// that the engine does not serve yet.
func TestReadyzWaitsForTheEngine(t *testing.T) {
	static := config.DefaultEngine()
	static.Listeners = []config.Listener{{Address: config.Address{Network: "unix", Address: filepath.Join(t.TempDir(), "s")}, Mode: 0o600}}
	static.Admin = config.Address{Network: "tcp", Address: "127.0.0.1:0"}
	registry, err := worker.NewRegistry(entries()...)
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(static, registry, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer e.closeListeners()
	defer e.grpc.Stop()
	defer e.worker.Close(context.Background()) //nolint:errcheck // it runs nothing
	readyz := func() int {
		w := httptest.NewRecorder()
		e.admin.Handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
		return w.Code
	}
	update := config.Update{Spec: worker.Spec{Version: "one"}}
	if problems := e.update(t.Context(), update); problems != nil {
		t.Fatal(problems)
	}
	if got := readyz(); got != http.StatusServiceUnavailable {
		t.Errorf("/readyz is %d before the engine serves the configuration", got)
	}
	if err := e.apply(t.Context(), update); err != nil {
		t.Fatal(err)
	}
	if got := readyz(); got != http.StatusOK {
		t.Errorf("/readyz is %d after that", got)
	}
}
