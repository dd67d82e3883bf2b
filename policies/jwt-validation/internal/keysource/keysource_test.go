package keysource_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"policyengine.dev/policies/jwt-validation/internal/jose"
	"policyengine.dev/policies/jwt-validation/internal/jwttest"
	"policyengine.dev/policies/jwt-validation/internal/keysource"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const refresh, maxStale = 5 * time.Minute, time.Hour

// open returns a source for the URL or file, not started, which ends with the test.
func open(t testing.TB, h *policytest.Host, place keysource.Place) *keysource.Source {
	t.Helper()
	place.Refresh, place.MaxStale = policy.Duration(refresh), policy.Duration(maxStale)
	own := *h
	own.Shared = nil // each source is one by itself
	s, problems := place.Open(own.Policy(), "issuer", jose.NewAlgorithms(jose.RS256, jose.ES256))
	if err := errors.Join(problems...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func start(t testing.TB, s *keysource.Source) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return s.Start(ctx)
}

func kids(t testing.TB, s *keysource.Source, h *policytest.Host) string {
	t.Helper()
	set, err := s.Keys(h.Clock.Now())
	if err != nil {
		return err.Error()
	}
	var ids []string
	for _, k := range set.Keys() {
		ids = append(ids, k.ID())
	}
	return strings.Join(ids, " ")
}

// elapse moves the clock once the background waits, and then waits for n more loads.
func elapse(t testing.TB, h *policytest.Host, d time.Duration, n int) {
	t.Helper()
	jwttest.Eventually(t, "the background to wait", func() bool { return h.Clock.Timers() == 1 })
	before := loads(h)
	h.Clock.Advance(d)
	jwttest.Eventually(t, "another load", func() bool { return loads(h) >= before+n })
	jwttest.Eventually(t, "the background to wait again", func() bool { return h.Clock.Timers() == 1 })
}

func loads(h *policytest.Host) int { return count(h, "success") + count(h, "failure") }

func count(h *policytest.Host, outcome string) int {
	return int(h.Metrics.Value("jwks_loads_total", policy.Label{Name: "issuer", Value: "issuer"}, policy.Label{Name: "outcome", Value: outcome}))
}

func gauge(h *policytest.Host, name string) float64 {
	return h.Metrics.Value(name, policy.Label{Name: "issuer", Value: "issuer"})
}

// Before the first load there are no keys, and that is an error.
func TestBeforeStart(t *testing.T) {
	server := jwttest.NewServer(t, jwttest.RSA())
	h := server.Host()
	s := open(t, h, keysource.Place{URL: server.URL})
	if _, err := s.Keys(h.Clock.Now()); err != keysource.ErrNotLoaded {
		t.Errorf("%v, want ErrNotLoaded", err)
	}
	if s.Renew(t.Context(), 0, time.Second) {
		t.Error("renewed before Start")
	}
	if server.Requests() != 0 {
		t.Error("there was I/O before Start")
	}
}

func TestStart(t *testing.T) {
	server := jwttest.NewServer(t, jwttest.RSA(), jwttest.P256())
	h := server.Host()
	s := open(t, h, keysource.Place{URL: server.URL})
	for range 2 { // a second one changes nothing
		if err := start(t, s); err != nil {
			t.Fatal(err)
		}
	}
	if got := kids(t, s, h); got != "rsa p256" {
		t.Errorf("keys: %s", got)
	}
	if server.Requests() != 1 {
		t.Errorf("%d requests, want 1", server.Requests())
	}
	if gauge(h, "jwks_keys") != 2 || gauge(h, "jwks_loaded_timestamp_seconds") != float64(h.Clock.Now().Unix()) || count(h, "success") != 1 {
		t.Errorf("metrics: %v", h.Metrics.Names())
	}
}

// What the network and the server may do wrong is an error, says what it is, and
// leaves no keys; and the next Start mends it.
func TestFaults(t *testing.T) {
	good := jwttest.JWKS(jwttest.RSA())
	for _, c := range []struct {
		name  string
		fault func(*jwttest.Server)
		want  string
	}{
		{"status 500", func(s *jwttest.Server) { s.Fail(500) }, "the server answered 500"},
		{"status 404", func(s *jwttest.Server) { s.Fail(404) }, "the server answered 404"},
		{"status 204", func(s *jwttest.Server) { s.Do(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }) }, "204"},
		{"garbage", func(s *jwttest.Server) { s.Serve("<html>") }, `array "keys"`},
		{"an empty body", func(s *jwttest.Server) { s.Serve("") }, `array "keys"`},
		{"half a set", func(s *jwttest.Server) { s.Serve(good[:len(good)/2]) }, `array "keys"`},
		{"too large", func(s *jwttest.Server) { s.Serve(strings.Repeat(" ", keysource.MaxBytes) + good) }, "more than 524288 bytes"},
		{"endless", func(s *jwttest.Server) {
			s.Do(func(w http.ResponseWriter, r *http.Request) {
				for r.Context().Err() == nil {
					if _, err := w.Write(make([]byte, 1<<16)); err != nil {
						return
					}
				}
			})
		}, "more than 524288 bytes"},
		{"a connection that breaks", func(s *jwttest.Server) {
			s.Do(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "100")
				_, _ = w.Write([]byte("{"))
			})
		}, "unexpected EOF"},
		{"a redirect to http", func(s *jwttest.Server) { s.Redirect(s.HTTP()) }, "a redirect to something other than https"},
		{"a redirect to a file", func(s *jwttest.Server) { s.Redirect("file:///etc/passwd") }, "a redirect to something other than https"},
		{"a redirect to itself", func(s *jwttest.Server) { s.Redirect(s.URL) }, "more than 3 redirects"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := jwttest.NewServer(t)
			h := server.Host()
			c.fault(server)
			s := open(t, h, keysource.Place{URL: server.URL + "?secret=hunter2"})
			err := start(t, s)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("Start: %v, want %q in it", err, c.want)
			}
			if got := kids(t, s, h); got != keysource.ErrNotLoaded.Error() {
				t.Errorf("keys: %s", got)
			}
			if strings.Contains(err.Error()+h.Logs.String(), "hunter2") {
				t.Errorf("the address's query is in the error or the log: %v\n%s", err, h.Logs)
			}
			server.Serve(good)
			if err := start(t, s); err != nil {
				t.Fatalf("the next Start: %v", err)
			}
			if got := kids(t, s, h); got != "rsa" {
				t.Errorf("keys: %s", got)
			}
		})
	}
}

// A redirect within https is followed.
func TestRedirect(t *testing.T) {
	server := jwttest.NewServer(t)
	server.Do(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/moved" {
			http.Redirect(w, r, "/moved", http.StatusMovedPermanently)
			return
		}
		_, _ = w.Write([]byte(jwttest.JWKS(jwttest.RSA())))
	})
	if err := start(t, open(t, server.Host(), keysource.Place{URL: server.URL})); err != nil {
		t.Error(err)
	}
}

// A server that nobody vouches for is not believed.
func TestUnknownCertificate(t *testing.T) {
	server := jwttest.NewServer(t, jwttest.RSA())
	h := policytest.NewHost()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	h.HTTP = transport
	if err := start(t, open(t, h, keysource.Place{URL: server.URL})); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("%v", err)
	}
}

func TestServerDown(t *testing.T) {
	server := jwttest.NewServer(t)
	server.Down()
	h := server.Host()
	err := start(t, open(t, h, keysource.Place{URL: server.URL + "?secret=hunter2"}))
	if err == nil || !strings.Contains(err.Error(), "refused") {
		t.Fatalf("%v", err)
	}
	if strings.Contains(err.Error()+h.Logs.String(), "hunter2") {
		t.Errorf("the address's query is in the error or the log: %v\n%s", err, h.Logs)
	}
}

// Start waits no longer than its context; the load goes on without it.
func TestSlowServer(t *testing.T) {
	server := jwttest.NewServer(t)
	release := server.Block(jwttest.JWKS(jwttest.RSA()))
	h := server.Host()
	s := open(t, h, keysource.Place{URL: server.URL})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := s.Start(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	release()
	jwttest.Eventually(t, "the keys", func() bool { return kids(t, s, h) == "rsa" })
	if server.Requests() != 1 {
		t.Errorf("%d requests, want 1", server.Requests())
	}
}

// Close ends a load that is under way, and whoever waits for it.
func TestCloseDuringLoad(t *testing.T) {
	server := jwttest.NewServer(t)
	defer server.Block("")()
	h := server.Host()
	s := open(t, h, keysource.Place{URL: server.URL})
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := start(t, s); err == nil {
			t.Error("Start has succeeded")
		}
	})
	jwttest.Eventually(t, "the request", func() bool { return server.Requests() == 1 })
	_, _ = s.Close(), s.Close() // twice is once
	wg.Wait()
	if err := start(t, s); err == nil {
		t.Error("Start after Close has succeeded")
	}
	if s.Renew(t.Context(), 0, time.Minute) {
		t.Error("Renew after Close has succeeded")
	}
	if loads(h) != 0 || strings.Contains(h.Logs.String(), "failed") {
		t.Errorf("a load that was given up counts as one that failed:\n%s", h.Logs)
	}
}

// When Close returns the background is no more.
func TestCloseWaits(t *testing.T) {
	h := policytest.NewHost().Policy()
	loading, ended := make(chan struct{}), false
	s := keysource.New(keysource.Config{
		Load: func(ctx context.Context) ([]byte, error) {
			close(loading)
			<-ctx.Done()
			time.Sleep(10 * time.Millisecond)
			ended = true
			return nil, ctx.Err()
		},
		Clock: h.Clock, Logger: h.Logger, Refresh: refresh, Metrics: keysource.NewMetrics(h.Metrics, "issuer"),
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = s.Start(ctx)
	<-loading
	_ = s.Close()
	if !ended {
		t.Error("Close has not waited for the load")
	}
}

// The background renews the keys every refresh: a key that comes and one that goes.
func TestRotation(t *testing.T) {
	server := jwttest.NewServer(t, jwttest.RSA())
	h := server.Host()
	s := open(t, h, keysource.Place{URL: server.URL})
	if err := start(t, s); err != nil {
		t.Fatal(err)
	}
	first, _ := s.Keys(h.Clock.Now())
	elapse(t, h, refresh, 1)
	if set, _ := s.Keys(h.Clock.Now()); set != first {
		t.Error("the same keys have become another set")
	}
	server.Serve(jwttest.Set(" " + jwttest.RSA().JWK(map[string]any{"x": "y"})))
	elapse(t, h, refresh, 1)
	if set, _ := s.Keys(h.Clock.Now()); set != first {
		t.Error("the same keys in another document have become another set")
	}
	server.Serve(jwttest.JWKS(jwttest.RSA(), jwttest.P256()))
	elapse(t, h, refresh, 1)
	if got := kids(t, s, h); got != "rsa p256" {
		t.Errorf("keys: %s", got)
	}
	server.Serve(jwttest.JWKS(jwttest.P256()))
	elapse(t, h, refresh, 1)
	if got := kids(t, s, h); got != "p256" {
		t.Errorf("keys: %s", got)
	}
}

// Before the time has arrived nothing is fetched.
func TestRefreshInterval(t *testing.T) {
	server := jwttest.NewServer(t, jwttest.RSA())
	h := server.Host()
	s := open(t, h, keysource.Place{URL: server.URL})
	if err := start(t, s); err != nil {
		t.Fatal(err)
	}
	jwttest.Eventually(t, "the background to wait", func() bool { return h.Clock.Timers() == 1 })
	h.Clock.Advance(refresh - time.Nanosecond)
	if h.Clock.Timers() != 1 {
		t.Error("the timer has fired early")
	}
}

// An issuer takes a key back by leaving it out of its set: a set that was fetched and
// is well-formed takes the place of the one before, be there no usable key in it.
func TestEmptiedSet(t *testing.T) {
	for name, set := range map[string]string{
		"no keys":                `{"keys":[]}`,
		"no usable key":          jwttest.JWKS(jwttest.RSA1024()),
		"keys of unknown types":  jwttest.Set(`{"kty":"AKP"}`, `7`),
		"encryption keys only":   jwttest.Set(jwttest.RSA().JWK(map[string]any{"use": "enc"})),
		"the private key by now": jwttest.Set(jwttest.RSA().JWK(map[string]any{"d": "AA"})),
	} {
		t.Run(name, func(t *testing.T) {
			server := jwttest.NewServer(t, jwttest.RSA())
			h := server.Host()
			s := open(t, h, keysource.Place{URL: server.URL})
			if err := start(t, s); err != nil {
				t.Fatal(err)
			}
			server.Serve(set)
			elapse(t, h, refresh, 1)
			if got := kids(t, s, h); got != "" {
				t.Errorf("after the issuer has emptied its set the keys are %q", got)
			}
			if count(h, "failure") != 0 || gauge(h, "jwks_keys") != 0 {
				t.Error("the load counts as a failure")
			}
			if !strings.Contains(h.Logs.String(), "no key that can be used") {
				t.Errorf("it is not logged: %s", h.Logs)
			}
			server.Serve(jwttest.JWKS(jwttest.P256()))
			elapse(t, h, refresh, 1)
			if got := kids(t, s, h); got != "p256" {
				t.Errorf("then it publishes a key: %q", got)
			}
		})
	}
}

// A log line does not speak of keys that there never were.
func TestWhatFailuresSay(t *testing.T) {
	server := jwttest.NewServer(t, jwttest.RSA())
	server.Fail(500)
	h := server.Host()
	s := open(t, h, keysource.Place{URL: server.URL})
	said := func(want string) {
		t.Helper()
		lines := strings.Split(strings.TrimSpace(h.Logs.String()), "\n")
		if last := lines[len(lines)-1]; !strings.Contains(last, want) {
			t.Errorf("%q is not in %s", want, last)
		}
	}
	if start(t, s) == nil {
		t.Fatal("started")
	}
	said("there are none yet")
	server.Serve(jwttest.JWKS(jwttest.RSA()))
	if err := start(t, s); err != nil {
		t.Fatal(err)
	}
	server.Fail(500)
	elapse(t, h, refresh, 1)
	said("the last good ones stay in use")
	elapse(t, h, maxStale, 1)
	said("too old to be used")
}

// While loading fails the last good keys stay in use, up to maxStale and no longer;
// attempts become rarer; and a success mends it all.
func TestStaleWhileFailing(t *testing.T) {
	server := jwttest.NewServer(t, jwttest.RSA())
	h := server.Host()
	s := open(t, h, keysource.Place{URL: server.URL})
	if err := start(t, s); err != nil {
		t.Fatal(err)
	}
	loaded := h.Clock.Now()
	server.Fail(503)
	elapse(t, h, refresh, 1)
	for _, pause := range []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300, 300} {
		if got := kids(t, s, h); got != "rsa" {
			t.Fatalf("keys after %s: %s", h.Clock.Now().Sub(loaded), got)
		}
		jwttest.Eventually(t, "the background to wait", func() bool { return h.Clock.Timers() == 1 })
		h.Clock.Advance(pause*time.Second - 1)
		if h.Clock.Timers() != 1 {
			t.Errorf("it was tried again less than %d s after a failure", pause)
		}
		elapse(t, h, 1, 1)
	}
	h.Clock.Advance(loaded.Add(maxStale).Sub(h.Clock.Now()))
	if got := kids(t, s, h); got != "rsa" {
		t.Errorf("keys after maxStale to the nanosecond: %s", got)
	}
	h.Clock.Advance(1)
	if _, err := s.Keys(h.Clock.Now()); err != keysource.ErrStale {
		t.Errorf("keys after maxStale: %v, want ErrStale", err)
	}
	server.Serve(jwttest.JWKS(jwttest.P256()))
	if err := start(t, s); err != nil {
		t.Fatal(err)
	}
	if got := kids(t, s, h); got != "p256" {
		t.Errorf("keys after the server is back: %s", got)
	}
}

// Renew loads early, at most once every so often, and any number of callers share it.
func TestRenew(t *testing.T) {
	const every = 30 * time.Second
	server := jwttest.NewServer(t, jwttest.RSA())
	h := server.Host()
	s := open(t, h, keysource.Place{URL: server.URL})
	if err := start(t, s); err != nil {
		t.Fatal(err)
	}
	if s.Renew(t.Context(), every, time.Minute) {
		t.Error("renewed right after a load")
	}
	h.Clock.Advance(every)
	release := server.Block(jwttest.JWKS(jwttest.P256()))
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if !s.Renew(t.Context(), every, time.Minute) {
				t.Error("not renewed")
			}
		})
	}
	// The 50 waiting, each with a timer; the background is at the load.
	jwttest.Eventually(t, "all to wait", func() bool { return h.Clock.Timers() == 50 })
	release()
	wg.Wait()
	if got := kids(t, s, h); got != "p256" {
		t.Errorf("keys: %s", got)
	}
	if server.Requests() != 2 {
		t.Errorf("%d requests, want 2", server.Requests())
	}
	for range 100 {
		if s.Renew(t.Context(), every, time.Minute) {
			t.Error("renewed again too early")
		}
	}
	if server.Requests() != 2 {
		t.Errorf("%d requests, want 2", server.Requests())
	}
}

// Renew waits no longer than it is told to, nor than its context.
func TestRenewIsBounded(t *testing.T) {
	server := jwttest.NewServer(t, jwttest.RSA())
	h := server.Host()
	s := open(t, h, keysource.Place{URL: server.URL})
	if err := start(t, s); err != nil {
		t.Fatal(err)
	}
	defer server.Block("")()
	jwttest.Eventually(t, "the background to wait", func() bool { return h.Clock.Timers() == 1 })
	var wg sync.WaitGroup
	wg.Go(func() {
		if s.Renew(t.Context(), 0, 100*time.Millisecond) {
			t.Error("renewed by a server that does not answer")
		}
	})
	jwttest.Eventually(t, "the request", func() bool { return server.Requests() == 2 })
	jwttest.Eventually(t, "the wait", func() bool { return h.Clock.Timers() == 1 })
	h.Clock.Advance(100 * time.Millisecond)
	wg.Wait()
	if loads(h) != 1 {
		t.Error("it has waited for the load to end")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s.Renew(ctx, 0, time.Hour) {
		t.Error("renewed by a server that does not answer")
	}
	if loads(h) != 1 {
		t.Error("it has waited for the load to end")
	}
}

// A failed load counts against the bound too: a server in trouble is left alone.
func TestRenewAfterFailure(t *testing.T) {
	server := jwttest.NewServer(t, jwttest.RSA())
	h := server.Host()
	s := open(t, h, keysource.Place{URL: server.URL})
	if err := start(t, s); err != nil {
		t.Fatal(err)
	}
	server.Fail(500)
	h.Clock.Advance(time.Minute)
	for range 10 {
		if s.Renew(t.Context(), time.Minute, time.Hour) {
			t.Error("renewed by a server that fails")
		}
	}
	if server.Requests() != 2 {
		t.Errorf("%d requests, want 2", server.Requests())
	}
}

// A source takes over what another of the same place has, and needs no fetch then.
func TestAdopt(t *testing.T) {
	server := jwttest.NewServer(t, jwttest.RSA())
	h := server.Host()
	old := open(t, h, keysource.Place{URL: server.URL})
	if err := start(t, old); err != nil {
		t.Fatal(err)
	}
	h.Clock.Advance(time.Minute)
	s := open(t, h, keysource.Place{URL: server.URL})
	s.Adopt(old)
	if err := start(t, s); err != nil {
		t.Fatal(err)
	}
	ours, _ := s.Keys(h.Clock.Now())
	theirs, _ := old.Keys(h.Clock.Now())
	if ours == nil || ours != theirs {
		t.Error("the keys are not the same set")
	}
	if server.Requests() != 1 {
		t.Errorf("%d requests, want 1", server.Requests())
	}
	_ = old.Close()
	if got := kids(t, s, h); got != "rsa" {
		t.Errorf("keys after the old one has been closed: %s", got)
	}
	// It goes on renewing by itself, at the time when the old one would have.
	jwttest.Eventually(t, "the background to wait", func() bool { return h.Clock.Timers() == 1 })
	h.Clock.Advance(refresh - time.Minute)
	jwttest.Eventually(t, "the renewal", func() bool { return server.Requests() == 2 })
}

// Nothing is taken over from a source that has nothing, or older keys.
func TestAdoptNothing(t *testing.T) {
	server := jwttest.NewServer(t, jwttest.RSA())
	h := server.Host()
	s, empty := open(t, h, keysource.Place{URL: server.URL}), open(t, h, keysource.Place{URL: server.URL})
	older := open(t, h, keysource.Place{URL: server.URL})
	if err := start(t, older); err != nil {
		t.Fatal(err)
	}
	s.Adopt(empty)
	if got := kids(t, s, h); got != keysource.ErrNotLoaded.Error() {
		t.Errorf("keys: %s", got)
	}
	server.Serve(jwttest.JWKS(jwttest.P256()))
	h.Clock.Advance(1)
	if err := start(t, s); err != nil {
		t.Fatal(err)
	}
	s.Adopt(older)
	if got := kids(t, s, h); got != "p256" {
		t.Errorf("keys: %s", got)
	}
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "jwks.json")
	write := func(set string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(set), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h := policytest.NewHost()
	s := open(t, h, keysource.Place{File: path})
	if err := start(t, s); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
	write(jwttest.JWKS(jwttest.RSA()))
	if err := start(t, s); err != nil {
		t.Fatal(err)
	}
	write(jwttest.JWKS(jwttest.P256()))
	elapse(t, h, refresh, 1)
	if got := kids(t, s, h); got != "p256" {
		t.Errorf("keys: %s", got)
	}
	write(strings.Repeat(" ", keysource.MaxBytes+1))
	elapse(t, h, refresh, 1)
	if got := kids(t, s, h); got != "p256" {
		t.Errorf("keys after a file that is too large: %s", got)
	}
}

// A pipe, which would have to be waited for, is refused.
func TestFileThatIsNone(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skip(err)
	}
	for _, path := range []string{pipe, t.TempDir(), "/dev/zero"} {
		s := open(t, policytest.NewHost(), keysource.Place{File: path})
		if err := start(t, s); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// Keys in the parameters are there at once and need no Start.
func TestInline(t *testing.T) {
	h := policytest.NewHost()
	s := open(t, h, keysource.Place{Inline: []keysource.InlineKey{{JWK: []byte(jwttest.RSA().JWK())}, {PEM: jwttest.P256().PEM(), KID: "pem"}}})
	if got := kids(t, s, h); got != "rsa pem" {
		t.Errorf("keys: %s", got)
	}
	if err := start(t, s); err != nil {
		t.Error(err)
	}
	if s.Renew(t.Context(), 0, time.Hour) {
		t.Error("renewed")
	}
	s.Adopt(s)
	h.Clock.Advance(1000 * maxStale)
	if got := kids(t, s, h); got != "rsa pem" {
		t.Errorf("keys after a long time: %s", got)
	}
}

func TestOpenRefuses(t *testing.T) {
	const ok, stale = policy.Duration(refresh), policy.Duration(maxStale)
	rsa := keysource.InlineKey{JWK: []byte(jwttest.RSA().JWK())}
	for _, c := range []struct {
		name  string
		place keysource.Place
		want  string
	}{
		{"nothing", keysource.Place{}, "inline, file, url: give exactly one"},
		{"two places", keysource.Place{File: "x", URL: "https://example.com"}, "inline, file, url: give exactly one"},
		{"http", keysource.Place{URL: "http://example.com/", Refresh: ok, MaxStale: stale}, `url: the scheme is "http"`},
		{"a path", keysource.Place{URL: "/jwks.json", Refresh: ok, MaxStale: stale}, `url: the scheme is ""`},
		{"a URL without a host", keysource.Place{URL: "https:///x", Refresh: ok, MaxStale: stale}, "url: no host"},
		{"a URL with a password", keysource.Place{URL: "https://a:hunter2@example.com/", Refresh: ok, MaxStale: stale}, "url: a user name or password"},
		{"a URL with a fragment", keysource.Place{URL: "https://example.com/#x", Refresh: ok, MaxStale: stale}, "url: a fragment"},
		{"no URL", keysource.Place{URL: "https://exa mple/%zz", Refresh: ok, MaxStale: stale}, "url: not a URL"},
		{"too often", keysource.Place{URL: "https://example.com/", Refresh: 1, MaxStale: stale}, "refresh: 1ns is too short; 10s"},
		{"too old before it is renewed", keysource.Place{URL: "https://example.com/", Refresh: stale, MaxStale: ok}, "maxStale: 5m0s is less than refresh (1h0m0s)"},
		{"a key in two forms", keysource.Place{Inline: []keysource.InlineKey{rsa, {JWK: rsa.JWK, PEM: "x"}}}, "inline[1]: jwk, pem: give exactly one"},
		{"a key in no form", keysource.Place{Inline: []keysource.InlineKey{{KID: "x"}}}, "inline[0]: jwk, pem: give exactly one"},
		{"a JWK with a kid beside", keysource.Place{Inline: []keysource.InlineKey{{JWK: rsa.JWK, KID: "x"}}}, "inline[0]: kid, algorithm"},
		{"a broken key", keysource.Place{Inline: []keysource.InlineKey{rsa, {PEM: "x"}}}, "inline[1]: reading a PEM key"},
		{"a key that no algorithm fits", keysource.Place{Inline: []keysource.InlineKey{{JWK: []byte(jwttest.P384().JWK())}}}, "a key for ES384, but algorithms has only RS256, ES256"},
		{"keys that cannot be told apart", keysource.Place{Inline: []keysource.InlineKey{rsa, {PEM: jwttest.RSA2().PEM(), KID: "rsa"}}}, `two keys with the kid "rsa"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, problems := c.place.Open(policytest.NewHost().Policy(), "issuer", jose.NewAlgorithms(jose.RS256, jose.ES256))
			err := errors.Join(problems...)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q in it", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the password is in the error: %v", err)
			}
		})
	}
}
