package upstreamtoken_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	upstreamtoken "policyengine.dev/examples/policies/upstream-token/v1.0.0"
	"policyengine.dev/sdk/policytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const params = `
url: https://login.example.com/token
clientID: gateway
clientSecret: {file: /run/secret}
`

// issuer is a token endpoint whose tokens are numbered and live for 100 seconds.
type issuer struct {
	issued atomic.Int32
	down   atomic.Bool
}

func (i *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	body, err := io.ReadAll(r.Body)
	switch {
	case err != nil:
		return nil, err
	case i.down.Load():
		w.WriteHeader(http.StatusServiceUnavailable)
	case !strings.Contains(string(body), "client_secret=the-secret"):
		w.WriteHeader(http.StatusUnauthorized)
	default:
		fmt.Fprintf(w, `{"access_token": "token-%d", "expires_in": 100}`, i.issued.Add(1))
	}
	return w.Result(), nil
}

func host(i *issuer) *policytest.Host {
	h := policytest.NewHost()
	h.HTTP = i
	h.Secrets.SetFile("/run/secret", "the-secret")
	return h
}

func TestATokenIsSetAndRenewed(t *testing.T) {
	i := &issuer{}
	h := host(i)
	p := policytest.New(t, upstreamtoken.Policy, params, policytest.WithHost(h))
	authorization := func() string { return p.Send(t, policytest.Request{}).Request.Header("authorization") }
	if got := authorization(); got != "Bearer token-1" {
		t.Errorf("the upstream sees %q", got)
	}
	wait(t, "the timer", func() bool { return h.Clock.Timers() == 1 })
	h.Clock.Advance(79 * time.Second)
	if got := authorization(); got != "Bearer token-1" {
		t.Errorf("before its time the upstream sees %q", got)
	}
	h.Clock.Advance(2 * time.Second)
	wait(t, "the new token", func() bool { return authorization() == "Bearer token-2" })
}

// TestWithoutAToken proves that a token that ran out is not used, and that the policy
// recovers.
func TestWithoutAToken(t *testing.T) {
	i := &issuer{}
	h := host(i)
	p := policytest.New(t, upstreamtoken.Policy, params, policytest.WithHost(h))
	wait(t, "the timer", func() bool { return h.Clock.Timers() == 1 })
	i.down.Store(true)
	h.Clock.Advance(101 * time.Second)
	if err := p.SendError(t, policytest.Request{}); !strings.Contains(err.Error(), "no valid token") {
		t.Error(err)
	}
	wait(t, "the failure", func() bool { return h.Metrics.Value("token_fetch_failures_total") == 1 && h.Clock.Timers() == 1 })
	i.down.Store(false)
	h.Clock.Advance(time.Second)
	wait(t, "another token", func() bool { return i.issued.Load() == 2 && h.Clock.Timers() == 1 })
	p.Send(t, policytest.Request{}).WantPassed(t)
	if strings.Contains(h.Logs.String(), "the-secret") {
		t.Error("the secret is in the log")
	}
}

func TestANewInstanceTakesTheTokenOver(t *testing.T) {
	i := &issuer{}
	old := policytest.New(t, upstreamtoken.Policy, params, policytest.WithHost(host(i)))
	for name, tt := range map[string]struct{ params, want string }{
		"with the same parameters": {params, "Bearer token-1"},
		"with others":              {strings.Replace(params, "gateway", "other", 1), "Bearer token-2"},
	} {
		t.Run(name, func(t *testing.T) {
			p := policytest.New(t, upstreamtoken.Policy, tt.params, policytest.WithHost(host(i)), policytest.WithoutStart())
			u := p.Instance.(*upstreamtoken.UpstreamToken)
			u.Adopt(old.Instance)
			if err := u.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := p.Send(t, policytest.Request{}).Request.Header("authorization"); got != tt.want {
				t.Errorf("the upstream sees %q, want %q", got, tt.want)
			}
		})
	}
}

// wait waits for something that another goroutine does.
func wait(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
