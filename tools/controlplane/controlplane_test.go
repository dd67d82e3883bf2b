package controlplane_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"policyengine.dev/runtime/config"
	"policyengine.dev/runtime/config/xds"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/strictyaml"
	"policyengine.dev/tools/controlplane"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

// token lets tests change what is served.
const token = "let-me"

const one = "chains: [{name: a, policies: [], bodyLimit: 1}]\nroutes: [{name: r, chain: a}]\n"

// serving is a control plane over a directory.
type serving struct {
	t       *testing.T
	dir     string
	plane   *controlplane.Plane
	address config.Address
}

func (s *serving) write(name, text string) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		s.t.Fatal(err)
	}
	next := filepath.Join(filepath.Dir(path), ".next")
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		s.t.Fatal(err)
	}
}

func serve(t *testing.T, files map[string]string, bind bool, options ...grpc.ServerOption) *serving {
	t.Helper()
	s := &serving{t: t, dir: t.TempDir()}
	for name, text := range files {
		s.write(name, text)
	}
	var err error
	s.plane, err = controlplane.New(t.Context(), controlplane.Options{Dir: s.dir, Bind: bind, Token: token, Poll: 5 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = config.Address{Network: "tcp", Address: l.Addr().String()}
	server := grpc.NewServer(options...)
	s.plane.Register(server)
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { _ = server.Serve(l) })
	all.Go(func() { s.plane.Watch(ctx) })
	t.Cleanup(func() { cancel(); server.Stop(); all.Wait() })
	return s
}

// engine is the client of an engine, which refuses body limits above 1000.
type engine struct {
	t      *testing.T
	source *xds.Source

	mu      sync.Mutex
	inForce string
	history []string
}

func (s *serving) engine(id, cluster string, change func(*xds.Options)) *engine {
	s.t.Helper()
	e := &engine{t: s.t}
	o := xds.Options{
		Servers: []config.XDSServer{{Address: s.address}}, Node: &corev3.Node{Id: id, Cluster: cluster},
		Incremental: true, Backoff: 5 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&o)
	}
	e.source = xds.NewSource(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = e.source.Run(ctx, e.apply) }()
	s.t.Cleanup(func() { cancel(); <-done })
	return e
}

func (e *engine) apply(_ context.Context, u config.Update) error {
	if u.Err != nil {
		return u.Err
	}
	for i, c := range u.Spec.Chains {
		if c.BodyLimit > 1000 {
			at, _ := u.Positions.Position(fmt.Sprintf("chains[%d].bodyLimit", i))
			return strictyaml.Diagnostics{{File: at.Source, Path: at.Field, Problem: "too large"}}
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.inForce = text(u.Spec)
	e.history = append(e.history, e.inForce)
	return nil
}

func text(spec worker.Spec) string {
	var all []string
	for _, c := range spec.Chains {
		all = append(all, fmt.Sprintf("%s(%d)", c.Name, c.BodyLimit))
	}
	for _, r := range spec.Routes {
		all = append(all, r.Name+"->"+r.Chain)
	}
	return strings.Join(all, " ")
}

func (e *engine) has() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.inForce
}

func eventually(t *testing.T, what func() string, want string) {
	t.Helper()
	for end := time.Now().Add(patience); what() != want; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: it is %q, want %q", patience, what(), want)
		}
	}
}

// TestServes proves that engines get the configuration of their clusters over both services
// and in both variants, that a change takes effect as a whole, and that what is invalid is
// not served.
func TestServes(t *testing.T) {
	for _, dedicated := range []bool{false, true} {
		for _, incremental := range []bool{false, true} {
			t.Run(fmt.Sprintf("dedicated %v incremental %v", dedicated, incremental), func(t *testing.T) {
				s := serve(t, map[string]string{"all.yaml": one, "pay/chains.yaml": strings.ReplaceAll(one, "bodyLimit: 1", "bodyLimit: 7")}, false)
				variant := func(o *xds.Options) { o.Dedicated, o.Incremental = dedicated, incremental }
				plain, pay := s.engine("e1", "", variant), s.engine("e2", "pay", variant)
				eventually(t, plain.has, "a(1) r->a")
				eventually(t, pay.has, "a(7) r->a")
				// Each change moves the route to a chain of another name.
				last := ""
				for i := range 20 {
					name := fmt.Sprintf("c%d", i)
					s.write("pay/chains.yaml", fmt.Sprintf("chains: [{name: %s, policies: [], bodyLimit: %d}]\nroutes: [{name: r, chain: %s}]\n", name, i+1, name))
					last = fmt.Sprintf("%s(%d) r->%s", name, i+1, name)
					if i%5 == 0 {
						eventually(t, pay.has, last)
					}
				}
				eventually(t, pay.has, last)
				for _, was := range pay.history {
					if strings.Count(was, "(") != 1 || strings.Count(was, "->") != 1 {
						t.Errorf("a mixture was in force: %s", was)
					}
				}
				s.write("pay/chains.yaml", "chains: [{name: a}]\n")
				eventually(t, func() string { return fmt.Sprint(s.plane.Status().Problems["pay"] != "") }, "true")
				if got := s.plane.Status().Problems["pay"]; !strings.Contains(got, "chains.yaml:1:") || !strings.Contains(got, "policies") {
					t.Errorf("the problem is %q", got)
				}
				s.write("pay/chains.yaml", one)
				eventually(t, pay.has, "a(1) r->a")
				if plain.has() != "a(1) r->a" || len(plain.history) != 1 {
					t.Errorf("another cluster's change has reached %v", plain.history)
				}
			})
		}
	}
}

// TestStatus proves that each engine is shown with what it acknowledged or refused and why.
func TestStatus(t *testing.T) {
	for _, incremental := range []bool{false, true} {
		t.Run(fmt.Sprintf("incremental %v", incremental), func(t *testing.T) {
			s := serve(t, map[string]string{"all.yaml": one}, false)
			e := s.engine("e1", "", func(o *xds.Options) { o.Incremental = incremental })
			eventually(t, e.has, "a(1) r->a")
			accepted := func() string {
				for _, e := range s.plane.Status().Engines {
					if e.ID == "e1" && e.Sent[xds.ChainType] != "" && e.Accepted[xds.ChainType] == e.Sent[xds.ChainType] {
						return "accepted"
					}
				}
				return ""
			}
			eventually(t, accepted, "accepted")
			s.write("all.yaml", strings.ReplaceAll(one, "bodyLimit: 1", "bodyLimit: 5000"))
			refused := func() string {
				for _, e := range s.plane.Status().Engines {
					return e.Refused[xds.ChainType]
				}
				return ""
			}
			eventually(t, refused, `chain "a": bodyLimit: too large`)
			for path, want := range map[string]string{"/": "too large", "/status": `"id": "e1"`} {
				w := httptest.NewRecorder()
				s.plane.Handler().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
				if b, _ := io.ReadAll(w.Result().Body); w.Code != 200 || !strings.Contains(string(b), want) {
					t.Errorf("%s: %d %s", path, w.Code, b)
				}
			}
			s.write("all.yaml", strings.ReplaceAll(one, "bodyLimit: 1", "bodyLimit: 2"))
			eventually(t, e.has, "a(2) r->a")
			eventually(t, refused, "")
		})
	}
}

// TestNothingToServe proves that a directory of which nothing is good is an error with every
// problem.
func TestNothingToServe(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"is empty": {}, "is bad": {"a.yaml": "chains: 1\n", "b/c.yaml": "routes: 2\n"}, "has a bad cluster": {"a b/c.yaml": one},
	} {
		dir := t.TempDir()
		for file, text := range files {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, file)), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, err := controlplane.New(t.Context(), controlplane.Options{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
		if err == nil || len(files) == 2 && (!strings.Contains(err.Error(), "a.yaml:1:") || !strings.Contains(err.Error(), "c.yaml:1:")) {
			t.Errorf("a directory that %s: %v", name, err)
		}
	}
}

// issue makes an authority and a function that makes certificates.
func authority(t *testing.T) (pool *x509.CertPool, caPEM []byte, issue func(names ...string) (cert, key []byte)) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	must(err)
	ca, err = x509.ParseCertificate(der)
	must(err)
	pool = x509.NewCertPool()
	pool.AddCert(ca)
	return pool, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), func(names ...string) (cert, key []byte) {
		c := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
		for _, n := range names {
			if u, err := url.Parse(n); err == nil && u.Scheme != "" {
				c.URIs = append(c.URIs, u)
			} else {
				c.DNSNames = append(c.DNSNames, n)
			}
		}
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(err)
		der, err := x509.CreateCertificate(rand.Reader, c, ca, &k.PublicKey, caKey)
		must(err)
		pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
		must(err)
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	}
}

// TestClustersAreBound proves that an engine gets the configuration of the cluster that its
// certificate names, and of no other, whatever it says.
func TestClustersAreBound(t *testing.T) {
	pool, caPEM, issue := authority(t)
	cert, key := issue("plane.example")
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, map[string]string{"pay/a.yaml": one, "ship/a.yaml": one}, true,
		grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert})))
	for _, c := range []struct{ name, cluster, problem string }{
		{"spiffe://example.org/engines/pay", "pay", ""},
		{"pay", "pay", ""},
		{"spiffe://example.org/engines/pay", "ship", "PermissionDenied"},
		{"spiffe://example.org/engines/pay", "", "PermissionDenied"},
		{"spiffe://example.org/engines/pay", "../pay", "InvalidArgument"},
		{"spiffe://example.org/engines/pay", "pay/../ship", "InvalidArgument"},
		{"", "pay", "PermissionDenied"},
	} {
		t.Run(c.name+" asks for "+strings.ReplaceAll(c.cluster, "/", "_"), func(t *testing.T) {
			dir := t.TempDir()
			cert, key := issue(strings.Fields(c.name)...)
			for name, b := range map[string][]byte{"ca": caPEM, "cert": cert, "key": key} {
				if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			e := (&serving{t: t, address: s.address}).engine("e", c.cluster, func(o *xds.Options) {
				o.Servers[0].TLS = &config.BackendTLS{CA: filepath.Join(dir, "ca"), Certificate: filepath.Join(dir, "cert"), Key: filepath.Join(dir, "key"), ServerName: "plane.example"}
			})
			if c.problem == "" {
				eventually(t, e.has, "a(1) r->a")
				return
			}
			eventually(t, func() string { return fmt.Sprint(strings.Contains(e.source.Status().Problem, c.problem)) }, "true")
			if e.has() != "" {
				t.Errorf("it has %s", e.has())
			}
		})
	}
}
