package host

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"policyengine.dev/sdk/policy"
)

// Backend declares a server that policies may ask by its name.
type Backend struct {
	// Name is what parameters refer to.
	Name string
	// URL is absolute, with http or https, without user information and query.
	URL *url.URL
	// Timeout bounds a request, beside the step's own deadline; 0 leaves it at that.
	Timeout time.Duration
	// MaxConcurrent, MaxResponse, Failures and Pause are those of policy.BackendTarget; 0 is
	// the default.
	MaxConcurrent int
	MaxResponse   int64
	Failures      int
	Pause         time.Duration
	// TLS is for https. Its files are read by [NewBackends] once.
	TLS BackendTLS
}

// BackendTLS is how a backend is trusted. The zero value trusts the system's authorities, and
// shows no certificate.
type BackendTLS struct {
	// CA is the PEM file of the authorities instead of the system's.
	CA string
	// Certificate and Key are the PEM files of the engine's own certificate.
	Certificate, Key string
	// ServerName is the name that the backend's certificate has to carry, instead of the
	// URL's host.
	ServerName string
}

// Backends knows the servers that policies may ask: those that are declared, and any URL. Safe
// for concurrent use.
type Backends struct {
	named map[policy.BackendRef]policy.BackendTarget
	tls   map[policy.BackendRef]*tls.Config
	// unusable says why a backend cannot be asked.
	unusable map[policy.BackendRef]error
}

// NewBackends returns the backends that are declared. It reads the files of TLS. What is wrong
// with them is the error of Target for that backend, so that chains which do without it work.
func NewBackends(declared []Backend) *Backends {
	b := &Backends{named: map[policy.BackendRef]policy.BackendTarget{}, tls: map[policy.BackendRef]*tls.Config{}, unusable: map[policy.BackendRef]error{}}
	for _, d := range declared {
		ref := policy.BackendRef(d.Name)
		config, err := d.TLS.config()
		if err != nil {
			b.unusable[ref] = fmt.Errorf("the backend %s of engine.yaml cannot be used: %w", d.Name, err)
		}
		b.tls[ref] = config
		b.named[ref] = policy.BackendTarget{
			Name: d.Name, URL: d.URL, Timeout: d.Timeout, MaxConcurrent: d.MaxConcurrent, MaxResponse: d.MaxResponse, Failures: d.Failures, Pause: d.Pause,
		}
	}
	return b
}

func (t BackendTLS) config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("reading its authorities: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("reading its authorities: %s holds no certificate", t.CA)
		}
	}
	if t.Certificate != "" || t.Key != "" {
		own, err := tls.LoadX509KeyPair(t.Certificate, t.Key)
		if err != nil {
			return nil, fmt.Errorf("reading the engine's certificate for it: %w", err)
		}
		c.Certificates = []tls.Certificate{own}
	}
	return c, nil
}

// Target implements policy.Backends. Each call returns its own transport, which belongs to
// the caller.
func (b *Backends) Target(ref policy.BackendRef) (policy.BackendTarget, error) {
	u, err := ref.URL()
	if err != nil {
		return policy.BackendTarget{}, err
	}
	t, ok := policy.BackendTarget{}, true
	if u != nil {
		t.Name, t.URL = u.Host, u
	} else if t, ok = b.named[ref]; !ok {
		if len(b.named) == 0 {
			return t, fmt.Errorf("there is no backend %q: engine.yaml declares no backends", ref)
		}
		var names []string
		for _, name := range slices.Sorted(maps.Keys(b.named)) {
			names = append(names, string(name))
		}
		return t, fmt.Errorf("no backend is called %q: engine.yaml declares %s", ref, strings.Join(names, ", "))
	}
	if err := b.unusable[ref]; err != nil {
		return t, err
	}
	t.Transport = backendTransport(b.tls[ref], t.MaxConcurrent)
	return t, nil
}

// backendTransport is the transport to one backend. It uses no proxy: backends are servers
// of one's own.
func backendTransport(config *tls.Config, concurrent int) *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy = nil
	t.DisableCompression = true
	t.MaxResponseHeaderBytes = HTTPMaxHeaders
	if concurrent <= 0 {
		concurrent = policy.DefaultBackendConcurrent
	}
	t.MaxConnsPerHost, t.MaxIdleConnsPerHost = concurrent, concurrent
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if config != nil {
		t.TLSClientConfig = config.Clone()
	}
	return t
}

var _ policy.Backends = (*Backends)(nil)
