package keysource_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"policyengine.dev/policies/jwt-validation/internal/jwttest"
	"policyengine.dev/policies/jwt-validation/internal/keysource"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policytest"
)

func TestReadDocument(t *testing.T) {
	d := &keysource.Discovery{Issuer: "https://login.example/a", Hosts: []string{"keys.example", "keys.example:8443"}}
	const own = `"issuer": "https://login.example/a"`
	for document, want := range map[string]string{
		`{` + own + `, "jwks_uri": "https://login.example/keys", "more": {"jwks_uri": "x"}}`: "",
		`{` + own + `, "jwks_uri": "https://LOGIN.example:443/keys"}`:                        "",
		`{` + own + `, "jwks_uri": "https://keys.example/keys"}`:                             "",
		`{` + own + `, "jwks_uri": "https://keys.example:8443/keys"}`:                        "",
		`{` + own + `, "jwks_uri": "https://login.example:8443/keys"}`:                       "neither the issuer's own",
		`{` + own + `, "jwks_uri": "https://login.example.evil/keys"}`:                       "neither the issuer's own",
		`{` + own + `, "jwks_uri": "https://login.example@evil/keys"}`:                       "a user name",
		`{` + own + `, "jwks_uri": "http://login.example/keys"}`:                             "must be https",
		`{` + own + `, "jwks_uri": "file:///etc/passwd"}`:                                    "must be https",
		`{` + own + `, "JWKS_URI": "https://login.example/keys"}`:                            `there is no "jwks_uri"`,
		`{` + own + `, "jwks_uri": "https://login.example/a", "jwks_uri": "https://evil/"}`:  `"jwks_uri" is there twice`,
		`{` + own + `, "jwks_uri": 7}`:                                                       `"jwks_uri" is not a string`,
		`{"issuer": "https://login.example/A", "jwks_uri": "https://login.example/keys"}`:    `"issuer" is not the issuer`,
		`[]`:   "not one JSON object",
		``:     "not one JSON object",
		`{} x`: `not one JSON object`,
	} {
		_, err := d.ReadDocument([]byte(document))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", document, err, want)
		}
	}
}

// FuzzDocument proves that no document panics, and that an address which is believed is
// https on an allowed host.
func FuzzDocument(f *testing.F) {
	f.Add(`{"issuer": "https://login.example/a", "jwks_uri": "https://keys.example/keys"}`)
	f.Add(`{"issuer": "https://login.example/a", "jwks_uri": "https://login.example:443@evil/keys"}`)
	d := &keysource.Discovery{Issuer: "https://login.example/a", Hosts: []string{"keys.example"}}
	f.Fuzz(func(t *testing.T, document string) {
		address, err := d.ReadDocument([]byte(document))
		if err != nil {
			return
		}
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "https" || u.User != nil || !strings.EqualFold(u.Hostname(), "login.example") && !strings.EqualFold(u.Hostname(), "keys.example") || u.Port() != "" && u.Port() != "443" {
			t.Errorf("%q is believed", address)
		}
	})
}

// certificate writes a self-signed certificate and its key.
func certificate(t *testing.T, dir, name string) (certFile, keyFile string, cert *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	write(t, certFile, "CERTIFICATE", der)
	write(t, keyFile, "PRIVATE KEY", private)
	if cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return certFile, keyFile, cert
}

func write(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// An issuer's own authority, and a client certificate, count for its servers.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile, client := certificate(t, dir, "client")
	otherFile, _, _ := certificate(t, dir, "other")
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, jwttest.JWKS(jwttest.RSA()))
	}))
	pool := x509.NewCertPool()
	pool.AddCert(client)
	server.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	defer server.Close()
	caFile := filepath.Join(dir, "ca.pem")
	write(t, caFile, "CERTIFICATE", server.Certificate().Raw)
	private, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		tls  keysource.TLS
		want string
	}{
		"both":                         {keysource.TLS{CAFile: caFile, CertificateFile: certFile, Key: policy.Secret{File: "/client.key"}}, ""},
		"another authority":            {keysource.TLS{CAFile: otherFile, CertificateFile: certFile, Key: policy.Secret{File: "/client.key"}}, "certificate"},
		"no client certificate":        {keysource.TLS{CAFile: caFile}, "certificate required"},
		"no file":                      {keysource.TLS{CAFile: caFile + "x"}, "reading caFile"},
		"another certificate's key":    {keysource.TLS{CAFile: caFile, CertificateFile: otherFile, Key: policy.Secret{File: "/client.key"}}, "do not fit"},
		"a key that cannot be read":    {keysource.TLS{CAFile: caFile, CertificateFile: certFile, Key: policy.Secret{File: "/gone"}}, "reading the client's key"},
		"a file without a certificate": {keysource.TLS{CAFile: keyFile}, "no certificate in PEM"},
	} {
		t.Run(name, func(t *testing.T) {
			h := policytest.NewHost()
			h.SetFile("/client.key", string(private))
			s := open(t, h, keysource.Place{URL: server.URL, Refresh: policy.Duration(time.Minute), MaxStale: policy.Duration(time.Hour), TLS: c.tls, NoRedirects: true})
			err := start(t, s)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("Start: %v, want %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "PRIVATE") {
				t.Error("the error tells the key")
			}
		})
	}
}
