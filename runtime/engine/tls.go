package engine

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"policyengine.dev/runtime/config"
)

// checkInterval is how old what is known of the certificates' files may be. They
// are checked when a connection comes, which is rare: Envoy keeps few for long.
const checkInterval = time.Second

// certificates are a listener's, read again when their files change. Safe for
// concurrent use.
type certificates struct {
	files  config.TLS
	logger *slog.Logger
	now    func() time.Time
	// server is what a connection is begun with; it chooses the current one.
	server *tls.Config

	mu      sync.Mutex
	current *tls.Config
	looked  time.Time
	seen    []fs.FileInfo
}

// newCertificates reads the files of t.
func newCertificates(t *config.TLS, logger *slog.Logger, now func() time.Time) (*certificates, error) {
	c := &certificates{files: *t, logger: logger, now: now}
	seen, err := c.stat()
	if err != nil {
		return nil, err
	}
	if c.current, err = c.read(); err != nil {
		return nil, err
	}
	c.seen, c.looked = seen, now()
	c.server = &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return c.get(), nil
		},
	}
	return c, nil
}

// get returns the current configuration. Where the files have become unreadable, or
// do not fit each other, as happens while they are being replaced, the last good one
// stays.
func (c *certificates) get() *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if now.Sub(c.looked) < checkInterval {
		return c.current
	}
	c.looked = now
	seen, err := c.stat()
	if err == nil && slices.EqualFunc(seen, c.seen, same) {
		return c.current
	}
	next := c.current
	if err == nil {
		next, err = c.read()
	}
	if err != nil {
		c.logger.Error("certificates cannot be reloaded; the last valid ones stay in use", slog.Any("error", err))
		return c.current
	}
	c.current, c.seen = next, seen
	c.logger.Info("certificates read again", slog.String("certificate", c.files.Certificate))
	return next
}

func same(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

func (c *certificates) paths() []string {
	paths := []string{c.files.Certificate, c.files.Key}
	if c.files.ClientCA != "" {
		paths = append(paths, c.files.ClientCA)
	}
	return paths
}

func (c *certificates) stat() ([]fs.FileInfo, error) {
	var all []fs.FileInfo
	for _, path := range c.paths() {
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		all = append(all, info)
	}
	return all, nil
}

var errNoCA = errors.New("it holds no certificate")

// read makes a configuration of the files.
func (c *certificates) read() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(c.files.Certificate, c.files.Key)
	if err != nil {
		return nil, fmt.Errorf("reading %s and %s: %w", c.files.Certificate, c.files.Key, err)
	}
	t := &tls.Config{
		Certificates: []tls.Certificate{pair},
		// Envoy, as a client, speaks TLS 1.2 unless it is told otherwise.
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"h2"},
		// A resumed session would outlive the authority that let it in.
		SessionTicketsDisabled: true,
	}
	if c.files.ClientCA == "" {
		return t, nil
	}
	pem, err := os.ReadFile(c.files.ClientCA)
	if err != nil {
		return nil, err
	}
	t.ClientCAs = x509.NewCertPool()
	if !t.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("reading %s: %w", c.files.ClientCA, errNoCA)
	}
	t.ClientAuth = tls.RequireAndVerifyClientCert
	t.VerifyConnection = c.verify
	return t, nil
}

var errNotAllowed = errors.New("the client's certificate has none of the allowed names")

// verify holds a client's certificate, which is known to be valid, against the list
// of names that may connect.
func (c *certificates) verify(state tls.ConnectionState) error {
	if len(c.files.AllowedSANs) == 0 {
		return nil
	}
	leaf := state.PeerCertificates[0]
	for _, name := range leaf.DNSNames {
		// What looks like a URI is compared with URIs alone.
		if !strings.Contains(name, "://") && slices.Contains(c.files.AllowedSANs, name) {
			return nil
		}
	}
	for _, uri := range leaf.URIs {
		if slices.Contains(c.files.AllowedSANs, uri.String()) {
			return nil
		}
	}
	return errNotAllowed
}
