package host_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"policyengine.dev/runtime/host"
	"policyengine.dev/sdk/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// manual is a clock that stands still until it is moved.
type manual struct {
	mu  sync.Mutex
	now time.Time
}

func (c *manual) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}
func (c *manual) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}
func (*manual) NewTimer(time.Duration) policy.Timer { return nil }

func TestSecretKinds(t *testing.T) {
	t.Setenv("HOST_TEST_SECRET", "from the environment")
	s := host.NewSecrets(&manual{})
	for name, tc := range map[string]struct {
		ref         policy.Secret
		want, wrong string
	}{
		"inline":           {policy.InlineSecret("itself"), "itself", ""},
		"environment":      {policy.Secret{Env: "HOST_TEST_SECRET"}, "from the environment", ""},
		"unset variable":   {policy.Secret{Env: "HOST_TEST_UNSET"}, "", "HOST_TEST_UNSET is not set"},
		"nothing":          {policy.Secret{}, "", "it is not set"},
		"a file not there": {policy.Secret{File: filepath.Join(t.TempDir(), "none")}, "", "no such file"},
	} {
		got, err := s.Open(tc.ref).Value()
		if got != tc.want || (err == nil) != (tc.wrong == "") || err != nil && !strings.Contains(err.Error(), tc.wrong) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// TestSecretFileIsReadAgain proves that a changed file is seen, and that a broken one
// leaves the last good value.
func TestSecretFileIsReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	write := func(content string) {
		t.Helper()
		next := path + ".next"
		if err := os.WriteFile(next, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, path); err != nil {
			t.Fatal(err)
		}
	}
	clock := &manual{now: time.Unix(1_000_000, 0)}
	source := host.NewSecrets(clock).Open(policy.Secret{File: path})
	want := func(when, value string) {
		t.Helper()
		if got, err := source.Value(); err != nil || got != value {
			t.Errorf("%s: %q, %v; want %q", when, got, err, value)
		}
	}
	if _, err := source.Value(); err == nil {
		t.Error("a missing file gives a value")
	}
	write("one\n")
	clock.advance(host.SecretCheckInterval)
	want("after it appeared", "one")
	write("two\r\n")
	want("before the interval is over", "one")
	clock.advance(host.SecretCheckInterval)
	want("after it changed", "two")
	for _, broken := range []string{"", strings.Repeat("x", host.SecretMaxSize+1)} {
		write(broken)
		clock.advance(host.SecretCheckInterval)
		want("while it is broken", "two")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	clock.advance(host.SecretCheckInterval)
	want("while it is gone", "two")
	write("three")
	clock.advance(host.SecretCheckInterval)
	want("when it is back", "three")
}

func TestSecretOnTheRequestPathAllocatesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	source := host.NewSecrets(&manual{}).Open(policy.Secret{File: path})
	if n := testing.AllocsPerRun(100, func() { _, _ = source.Value() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestHTTPClient(t *testing.T) {
	client := host.NewHTTPClient()
	defer client.CloseIdleConnections()
	mux := http.NewServeMux()
	mux.HandleFunc("/at-limit", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, host.HTTPMaxBody)) })
	mux.HandleFunc("/declared", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("content-length", fmt.Sprint(host.HTTPMaxBody+1))
		w.WriteHeader(200)
	})
	mux.HandleFunc("/streamed", func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
		_, _ = w.Write(make([]byte, host.HTTPMaxBody+1))
	})
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	server := httptest.NewServer(mux)
	defer server.Close()
	for path, wrong := range map[string]string{
		"/at-limit": "", "/declared": "larger than", "/streamed": "larger than", "/loop": "redirects",
	} {
		resp, err := client.Get(server.URL + path)
		if err == nil {
			_, err = io.ReadAll(resp.Body)
			_ = resp.Body.Close()
		}
		if (err == nil) != (wrong == "") || err != nil && !strings.Contains(err.Error(), wrong) {
			t.Errorf("%s: %v, want %q", path, err, wrong)
		}
	}
}

func TestHTTPClientKeepsToHTTPS(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	client := host.NewHTTPClient()
	defer client.CloseIdleConnections()
	req, _ := http.NewRequestWithContext(context.Background(), http.MethodGet, plain.URL, nil)
	via, _ := http.NewRequestWithContext(context.Background(), http.MethodGet, "https://keys.example/", nil)
	if err := client.CheckRedirect(req, []*http.Request{via}); err == nil || !strings.Contains(err.Error(), "from https to http") {
		t.Errorf("a redirect to plain HTTP gives %v", err)
	}
}

func gather(t *testing.T, m *host.Metrics) string {
	t.Helper()
	r := prometheus.NewRegistry()
	r.MustRegister(m)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range families {
		fmt.Fprintln(&b, f.GetName(), f.GetHelp(), f.GetMetric())
	}
	return b.String()
}

func TestMetrics(t *testing.T) {
	var log strings.Builder
	m := host.NewMetrics(slog.New(slog.NewTextHandler(&log, nil)))
	one := m.For(host.Place{Chain: "c", ID: "i", Policy: "rate-limit", Version: "v1.0.0"})
	two := m.For(host.Place{Chain: "c", ID: "j", Policy: "rate-limit", Version: "v2.0.0"})
	hits := one.Counter("hits_total", "Hits.", policy.Label{Name: "kind", Value: "a"})
	hits.Add(1)
	if again := one.Counter("hits_total", "Hits.", policy.Label{Name: "kind", Value: "a"}); again != hits {
		t.Error("asking twice makes two handles")
	}
	two.Counter("hits_total", "Hits, in other words.", policy.Label{Name: "kind", Value: "a"}).Add(2)
	one.Gauge("open", "").Set(3)
	one.Histogram("seconds", "", []float64{1}).Observe(0.5)
	// What cannot be exposed neither fails the policy nor the scrape.
	two.Gauge("hits_total", "").Set(1)
	two.Counter("Bad Name", "").Add(1)
	two.Counter("other_total", "", policy.Label{Name: "chain", Value: "x"}).Add(1)
	got := gather(t, m)
	for _, want := range []string{"policy_engine_policy_rate_limit_hits_total Hits.", `value:"v2.0.0"`, "policy_engine_policy_rate_limit_open", "sample_sum:0.5"} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q: %s", want, got)
		}
	}
	if n := strings.Count(log.String(), "not exposed"); n != 3 {
		t.Errorf("%d complaints, want 3: %s", n, log.String())
	}
	m.Forget(host.Place{Chain: "c", ID: "j", Policy: "rate-limit", Version: "v2.0.0"})
	if got := gather(t, m); strings.Contains(got, "v2.0.0") {
		t.Error("the metrics of a place that is gone are still there")
	}
	// Two policies may share a name; it lasts as long as either.
	shared := func(name string) policy.Metrics {
		return m.For(host.Place{Chain: "c", ID: name, Policy: name, Version: "v1.0.0"})
	}
	shared("a").Counter("b_c", "").Add(1)
	shared("a-b").Counter("c", "").Add(1)
	m.Forget(host.Place{Chain: "c", ID: "a", Policy: "a", Version: "v1.0.0"})
	shared("a").Gauge("b_c", "").Set(1)
	if got := gather(t, m); strings.Count(got, "policy_engine_policy_a_b_c") != 1 {
		t.Errorf("a name of two kinds: %s", got)
	}
	// Of a policy that is gone not even the name is left, so that another version
	// may make it again.
	m.Forget(host.Place{Chain: "c", ID: "i", Policy: "rate-limit", Version: "v1.0.0"})
	m.For(host.Place{Chain: "c", ID: "i", Policy: "rate-limit", Version: "v3.0.0"}).Gauge("hits_total", "").Set(1)
	if got := gather(t, m); !strings.Contains(got, "v3.0.0") {
		t.Errorf("lacks what was made again: %s", got)
	}
}

// TestMetricsAreBounded proves that a policy that makes up labels fills neither the
// memory nor the log, and leaves others theirs.
func TestMetricsAreBounded(t *testing.T) {
	var log bytes.Buffer
	m := host.NewMetrics(slog.New(slog.NewTextHandler(&log, nil)))
	bad := m.For(host.Place{Chain: "c", ID: "i", Policy: "bad", Version: "v1.0.0"})
	for i := range 3000 {
		bad.Counter("seen_total", "Seen.", policy.Label{Name: "user", Value: strconv.Itoa(i)}).Add(1)
	}
	bad.Counter("seen_total", "Seen.", policy.Label{Name: "user", Value: "0"}).Add(1)
	m.For(host.Place{Chain: "c", ID: "j", Policy: "good", Version: "v1.0.0"}).Counter("seen_total", "Seen.").Add(1)
	got := gather(t, m)
	if n := strings.Count(got, `name:"user"`); n != 1000 || !strings.Contains(got, "policy_engine_policy_good_seen_total") {
		t.Errorf("%d metrics are exposed", n)
	}
	if n := strings.Count(log.String(), "more metrics"); n != 1 {
		t.Errorf("%d complaints", n)
	}
}

// TestAMetricIsShownOnceItIsUsed proves that a handle takes no room on the page before its first use, and none after its
// place is gone, although the policy still has it.
func TestAMetricIsShownOnceItIsUsed(t *testing.T) {
	m := host.NewMetrics(slog.New(slog.DiscardHandler))
	at := host.Place{Chain: "c", ID: "i", Policy: "p", Version: "v1.0.0"}
	late := m.For(at).Counter("late_total", "")
	if got := gather(t, m); got != "" {
		t.Errorf("before the first use: %s", got)
	}
	late.Add(1)
	if n := testing.AllocsPerRun(100, func() { late.Add(1) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if got := gather(t, m); !strings.Contains(got, "late_total") {
		t.Errorf("after it: %s", got)
	}
	unused := m.For(at).Counter("unused_total", "")
	m.Forget(at)
	late.Add(1)
	unused.Add(1)
	if got := gather(t, m); got != "" {
		t.Errorf("after the place is gone: %s", got)
	}
	shared := host.Place{Policy: "p", Version: "v1.0.0"}
	m.For(shared).Gauge("open", "").Set(1)
	m.For(at).Gauge("others", "").Set(1)
	m.KeepShared(func(p host.Place) bool { return p != shared })
	if got := gather(t, m); strings.Contains(got, "open") || !strings.Contains(got, "others") {
		t.Errorf("after what is shared is gone: %s", got)
	}
}
