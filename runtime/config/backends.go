package config

import (
	"net/url"
	"time"

	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/strictyaml"
)

// Backend is a server that policies may ask by its name while a request waits. Zero bounds are
// the defaults of policy.BackendTarget.
type Backend struct {
	// Name is what policies' parameters refer to: lower case letters, digits and hyphens.
	Name string
	// URL has http or https, and neither user information nor a query.
	URL *url.URL
	// Timeout bounds a request, beside the step's own deadline; 0 leaves it at that.
	Timeout time.Duration
	// MaxConcurrent bounds requests at a time, and MaxResponse a response's body in bytes.
	MaxConcurrent int
	MaxResponse   int64
	// BreakerFailures is after how many failures in a row it is not asked for BreakerPause.
	BreakerFailures int
	BreakerPause    time.Duration
	// TLS is nil for the system's authorities and no certificate.
	TLS *BackendTLS
}

// BackendTLS is how a backend is trusted. Paths are absolute. Files are read when the engine
// starts.
type BackendTLS struct {
	// CA is the PEM file of the authorities instead of the system's; empty for those.
	CA string
	// Certificate and Key are the PEM files of the engine's own certificate, or empty.
	Certificate, Key string
	// ServerName is the name that its certificate has to carry, instead of the URL's host.
	ServerName string
}

type backendFile struct {
	Name          string    `yaml:"name,required"`
	URL           string    `yaml:"url,required"`
	Timeout       *positive `yaml:"timeout"`
	MaxConcurrent *count    `yaml:"maxConcurrent"`
	MaxResponse   *size     `yaml:"maxResponse"`
	Breaker       struct {
		Failures *count    `yaml:"failures"`
		Pause    *positive `yaml:"pause"`
	} `yaml:"breaker"`
	TLS *struct {
		CA          string `yaml:"ca"`
		Certificate string `yaml:"certificate"`
		Key         string `yaml:"key"`
		ServerName  string `yaml:"serverName"`
	} `yaml:"tls"`
}

func (d *engineDecoder) backends(at strictyaml.Node, files []backendFile) {
	seen := map[string]bool{}
	for i, f := range files {
		n := at.At(i)
		b := Backend{Name: f.Name}
		switch u, err := policy.BackendRef(f.Name).URL(); {
		case err != nil || u != nil:
			d.found.Add(n.At("name").Problem("not a name", "write up to 63 lower case letters, digits and hyphens, such as authz"))
		case seen[f.Name]:
			d.found.Add(n.At("name").Problem("another backend has this name", "give each its own name"))
		}
		seen[f.Name] = true
		u, err := policy.BackendRef(f.URL).URL()
		if err != nil || u == nil {
			// Not shown: it may hold a credential.
			d.found.Add(n.At("url").Problem("not a base URL", "write one with http or https and a host, without user information, query and fragment, such as https://authz.internal:8443/v1"))
		}
		b.URL = u
		setIf(&b.Timeout, (*time.Duration)(f.Timeout))
		setIf(&b.MaxConcurrent, (*int)(f.MaxConcurrent))
		setIf(&b.MaxResponse, (*int64)(f.MaxResponse))
		setIf(&b.BreakerFailures, (*int)(f.Breaker.Failures))
		setIf(&b.BreakerPause, (*time.Duration)(f.Breaker.Pause))
		if t := f.TLS; t != nil {
			if u != nil && u.Scheme != "https" {
				d.found.Add(n.At("tls").Problem("the URL has no TLS", "write a URL with https, or leave tls out"))
			}
			if (t.Certificate == "") != (t.Key == "") {
				d.found.Add(n.At("tls").Problem("a certificate and its key go together", "name both files, or neither"))
			}
			b.TLS = &BackendTLS{CA: d.optionalPath(t.CA), Certificate: d.optionalPath(t.Certificate), Key: d.optionalPath(t.Key), ServerName: t.ServerName}
		}
		d.engine.Backends = append(d.engine.Backends, b)
	}
}

func (d *engineDecoder) optionalPath(path string) string {
	if path == "" {
		return ""
	}
	return d.path(path)
}
