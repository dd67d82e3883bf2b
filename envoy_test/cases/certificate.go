package cases

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
	"net/url"
	"testing"
	"time"
)

// Certificate is one that a client shows. The suite's authority has issued it.
type Certificate struct {
	// URI, DNS and Subject (a common name) are what it names; "" names none.
	URI     string `yaml:"uri"`
	DNS     string `yaml:"dns"`
	Subject string `yaml:"subject"`
}

// serverName is what the listener's certificate names.
const serverName = "envoy.example"

// authority issues the certificates of a suite, which nobody else trusts.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "the suite's authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key}
}

func (a *authority) issue(c Certificate) (tls.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), Subject: pkix.Name{CommonName: c.Subject},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if c.URI != "" {
		u, err := url.Parse(c.URI)
		if err != nil {
			return tls.Certificate{}, err
		}
		template.URIs = []*url.URL{u}
	}
	if c.DNS != "" {
		template.DNSNames = []string{c.DNS}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// client is how a client speaks TLS that shows the certificate, or none.
func (a *authority) client(c *Certificate) (*tls.Config, error) {
	trusted := x509.NewCertPool()
	trusted.AddCert(a.cert)
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: serverName, RootCAs: trusted}
	if c == nil {
		return config, nil
	}
	own, err := a.issue(*c)
	if err != nil {
		return nil, fmt.Errorf("making the client's certificate: %w", err)
	}
	config.Certificates = []tls.Certificate{own}
	return config, nil
}

// listener is Envoy's filter chain that verifies clients' certificates.
func (a *authority) listener(t *testing.T) map[string]any {
	t.Helper()
	own, err := a.issue(Certificate{DNS: serverName})
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(own.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	inline := func(kind string, der []byte) map[string]any {
		return map[string]any{"inline_string": string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))}
	}
	return map[string]any{"transport_socket": map[string]any{
		"name": "envoy.transport_sockets.tls",
		"typed_config": map[string]any{
			"@type":                      "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
			"require_client_certificate": false,
			"common_tls_context": map[string]any{
				"tls_certificates": []any{map[string]any{
					"certificate_chain": inline("CERTIFICATE", own.Certificate[0]), "private_key": inline("PRIVATE KEY", key),
				}},
				"validation_context": map[string]any{"trusted_ca": inline("CERTIFICATE", a.cert.Raw)},
			},
		},
	}}
}
