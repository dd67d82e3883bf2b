package apikeyvalidation_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	apikey "policyengine.dev/policies/api-key-validation/v1.1.0"
	"policyengine.dev/runtime/host"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policy/sharing"
	"policyengine.dev/sdk/policytest"
)

// file is a key file with the keys KEY-0 to KEY-(n-1) of each name.
func file(n int, names ...string) string {
	var b strings.Builder
	b.WriteString(`{"keys": [`)
	for _, name := range names {
		for i := range n {
			if b.Len() > 10 {
				b.WriteString(",\n")
			}
			fmt.Fprintf(&b, `{"id": "%s", "sha256": %q, "scopes": ["payments:read"]}`, name, hash(fmt.Sprintf("%s-%d", name, i)))
		}
	}
	b.WriteString("]}\n")
	return b.String()
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long for %s", what)
		}
	}
}

const fromFile = `{header: x-api-key, keysFrom: {file: /keys.json}}`

// TestReload proves that a changed file takes effect whole, and a bad one not at all.
func TestReload(t *testing.T) {
	h := policytest.NewHost()
	h.SetFile("/keys.json", file(1, "old"))
	p := policytest.New(t, apikey.Policy, fromFile, policytest.WithHost(h))
	p.Send(t, bearing("old-0")).WantPassed(t)
	change := func(content string) {
		t.Helper()
		h.SetFile("/keys.json", content)
		eventually(t, "the background to wait", func() bool { return h.Clock.Timers() == 1 })
		h.Clock.Advance(time.Second)
		eventually(t, "the background to wait again", func() bool { return h.Clock.Timers() == 1 })
	}
	change(file(1, "old", "new"))
	p.Send(t, bearing("old-0")).WantPassed(t)
	p.Send(t, bearing("new-0")).WantPassed(t)
	change(file(1, "new"))
	p.Send(t, bearing("old-0")).WantRejected(t, 401, apikey.ReasonInvalid)
	for _, bad := range []string{"", "{}", file(1, "new", "other")[:150], file(1, "new", "new")} {
		change(bad)
		p.Send(t, bearing("new-0")).WantPassed(t)
	}
	if !strings.Contains(h.Logs.String(), "keys[1].sha256: an earlier key has it already") {
		t.Errorf("the log does not say what was wrong:\n%s", h.Logs)
	}
	label := policy.Label{Name: "source", Value: "file /keys.json"}
	if n := h.Metrics.Value("api_keys", label); n != 1 {
		t.Errorf("api_keys is %v", n)
	}
	if n := h.Metrics.Value("api_key_loads_total", label, policy.Label{Name: "outcome", Value: "failure"}); n != 4 {
		t.Errorf("%v loads have failed", n)
	}
	change(`{"keys": []}`)
	p.Send(t, bearing("new-0")).WantRejected(t, 401, apikey.ReasonInvalid)
}

// TestBeforeKeysAreThere proves that a request is an error, and neither passes nor is
// refused, while the keys have not been read; and that they are found later.
func TestBeforeKeysAreThere(t *testing.T) {
	h := policytest.NewHost()
	p := policytest.New(t, apikey.Policy, fromFile, policytest.WithHost(h), policytest.WithoutStart())
	if err := p.SendError(t, bearing("a-0")); strings.Contains(err.Error(), "a-0") {
		t.Error("the key is in the error")
	}
	if err := p.Instance.(policy.Starter).Start(t.Context()); err == nil {
		t.Error("Start succeeds without a file")
	}
	_ = p.SendError(t, bearing("a-0"))
	p.Send(t, policytest.Request{}).WantRejected(t, 401, apikey.ReasonMissing)
	h.SetFile("/keys.json", file(1, "a"))
	eventually(t, "the background to wait", func() bool { return h.Clock.Timers() == 1 })
	h.Clock.Advance(time.Second)
	eventually(t, "the keys", func() bool {
		return h.Metrics.Value("api_keys", policy.Label{Name: "source", Value: "file /keys.json"}) == 1
	})
	p.Send(t, bearing("a-0")).WantPassed(t)
}

// TestAnEmptyDirectoryIsAnError proves that a mount that is not there refuses nobody.
func TestAnEmptyDirectoryIsAnError(t *testing.T) {
	h := policytest.NewHost()
	h.SetFile("/keys/a.txt", "x")
	p := policytest.New(t, apikey.Policy, `{header: x-api-key, keysFrom: {directory: /keys}}`, policytest.WithHost(h), policytest.WithoutStart())
	if err := p.Instance.(policy.Starter).Start(t.Context()); err == nil || !strings.Contains(err.Error(), "no file whose name ends in .json") {
		t.Errorf("Start: %v", err)
	}
}

// TestInstancesShareTheKeys proves that many chains hold one copy, which ends with the
// last of them.
func TestInstancesShareTheKeys(t *testing.T) {
	h := policytest.NewHost()
	h.SetFile("/keys.json", file(1, "a"))
	var all []*policytest.Policy
	for i := range 20 {
		all = append(all, policytest.New(t, apikey.Policy, fmt.Sprintf(`{header: x-api-key, idHeader: x-owner-%d, keysFrom: {file: /keys.json}}`, i), policytest.WithHost(h)))
	}
	if n := h.Shared.Len(); n != 1 {
		t.Errorf("there are %d stores", n)
	}
	label := []policy.Label{{Name: "source", Value: "file /keys.json"}, {Name: "outcome", Value: "success"}}
	if n := h.Metrics.Value("api_key_loads_total", label...); n != 1 {
		t.Errorf("the file has been read %v times", n)
	}
	for _, p := range all {
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		p.Send(t, bearing("a-0")).WantPassed(t) // requests that are still under way
	}
	if n := h.Shared.Len(); n != 0 || h.Clock.Timers() != 0 {
		t.Errorf("%d stores and %d timers are left", n, h.Clock.Timers())
	}
}

// TestAPepperThatChanges proves that the pepper's present value counts.
func TestAPepperThatChanges(t *testing.T) {
	mac := func(pepper string) string {
		m := hmac.New(sha256.New, []byte(pepper))
		_, _ = m.Write([]byte("good"))
		return hex.EncodeToString(m.Sum(nil))
	}
	h := policytest.NewHost()
	h.SetFile("/pepper", "the pepper of last year")
	p := policytest.New(t, apikey.Policy, fmt.Sprintf(`{header: x-api-key, peppers: [{file: /pepper}], keys: [{id: a, hmacSha256: %q}]}`, mac("the pepper of this year")), policytest.WithHost(h))
	p.Send(t, bearing("good")).WantRejected(t, 401, apikey.ReasonInvalid)
	h.SetFile("/pepper", "the pepper of this year")
	p.Send(t, bearing("good")).WantPassed(t)
	h.SetFile("/pepper", "short")
	if err := p.SendError(t, bearing("good")); strings.Contains(err.Error(), "short ") {
		t.Errorf("the pepper is told: %v", err)
	}
}

// TestNoGoodKeyIsRefusedDuringReloads proves, with the engine's own files and clock and
// 100,000 keys, that keys which every version of the file has pass at every moment, while
// requests and reloads run at the same time.
func TestNoGoodKeyIsRefusedDuringReloads(t *testing.T) {
	n := 50_000
	if testing.Short() {
		n = 1000 // for the race detector
	}
	path := filepath.Join(t.TempDir(), "keys.json")
	versions := []string{file(n, "stays", "odd"), file(n, "stays", "even"), "{broken"}
	write := func(i int) {
		t.Helper()
		if err := os.WriteFile(path+".next", []byte(versions[i%len(versions)]), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".next", path); err != nil {
			t.Fatal(err)
		}
	}
	write(0)
	test := policytest.NewHost()
	own := test.Policy()
	// The engine's files, which look at a file again after a second, and a clock that
	// makes seconds pass fast.
	clock := &fastClock{}
	own.Clock, own.Files, own.Logger = clock, host.NewFiles(clock), slog.New(slog.DiscardHandler)
	scope := (&sharing.Registry{}).Scope(nil, func() policy.Host { return own })
	own.Shared = scope
	t.Cleanup(func() { _ = scope.Close() })
	instance, err := apikey.Policy.Build(fmt.Appendf(nil, `{"header": "x-api-key", "keysFrom": {"file": %q}}`, path), own)
	if err != nil {
		t.Fatal(err)
	}
	v := instance.(*apikey.Validator)
	if err := v.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var requests atomic.Int64
	for w := range 2 {
		wg.Go(func() {
			for i := w; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				req := request(fmt.Sprintf("stays-%d", i*7919%n))
				a, err := v.OnRequestHeaders(t.Context(), &req)
				if _, refused := a.(*policy.ImmediateResponse); err != nil || refused {
					t.Errorf("a good key is refused: %v, %v", a, err)
					return
				}
				requests.Add(1)
			}
		})
	}
	const reloads = 6
	label := []policy.Label{{Name: "source", Value: "file " + path}, {Name: "outcome", Value: ""}}
	loads := func() (n float64) {
		for _, outcome := range []string{"success", "failure"} {
			label[1].Value = outcome
			n += test.Metrics.Value("api_key_loads_total", label...)
		}
		return n
	}
	for i := range reloads {
		write(i + 1)
		before := float64(i + 1)
		eventually(t, "a reload", func() bool { return loads() > before || t.Failed() })
	}
	close(stop)
	wg.Wait()
	t.Logf("%d requests during %d reloads of %d keys", requests.Load(), reloads, 2*n)
}

// fastClock makes a second pass in a millisecond.
type fastClock struct{}

var began = time.Now()

func (*fastClock) Now() time.Time { return began.Add(1000 * time.Since(began)) }
func (*fastClock) NewTimer(d time.Duration) policy.Timer {
	return fastTimer{time.NewTimer(d / 1000)}
}

type fastTimer struct{ t *time.Timer }

func (t fastTimer) C() <-chan time.Time { return t.t.C }
func (t fastTimer) Stop() bool          { return t.t.Stop() }

// TestMemory reports what 100,000 keys take.
func TestMemory(t *testing.T) {
	h := policytest.NewHost()
	h.SetFile("/keys.json", file(100_000, "a"))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	p := policytest.New(t, apikey.Policy, fromFile, policytest.WithHost(h))
	runtime.GC()
	runtime.ReadMemStats(&after)
	perKey := float64(after.HeapAlloc-before.HeapAlloc) / 100_000
	t.Logf("%.0f bytes a key", perKey)
	if perKey > 600 {
		t.Errorf("a key takes %.0f bytes, want at most 600", perKey)
	}
	p.Send(t, bearing("a-99999")).WantPassed(t)
}
