package keysource

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"policyengine.dev/sdk/policy"
)

// TLS says how an issuer's server is known and what this one shows it. The zero value
// leaves both to the host's client.
type TLS struct {
	// CAFile has the certificates of the authorities that are trusted, and no others,
	// in PEM.
	CAFile string `json:"caFile"`
	// CertificateFile has the client's certificate, with what leads to its authority,
	// in PEM. Key is its private key in PEM, of a file or a variable.
	CertificateFile string        `json:"certificateFile"`
	Key             policy.Secret `json:"key"`
}

// Bounds of a client with TLS of its own.
const (
	tlsTimeout    = 10 * time.Second
	maxPEM        = 1 << 20
	maxReplyBytes = 64 << 10
)

func (t *TLS) isZero() bool { return t.CAFile == "" && t.CertificateFile == "" && t.Key.IsZero() }

func (t *TLS) check() (problems []error) {
	if (t.CertificateFile == "") != t.Key.IsZero() {
		problems = append(problems, errors.New("tls: certificateFile and key go together"))
	}
	if _, inline := t.Key.Inline(); inline {
		problems = append(problems, errors.New("tls.key: give {file: PATH} or {env: NAME}; a private key has no place in parameters"))
	}
	return problems
}

// client returns what gives the client for one load, and ends it. Certificates are read
// for each load, so that new ones count from then on.
func (t *TLS) client(host policy.Host) func() (*http.Client, func(), error) {
	if t.isZero() {
		return func() (*http.Client, func(), error) { return host.HTTP, func() {}, nil }
	}
	var key policy.SecretSource
	if !t.Key.IsZero() {
		key = host.Secrets.Open(t.Key)
	}
	return func() (*http.Client, func(), error) {
		config := &tls.Config{MinVersion: tls.VersionTLS12}
		if err := t.read(config, key); err != nil {
			return nil, nil, err
		}
		transport := &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, ForceAttemptHTTP2: true, DisableKeepAlives: true,
			MaxResponseHeaderBytes: maxReplyBytes, TLSHandshakeTimeout: tlsTimeout, ResponseHeaderTimeout: tlsTimeout,
		}
		return &http.Client{Transport: transport, Timeout: tlsTimeout}, transport.CloseIdleConnections, nil
	}
}

func (t *TLS) read(config *tls.Config, key policy.SecretSource) error {
	if t.CAFile != "" {
		pem, err := readPEM(t.CAFile)
		if err != nil {
			return fmt.Errorf("reading caFile: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return errors.New("reading caFile: it has no certificate in PEM")
		}
	}
	if t.CertificateFile == "" {
		return nil
	}
	pem, err := readPEM(t.CertificateFile)
	if err != nil {
		return fmt.Errorf("reading certificateFile: %w", err)
	}
	private, err := key.Value()
	if err != nil {
		return fmt.Errorf("reading the client's key: %w", err)
	}
	pair, err := tls.X509KeyPair(pem, []byte(private))
	if err != nil {
		// The error may tell of the key.
		return errors.New("the client's certificate and key do not fit, or are not PEM")
	}
	config.Certificates = []tls.Certificate{pair}
	return nil
}

func readPEM(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // nothing was written
	data, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	if err == nil && len(data) > maxPEM {
		err = fmt.Errorf("it is larger than %d bytes", maxPEM)
	}
	return data, err
}
