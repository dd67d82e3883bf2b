package engine_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/credentials"

	"policyengine.dev/runtime/config"
	"policyengine.dev/runtime/engine"
	"policyengine.dev/runtime/worker"
)

// authority makes certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	a.key = a.newKey()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	a.cert = a.parse(a.create(template, template, &a.key.PublicKey, a.key))
	return a
}

func (a *authority) newKey() *ecdsa.PrivateKey {
	a.t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return k
}

func (a *authority) create(template, parent *x509.Certificate, public *ecdsa.PublicKey, key *ecdsa.PrivateKey) []byte {
	a.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		a.t.Fatal(err)
	}
	return der
}

func (a *authority) parse(der []byte) *x509.Certificate {
	a.t.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

// issue makes a certificate for the names, URIs among them, as PEM.
func (a *authority) issue(serial int64, names ...string) (cert, key []byte) {
	a.t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, n := range names {
		if strings.Contains(n, "://") {
			u, err := url.Parse(n)
			if err != nil {
				a.t.Fatal(err)
			}
			template.URIs = append(template.URIs, u)
			continue
		}
		template.DNSNames = append(template.DNSNames, n)
	}
	k := a.newKey()
	der := a.create(template, a.cert, &k.PublicKey, a.key)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		a.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// put writes files that appear as a whole.
func put(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	for name, content := range files {
		next := filepath.Join(dir, name+".next")
		if err := os.WriteFile(next, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// secured is an engine with mTLS and the authority behind it.
type secured struct {
	*running
	*authority
	dir string
}

func startSecured(t *testing.T, sans []string) *secured {
	t.Helper()
	s := &secured{authority: newAuthority(t), dir: t.TempDir()}
	cert, key := s.issue(10, "engine.test")
	put(t, s.dir, map[string][]byte{"cert.pem": cert, "key.pem": key, "ca.pem": s.pem()})
	s.running = start(t, chains("{value: hello}"), func(c *config.Engine) {
		c.Listeners = []config.Listener{{
			Address: config.Address{Network: "tcp", Address: "127.0.0.1:0"},
			TLS: &config.TLS{Certificate: filepath.Join(s.dir, "cert.pem"), Key: filepath.Join(s.dir, "key.pem"),
				ClientCA: filepath.Join(s.dir, "ca.pem"), AllowedSANs: sans},
		}}
	})
	s.waitReady()
	return s
}

// client are the credentials of a client with that certificate, or without one.
func (a *authority) client(by *authority, names ...string) *tls.Config {
	a.t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	c := &tls.Config{RootCAs: roots, ServerName: "engine.test"}
	if by != nil {
		cert, key := by.issue(20, names...)
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			a.t.Fatal(err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c
}

// TestMutualTLS proves who may connect: a certificate of the authority with one of
// the names, and nobody else.
func TestMutualTLS(t *testing.T) {
	s := startSecured(t, []string{"spiffe://prod/envoy", "envoy.test"})
	for _, tt := range []struct {
		name  string
		by    *authority
		names []string
		ok    bool
	}{
		{"the SPIFFE id", s.authority, []string{"spiffe://prod/envoy"}, true},
		{"the DNS name", s.authority, []string{"other.test", "envoy.test"}, true},
		{"another SPIFFE id", s.authority, []string{"spiffe://prod/envoy2"}, false},
		{"an id in another trust domain", s.authority, []string{"spiffe://test/envoy"}, false},
		{"no name at all", s.authority, nil, false},
		{"the name from another authority", newAuthority(t), []string{"spiffe://prod/envoy"}, false},
		{"no certificate", nil, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			reply, err := ask(t, s.dial(credentials.NewTLS(s.client(tt.by, tt.names...))))
			if (err == nil) != tt.ok || tt.ok && greeting(reply) != "hello" {
				t.Errorf("the reply is %v, %v", reply, err)
			}
		})
	}
	t.Run("plaintext", func(t *testing.T) {
		if reply, err := ask(t, s.dial(nil)); err == nil {
			t.Errorf("the reply is %v", reply)
		}
	})
}

// TestAnyCertificateOfTheAuthority proves that without a list of names every one is
// as good as another.
func TestAnyCertificateOfTheAuthority(t *testing.T) {
	s := startSecured(t, nil)
	if reply, err := ask(t, s.dial(credentials.NewTLS(s.client(s.authority, "whoever.test")))); err != nil {
		t.Errorf("the reply is %v, %v", reply, err)
	}
	if reply, err := ask(t, s.dial(credentials.NewTLS(s.client(newAuthority(t), "whoever.test")))); err == nil {
		t.Errorf("the reply is %v", reply)
	}
}

// TestCertificatesAreReadAgain proves that new certificates and authorities take
// effect without a restart, and that broken files leave the old ones.
func TestCertificatesAreReadAgain(t *testing.T) {
	s := startSecured(t, nil)
	serial := func() int64 {
		c, err := tls.Dial("tcp", s.Addr(0).String(), &tls.Config{RootCAs: s.client(nil).RootCAs, ServerName: "engine.test",
			Certificates: s.client(s.authority, "a.test").Certificates, NextProtos: []string{"h2"}})
		if err != nil {
			return 0
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	if n := serial(); n != 10 {
		t.Fatalf("the first certificate has the number %d", n)
	}
	put(t, s.dir, map[string][]byte{"cert.pem": []byte("nothing")})
	cert, key := s.issue(11, "engine.test")
	// Long enough for the broken file to be checked: what follows proves
	// that the connection still works with it in place.
	for end := time.Now().Add(1200 * time.Millisecond); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if n := serial(); n != 10 {
			t.Fatalf("with a broken file the certificate has the number %d", n)
		}
	}
	put(t, s.dir, map[string][]byte{"key.pem": key, "cert.pem": cert})
	until(t, "the new certificate", func() bool { return serial() == 11 })
	other := newAuthority(t)
	put(t, s.dir, map[string][]byte{"ca.pem": other.pem()})
	until(t, "the new authority", func() bool {
		_, err := ask(t, s.dial(credentials.NewTLS(s.client(other, "a.test"))))
		return err == nil
	})
	if reply, err := ask(t, s.dial(credentials.NewTLS(s.client(s.authority, "a.test")))); err == nil {
		t.Errorf("a client of the old authority got %v", reply)
	}
}

// TestCertificatesThatCannotBeRead proves that an engine does not start without what
// it is told to use, and names the file.
func TestCertificatesThatCannotBeRead(t *testing.T) {
	a := newAuthority(t)
	dir := t.TempDir()
	cert, key := a.issue(1, "engine.test")
	_, otherKey := a.issue(2, "engine.test")
	put(t, dir, map[string][]byte{"cert.pem": cert, "key.pem": key, "other.pem": otherKey, "empty.pem": nil})
	in := func(name string) string { return filepath.Join(dir, name) }
	for name, tt := range map[string]struct {
		tls  config.TLS
		want string
	}{
		"no certificate":       {config.TLS{Certificate: in("none.pem"), Key: in("key.pem")}, "none.pem"},
		"the wrong key":        {config.TLS{Certificate: in("cert.pem"), Key: in("other.pem")}, "other.pem"},
		"an authority of none": {config.TLS{Certificate: in("cert.pem"), Key: in("key.pem"), ClientCA: in("empty.pem")}, "empty.pem"},
	} {
		t.Run(name, func(t *testing.T) {
			registry, _ := worker.NewRegistry()
			static := config.DefaultEngine()
			static.Admin.Address = "127.0.0.1:0"
			static.Listeners = []config.Listener{{Address: config.Address{Network: "tcp", Address: "127.0.0.1:0"}, TLS: &tt.tls}}
			_, err := engine.New(static, registry, slog.New(slog.DiscardHandler))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%q is not in %v", tt.want, err)
			}
		})
	}
}

// TestASilentClientIsLetGo proves that a connection on which nothing is said does not
// stay, and keeps nobody from connecting.
func TestASilentClientKeepsNobodyOut(t *testing.T) {
	s := startSecured(t, nil)
	for range 10 {
		c, err := net.Dial("tcp", s.Addr(0).String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
	if reply, err := ask(t, s.dial(credentials.NewTLS(s.client(s.authority, "a.test")))); err != nil {
		t.Errorf("the reply is %v, %v", reply, err)
	}
}
