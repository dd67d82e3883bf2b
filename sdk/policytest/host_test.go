package policytest_test

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policytest"
)

func TestClock(t *testing.T) {
	start := time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)
	c := policytest.NewClock(start)
	fired := func(t policy.Timer) string {
		select {
		case at := <-t.C():
			return at.Sub(start).String()
		default:
			return "not"
		}
	}
	now, soon, later, stopped := c.NewTimer(0), c.NewTimer(time.Second), c.NewTimer(time.Minute), c.NewTimer(time.Second)
	if got := fired(now); got != "0s" {
		t.Errorf("a timer of no duration fired %s", got)
	}
	if c.Timers() != 3 || !stopped.Stop() || stopped.Stop() || c.Timers() != 2 {
		t.Errorf("%d timers are left", c.Timers())
	}
	c.Advance(30 * time.Second)
	if a, b, s := fired(soon), fired(later), fired(stopped); a != "1s" || b != "not" || s != "not" {
		t.Errorf("after 30s the timers fired %s, %s, %s", a, b, s)
	}
	if soon.Stop() {
		t.Error("a timer that fired was stopped")
	}
	c.Advance(30 * time.Second)
	if got := fired(later); got != "1m0s" || c.Timers() != 0 {
		t.Errorf("after a minute the timer fired %s", got)
	}
	if got := c.Now().Sub(start); got != time.Minute {
		t.Errorf("the clock moved by %v", got)
	}
}

func TestSecrets(t *testing.T) {
	h := policytest.NewHost()
	s := h.Policy().Secrets
	file, env := s.Open(policy.Secret{File: "/run/key"}), s.Open(policy.Secret{Env: "KEY"})
	for _, source := range []policy.SecretSource{file, env} {
		if v, err := source.Value(); err == nil || !strings.Contains(err.Error(), "does not have it") {
			t.Errorf("an unknown secret is %q, %v", v, err)
		}
	}
	h.Secrets.SetFile("/run/key", "one")
	h.Secrets.SetEnv("KEY", "two")
	h.Secrets.SetFile("/run/key", "three") // a source sees the change
	for want, source := range map[string]policy.SecretSource{"three": file, "two": env, "four": s.Open(policy.InlineSecret("four"))} {
		if v, err := source.Value(); v != want || err != nil {
			t.Errorf("the secret is %q, %v, want %q", v, err, want)
		}
	}
}

func TestMetrics(t *testing.T) {
	h := policytest.NewHost()
	m := h.Policy().Metrics
	hit, miss := policy.Label{Name: "result", Value: "hit"}, policy.Label{Name: "kind", Value: "x"}
	m.Counter("lookups_total", "", hit, miss).Add(1)
	m.Counter("lookups_total", "", miss, hit).Add(2)
	m.Gauge("entries", "").Set(7)
	m.Histogram("size_bytes", "", []float64{1, 2}).Observe(3)
	m.Histogram("size_bytes", "", []float64{1, 2}).Observe(4)
	if got := h.Metrics.Value("lookups_total", miss, hit); got != 3 {
		t.Errorf("the counter is %v", got)
	}
	if h.Metrics.Value("entries") != 7 || h.Metrics.Value("size_bytes") != 7 || h.Metrics.Count("size_bytes") != 2 || h.Metrics.Value("nothing") != 0 {
		t.Error("a metric is not as it was set")
	}
	if got := h.Metrics.Names(); !slices.Equal(got, []string{"entries", `lookups_total{kind="x",result="hit"}`, "size_bytes"}) {
		t.Errorf("the metrics are %q", got)
	}
	for name, f := range map[string]func(){
		"a bad name":               func() { m.Counter("a-b", "") },
		"no name":                  func() { m.Gauge("", "") },
		"one name for two kinds":   func() { m.Gauge("lookups_total", "") },
		"buckets that do not rise": func() { m.Histogram("h", "", []float64{2, 1}) },
		"a counter that falls":     func() { m.Counter("lookups_total", "", hit, miss).Add(-1) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s is taken", name)
				}
			}()
			f()
		}()
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestHTTPAndLogs(t *testing.T) {
	h := policytest.NewHost()
	if _, err := h.Policy().HTTP.Get("https://keys.example/"); !errors.Is(err, policytest.ErrNoHTTP) {
		t.Errorf("a fetch gives %v", err)
	}
	h.HTTP = roundTripper(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(r.URL.Path))}, nil
	})
	resp, err := h.Policy().HTTP.Get("https://keys.example/jwks")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if b, _ := io.ReadAll(resp.Body); string(b) != "/jwks" {
		t.Errorf("the fetch gave %q", b)
	}
	h.Policy().Logger.Debug("looked up", "entries", 3)
	if got := h.Logs.String(); !strings.Contains(got, "looked up") || !strings.Contains(got, "entries=3") {
		t.Errorf("the log is %q", got)
	}
}
