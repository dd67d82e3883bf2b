package main

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"policyengine.dev/tools/envoy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOnceShowsEveryRowAsExpected(t *testing.T) {
	envoy.Binary(t)
	var out bytes.Buffer
	if err := run(t.Context(), []string{"--once"}, &out); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
	for _, want := range []string{
		"api-key-validation v1.0.0: API_KEY_MISSING", "jwt-validation v1.0.0: JWT_EXPIRED", "jwt-validation v2.0.0: JWT_SCOPE_INSUFFICIENT",
		"the engine: ROUTE_UNKNOWN", "Envoy: the engine is gone", "nobody: passed to the upstream",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "curl") {
		t.Error("--once printed a line to try")
	}
}

func TestARowThatIsNotAsExpectedIsAnError(t *testing.T) {
	envoy.Binary(t)
	s, err := newScene(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	// The table expects that a forgotten route is denied.
	s.chains = bytes.Replace(s.chains, []byte("onUnknownRoute: deny"), []byte("onUnknownRoute: continue"), 1)
	stack, err := start(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	defer stack.Close()
	results, err := play(t.Context(), stack, s)
	if err != nil {
		t.Fatal(err)
	}
	err = unexpected(results)
	if err == nil || !strings.Contains(err.Error(), "a route without a chain: the status is 200, want 500") ||
		!strings.Contains(err.Error(), "the upstream was reached: true, want false") {
		t.Errorf("got %v", err)
	}
	var out bytes.Buffer
	writeTable(&out, results)
	if strings.Count(out.String(), "NOT AS EXPECTED") != 1 {
		t.Errorf("the row is not marked\n%s", out.String())
	}
}

// buffer is a bytes.Buffer for two goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestWithoutOnceItRunsUntilItIsTold(t *testing.T) {
	envoy.Binary(t)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var out buffer
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, nil, &out) }()
	for deadline := time.Now().Add(2 * time.Minute); !strings.Contains(out.String(), "Ctrl-C stops the demo."); time.Sleep(10 * time.Millisecond) {
		select {
		case err := <-ended:
			t.Fatalf("ended by itself: %v\n%s", err, out.String())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("no addresses\n%s", out.String())
		}
	}
	if !strings.Contains(out.String(), "curl -i -H 'x-api-key: "+goodKey+"' http://127.0.0.1:") {
		t.Errorf("nothing to try in\n%s", out.String())
	}
	interrupt()
	if err := <-ended; err != nil {
		t.Errorf("after an interrupt: %v", err)
	}
}

func TestDecidedBy(t *testing.T) {
	for details, want := range map[string]string{
		"via_upstream":                            "nobody: passed to the upstream",
		"policy_engine.a@v1.2.3.NO":               "a v1.2.3: NO",
		"policy_engine.NOT_READY":                 "the engine: NOT_READY",
		"ext_proc_error_gRPC_error_14{something}": "Envoy: the engine is gone",
		"route_not_found":                         "Envoy: route_not_found",
	} {
		if got := decidedBy(details); got != want {
			t.Errorf("%s: got %q, want %q", details, got, want)
		}
	}
}
