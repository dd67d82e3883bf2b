package host_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"policyengine.dev/runtime/host"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policy/sharing"
	"policyengine.dev/sdk/policytest"
)

// backend opens a backend of the engine's own, with a clock and metrics of a test.
func backend(t *testing.T, backends *host.Backends, ref policy.BackendRef) (*policy.Backend, error) {
	t.Helper()
	h := policytest.NewHost().Policy()
	h.Backends = backends
	var shared sharing.Registry
	scope := shared.Scope("v1", func() policy.Host { return h })
	t.Cleanup(func() {
		if err := scope.Close(); err != nil || shared.Len() != 0 {
			t.Errorf("closing the backend: %v, %d are left", err, shared.Len())
		}
	})
	h.Shared = scope
	return policy.OpenBackend(h, ref)
}

// TestBackendOverHTTP proves what a real server is asked and what of its answers counts.
func TestBackendOverHTTP(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/base/elsewhere":
			http.Redirect(w, r, "/base/ok", http.StatusFound)
		case "/base/announced":
			w.Header().Set("Content-Length", "2000000")
		case "/base/endless":
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		case "/base/hangs":
			<-r.Context().Done()
		case "/base/breaks":
			panic(http.ErrAbortHandler)
		default:
			w.Header().Set("X-Path", r.URL.Path)
			_, _ = w.Write([]byte("fine"))
		}
	}))
	defer server.Close()
	b, err := backend(t, host.NewBackends(nil), policy.BackendRef(server.URL+"/base"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	resp, err := b.Do(ctx, nil, policy.BackendRequest{Path: "/ok"})
	if err != nil || resp.Status != 200 || string(resp.Body) != "fine" || resp.Header.Get("X-Path") != "/base/ok" {
		t.Errorf("%+v, %v", resp, err)
	}
	for path, want := range map[string]error{"/elsewhere": policy.ErrBackendRedirect, "/announced": policy.ErrBackendTooLarge, "/endless": policy.ErrBackendTooLarge} {
		if _, err := b.Do(ctx, nil, policy.BackendRequest{Path: path}); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
	if _, err := b.Do(ctx, nil, policy.BackendRequest{Path: "/breaks"}); err == nil || strings.Contains(err.Error(), server.URL) {
		t.Errorf("a connection that breaks: %v", err)
	}
	short, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := b.Do(short, nil, policy.BackendRequest{Path: "/hangs"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("past the step's deadline: %v", err)
	}
}

// TestBackendTimeout proves that a backend's own timeout holds where the step has more time.
func TestBackendTimeout(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer server.Close()
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	b, err := backend(t, host.NewBackends([]host.Backend{{Name: "slow", URL: u, Timeout: 10 * time.Millisecond}}), "slow")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if _, err := b.Do(ctx, nil, policy.BackendRequest{}); !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
		t.Error(err)
	}
}

// TestBackendNames proves that a name that nobody has declared is told with those that are.
func TestBackendNames(t *testing.T) {
	u := &url.URL{Scheme: "https", Host: "h"}
	for name, tt := range map[string]struct {
		declared []host.Backend
		want     string
	}{
		"none": {nil, "declares no backends"}, "others": {[]host.Backend{{Name: "b", URL: u}, {Name: "a", URL: u}}, "declares a, b"},
		"without its files": {[]host.Backend{{Name: "authz", URL: u, TLS: host.BackendTLS{CA: "/nowhere.pem"}}}, "nowhere.pem"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := backend(t, host.NewBackends(tt.declared), "authz"); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q in it", err, tt.want)
			}
		})
	}
}

// TestBackendTLS proves that a backend of a private authority is asked if that is declared, with
// the engine's own certificate, and is not trusted otherwise.
func TestBackendTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, DNSNames: []string{"authz.internal"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, bytes []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	certificate, keyFile := write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", private)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) == 0 {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, ClientAuth: tls.RequestClientCert}
	server.StartTLS()
	defer server.Close()
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		tls    host.BackendTLS
		status int
	}{
		"not trusted":     {host.BackendTLS{}, 0},
		"trusted":         {host.BackendTLS{CA: certificate}, 401},
		"with our own":    {host.BackendTLS{CA: certificate, Certificate: certificate, Key: keyFile}, 200},
		"by its name":     {host.BackendTLS{CA: certificate, ServerName: "authz.internal"}, 401},
		"by another name": {host.BackendTLS{CA: certificate, ServerName: "other.internal"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := backend(t, host.NewBackends([]host.Backend{{Name: "authz", URL: u, TLS: tt.tls}}), "authz")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			resp, err := b.Do(ctx, nil, policy.BackendRequest{})
			if tt.status == 0 && err == nil || tt.status != 0 && (err != nil || resp.Status != tt.status) {
				t.Errorf("%+v, %v; want status %d", resp, err, tt.status)
			}
		})
	}
}
