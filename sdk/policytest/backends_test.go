package policytest_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policytest"
)

func openBackend(t *testing.T, h *policytest.Host, ref policy.BackendRef) *policy.Backend {
	t.Helper()
	b, err := policy.OpenBackend(h.Policy(), ref)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestBackendRequests proves what a backend is sent: the exchange's id and trace, and nothing of
// the request that is decided about.
func TestBackendRequests(t *testing.T) {
	h := policytest.NewHost()
	h.Backends.On("https://authz.example/v1/", func(policytest.BackendCall) policytest.BackendAnswer { return policytest.BackendAnswer{} })
	b := openBackend(t, h, "https://authz.example/v1/")
	x := &exchange.Exchange{TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", TraceState: "a=b"}
	x.Request.Headers.Reset([]exchange.Field{{Name: "authorization", Value: "Bearer secret"}})
	x.SetRequestID("id-1")
	call := &exchange.Call{Place: &exchange.Place{Random: h.Random, Now: h.Clock.Now}, Records: true}
	req := policy.NewRequestContext(x, false).WithCall(call)
	if _, err := b.Do(context.Background(), &req, policy.BackendRequest{Path: "/check/a%2Fb", Query: map[string][]string{"q": {"a b&c"}}, Body: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	got := h.Backends.Calls("https://authz.example/v1/")[0]
	if got.Method != "POST" || got.URL.String() != "https://authz.example/v1/check/a%2Fb?q=a+b%26c" || got.Body != "{}" {
		t.Errorf("asked %s %s %s", got.Method, got.URL, got.Body)
	}
	span := call.Take().Spans[0]
	if parent := got.Header.Get("Traceparent"); got.Header.Get("X-Request-Id") != "id-1" || got.Header.Get("Tracestate") != "a=b" || got.Header.Get("Authorization") != "" ||
		!strings.HasPrefix(parent, "00-0af7651916cd43dd8448eb211c80319c-") || strings.Contains(parent, "b7ad6b7169203331") {
		t.Errorf("headers %v", got.Header)
	}
	if !span.Client || span.Name != "backend authz.example" || span.Error != "" {
		t.Errorf("span %+v", span)
	}
	// Outside of an exchange.
	if _, err := b.Do(context.Background(), nil, policy.BackendRequest{}); err != nil {
		t.Error(err)
	}
	if got := h.Backends.Calls("https://authz.example/v1/")[1]; got.Method != "GET" || got.URL.String() != "https://authz.example/v1/" || len(got.Header) != 0 {
		t.Errorf("asked %+v", got)
	}
}

// TestBackendPaths proves that a client's text in a path cannot lead elsewhere.
func TestBackendPaths(t *testing.T) {
	h := policytest.NewHost()
	h.Backends.On("authz", func(policytest.BackendCall) policytest.BackendAnswer { return policytest.BackendAnswer{} })
	b := openBackend(t, h, "authz")
	for _, path := range []string{"check", "/a/../b", "/..", "/%2e%2e/b", "/.", "/a?b", "/a#b", "/%zz", `/a\b`, "/..%2fb", "@evil.example/"} {
		if _, err := b.Do(context.Background(), nil, policy.BackendRequest{Path: path}); err == nil {
			t.Errorf("%q is sent", path)
		}
	}
	if n := len(h.Backends.Calls("authz")); n != 0 {
		t.Errorf("%d requests are sent", n)
	}
}

// TestBackendResults proves how each end of a request is told and counted, and which of them
// open the circuit breaker.
func TestBackendResults(t *testing.T) {
	refused := errors.New("connection refused")
	for name, tt := range map[string]struct {
		answer policytest.BackendAnswer
		want   error
		status int
		result string
		opens  bool
	}{
		"ok":          {policytest.BackendAnswer{Body: strings.Repeat("b", 100)}, nil, 200, "ok", false},
		"forbidden":   {policytest.BackendAnswer{Status: 403}, nil, 403, "ok", false},
		"fails":       {policytest.BackendAnswer{Status: 503}, nil, 503, "status_5xx", true},
		"refused":     {policytest.BackendAnswer{Err: refused}, refused, 0, "error", true},
		"slow":        {policytest.BackendAnswer{Delay: 499 * time.Millisecond}, nil, 200, "ok", false},
		"too slow":    {policytest.BackendAnswer{Delay: 501 * time.Millisecond}, context.DeadlineExceeded, 0, "timeout", true},
		"too large":   {policytest.BackendAnswer{Body: strings.Repeat("b", 101)}, policy.ErrBackendTooLarge, 0, "too_large", false},
		"redirects":   {policytest.BackendAnswer{Status: 302, Header: http.Header{"Location": {"https://evil.example"}}}, policy.ErrBackendRedirect, 0, "redirect", false},
		"not changed": {policytest.BackendAnswer{Status: 304}, nil, 304, "ok", false},
	} {
		t.Run(name, func(t *testing.T) {
			h := policytest.NewHost()
			h.Backends.Bound("authz", policy.BackendTarget{MaxResponse: 100, Failures: 2, Pause: time.Minute})
			h.Backends.On("authz", func(policytest.BackendCall) policytest.BackendAnswer { return tt.answer })
			b := openBackend(t, h, "authz")
			var err error
			for range 3 {
				var resp *policy.BackendResponse
				resp, err = b.Do(context.Background(), nil, policy.BackendRequest{})
				if errors.Is(err, policy.ErrBackendOpen) {
					break
				}
				if !errors.Is(err, tt.want) || (tt.status > 0) != (resp != nil) || resp != nil && resp.Status != tt.status {
					t.Errorf("%+v, %v", resp, err)
				}
			}
			if opened := errors.Is(err, policy.ErrBackendOpen); opened != tt.opens {
				t.Errorf("the circuit breaker is open: %v", opened)
			}
			want := 3.0
			if tt.opens {
				want = 2
			}
			if got := h.Metrics.Value("backend_requests_total", policy.Label{Name: "backend", Value: "authz"}, policy.Label{Name: "result", Value: tt.result}); got != want {
				t.Errorf("%v requests are counted as %s", got, tt.result)
			}
		})
	}
}

// TestBackendBreaker proves that a backend which has failed is asked once after the pause, that its
// answer decides whether the others may, and that a client which goes away decides nothing.
func TestBackendBreaker(t *testing.T) {
	h := policytest.NewHost()
	h.Backends.Bound("authz", policy.BackendTarget{Failures: 2, Pause: time.Minute})
	answer := policytest.BackendAnswer{Status: 500}
	h.Backends.On("authz", func(policytest.BackendCall) policytest.BackendAnswer { return answer })
	b := openBackend(t, h, "authz")
	ask := func(ctx context.Context) error {
		_, err := b.Do(ctx, nil, policy.BackendRequest{})
		return err
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	for range 5 {
		if err := ask(gone); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	step := func(what string, want error) {
		t.Helper()
		if err := ask(context.Background()); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	step("first failure", nil)
	step("second failure", nil)
	step("open", policy.ErrBackendOpen)
	if open := h.Metrics.Value("backend_open", policy.Label{Name: "backend", Value: "authz"}); open != 1 {
		t.Errorf("the gauge is %v", open)
	}
	h.Clock.Advance(time.Minute)
	step("tried again", nil)
	step("open again", policy.ErrBackendOpen)
	h.Clock.Advance(time.Minute)
	if err := ask(gone); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	answer = policytest.BackendAnswer{}
	step("the next one is let through", nil)
	step("closed", nil)
	if log := h.Logs.String(); strings.Count(log, "failed too often") != 1 || strings.Count(log, "answers again") != 1 {
		t.Errorf("the log is\n%s", log)
	}
}

// TestBackendConcurrency proves that no more requests are in flight than are allowed, and that
// after the pause one alone is let through.
func TestBackendConcurrency(t *testing.T) {
	h := policytest.NewHost()
	h.Backends.Bound("authz", policy.BackendTarget{MaxConcurrent: 3})
	entered, release := make(chan struct{}), make(chan struct{})
	h.Backends.On("authz", func(policytest.BackendCall) policytest.BackendAnswer {
		entered <- struct{}{}
		<-release
		return policytest.BackendAnswer{}
	})
	b := openBackend(t, h, "authz")
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			if _, err := b.Do(context.Background(), nil, policy.BackendRequest{}); err != nil {
				t.Error(err)
			}
		})
		<-entered
	}
	if _, err := b.Do(context.Background(), nil, policy.BackendRequest{}); !errors.Is(err, policy.ErrBackendBusy) {
		t.Errorf("a fourth request: %v", err)
	}
	close(release)
	all.Wait()
}

// TestBackendsWithoutAScript proves that a test which has not said what a backend answers is
// told so.
func TestBackendsWithoutAScript(t *testing.T) {
	_, err := openBackend(t, policytest.NewHost(), "authz").Do(context.Background(), nil, policy.BackendRequest{})
	if err == nil || !strings.Contains(err.Error(), "Host.Backends.On") {
		t.Error(err)
	}
}
