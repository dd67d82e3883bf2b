// Package xds_test serves the examples by a control plane, and shows that an engine behind
// Envoy enforces them.
package xds_test

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"policyengine.dev/envoy_test/engines"
	"policyengine.dev/envoy_test/harness"
	"policyengine.dev/envoy_test/harness/harnesstest"
	"policyengine.dev/runtime/config"
	"policyengine.dev/tools/controlplane"
	"policyengine.dev/tools/envoy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// token is of the issuer of chains/jwt.yaml, for alice.
const token = "eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCIsImtpZCI6ImsxIn0.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwic3ViIjoiYWxpY2UiLCJhdWQiOiJwYXltZW50cyIsImV4cCI6NDEwMjQ0NDgwMCwic2NvcGUiOiJjaGFyZ2UgcmVhZCJ9.8ze1VzUf2XRVt98bNvMKTi07OyxGo6PpGv38yEo5AIiYWe2jHEmT4pHZ1J3Gs4sTekfJKn4UcTu7npTxXLdFAg"

// chains returns a copy of the example's files. A control plane keeps versions beside what it serves.
func chains(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	files, err := filepath.Glob("chains/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("the example has no files: %v", err)
	}
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.Base(name)), content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func serve(t *testing.T) (address string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	plane, err := controlplane.New(ctx, controlplane.Options{Dir: chains(t), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	server := grpc.NewServer()
	plane.Register(server)
	var all sync.WaitGroup
	all.Go(func() { _ = server.Serve(l) })
	t.Cleanup(func() { cancel(); server.Stop(); all.Wait() })
	return l.Addr().String()
}

// TestTheExamplesAreServedAndEnforced proves that the engine.yaml of the example is valid,
// and that what the control plane serves decides about requests.
func TestTheExamplesAreServedAndEnforced(t *testing.T) {
	static, err := config.LoadEngine("engine.yaml")
	if err != nil || static.XDS == nil {
		t.Fatal(err)
	}
	envoy.Binary(t) // or the test is skipped
	s := harnesstest.Start(t, harness.Options{
		Engine: harness.EngineOptions{Path: engines.Binary(t, engines.Payments), Config: map[string]any{"source": map[string]any{
			"path": nil, "xds": map[string]any{"servers": []any{map[string]any{"address": serve(t), "insecure": true}}, "keep": "kept-chains"},
		}}},
		Bootstrap: harness.Bootstrap{Routes: []any{harness.Route("public", "/public"), harness.Route("account", "/account"), harness.Route("partner", "/partner"), harness.Route("other", "/other")}},
	})
	for _, c := range []struct {
		name, method, path, header, value string
		status                            int
		reached                           map[string]string // nil: the upstream was not
	}{
		{"simple", "GET", "/public", "", "", 200, map[string]string{"x-tenant": "public"}},
		{"jwt, without a token", "GET", "/account", "", "", 401, nil},
		{"jwt", "GET", "/account", "authorization", "Bearer " + token, 200, map[string]string{"x-user": "alice", "authorization": ""}},
		{"several, without a key", "POST", "/partner", "", "", 401, nil},
		{"several, a GET", "GET", "/partner", "x-partner-key", "correct-horse-battery-staple", 200, map[string]string{"x-write": ""}},
		{"several, a POST", "POST", "/partner", "x-partner-key", "correct-horse-battery-staple", 200, map[string]string{"x-write": "yes"}},
		{"a route that the control plane does not serve", "GET", "/other", "", "", 500, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.Upstream.Forget()
			request, err := http.NewRequestWithContext(harnesstest.Context(t), c.method, "http://"+s.Address()+c.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if c.header != "" {
				request.Header.Set(c.header, c.value)
			}
			client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			response, err := client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			received := s.Upstream.Received()
			if response.StatusCode != c.status || (len(received) == 1) != (c.reached != nil) {
				t.Fatalf("status %d, want %d; the upstream received %d requests", response.StatusCode, c.status, len(received))
			}
			for name, want := range c.reached {
				if got := received[0].Header.Get(name); got != want {
					t.Errorf("the upstream saw %s: %q, want %q", name, got, want)
				}
			}
		})
	}
}
