// Package mtlsidentity lets requests pass whose client has shown a certificate of a
// known identity, and says who it is.
package mtlsidentity

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"policyengine.dev/sdk/policy"
)

// Policy is mtls-identity v1.0.0.
var Policy = policy.Define(New)

// The policy's reasons.
const (
	// ReasonMissing is given for a request without a client's certificate.
	ReasonMissing = "MTLS_CERTIFICATE_MISSING"
	// ReasonNone is given for a certificate without an identity of the kinds that count.
	ReasonNone = "MTLS_IDENTITY_MISSING"
	// ReasonDenied is given for an identity that may not pass.
	ReasonDenied = "MTLS_IDENTITY_DENIED"
	// ReasonMalformed is given for a header that cannot be read.
	ReasonMalformed = "MTLS_HEADER_MALFORMED"
)

// The attributes of Envoy that tell of the client's certificate.
const (
	attributeMTLS    = "connection.mtls"
	attributeURI     = "connection.uri_san_peer_certificate"
	attributeDNS     = "connection.dns_san_peer_certificate"
	attributeSubject = "connection.subject_peer_certificate"
	attributeDigest  = "connection.sha256_peer_certificate_digest"
)

// headerXFCC is x-forwarded-client-cert.
const headerXFCC = "x-forwarded-client-cert"

// Params are the policy's parameters: see policy.yaml.
type Params struct {
	Allow          []string `json:"allow"`
	AnyIdentity    bool     `json:"anyIdentity"`
	Identity       []string `json:"identity"`
	Source         string   `json:"source"`
	IdentityHeader string   `json:"identityHeader"`
}

// MTLSIdentity decides by the identity in the client's certificate.
type MTLSIdentity struct {
	any       bool
	exact     map[string]bool
	prefixes  []string
	kinds     []string
	forwarded bool
	header    string

	missing, none, denied, malformed *policy.ImmediateResponse
}

// certificate is what is known of a client's certificate; empty is not there.
type certificate struct{ uri, dns, subject, digest string }

// New prepares the lists.
func New(p Params, _ policy.Host) (*MTLSIdentity, error) {
	m := &MTLSIdentity{
		any: p.AnyIdentity, exact: map[string]bool{}, kinds: p.Identity, forwarded: p.Source == headerXFCC, header: p.IdentityHeader,
		missing:   policy.Reject(403, ReasonMissing, "A client certificate is required."),
		none:      policy.Reject(403, ReasonNone, "The client certificate has no identity of an accepted kind."),
		denied:    policy.Reject(403, ReasonDenied, "This client is not allowed."),
		malformed: policy.Reject(400, ReasonMalformed, "The header x-forwarded-client-cert cannot be read."),
	}
	for i, a := range p.Allow {
		prefix, pattern := strings.CutSuffix(a, "*")
		switch {
		case strings.Contains(prefix, "*"):
			return nil, fmt.Errorf("allow[%d]: %q has a * that is not at its end; a * is a wildcard only at the end", i, a)
		case pattern && prefix == "":
			return nil, fmt.Errorf("allow[%d]: * alone allows everyone: say anyIdentity: true if that is meant", i)
		case pattern:
			m.prefixes = append(m.prefixes, prefix)
		default:
			m.exact[a] = true
		}
	}
	if m.header != "" {
		if err := policy.CheckHeaderEdit(m.header); err != nil {
			return nil, fmt.Errorf("identityHeader: %q %w", m.header, err)
		}
	}
	return m, nil
}

// OwnedRequestHeaders implements policy.HeaderOwner.
func (m *MTLSIdentity) OwnedRequestHeaders() []string {
	if m.header == "" {
		return nil
	}
	return []string{m.header}
}

// ReadsAttributes implements policy.AttributeReader.
func (m *MTLSIdentity) ReadsAttributes() (request, response []string) {
	if m.forwarded {
		return nil, nil
	}
	return []string{attributeMTLS, attributeURI, attributeDNS, attributeSubject, attributeDigest}, nil
}

// OnRequestHeaders looks at the certificate.
func (m *MTLSIdentity) OnRequestHeaders(_ context.Context, req *policy.RequestContext) (policy.RequestAction, error) {
	var c certificate
	if m.forwarded {
		headers := req.Headers()
		value, ok := headers.Lookup(headerXFCC)
		if !ok || value == "" {
			return m.missing, nil
		}
		if c, ok = lastElement(value); !ok || headers.Count(headerXFCC) != 1 {
			return m.malformed, nil
		}
	} else {
		if v, _ := req.Attribute(attributeMTLS); v != true {
			return m.missing, nil
		}
		c = certificate{text(req, attributeURI), text(req, attributeDNS), text(req, attributeSubject), text(req, attributeDigest)}
	}
	identity := m.identity(c)
	switch {
	case identity == "":
		return m.none, nil
	case !m.allows(identity):
		return m.denied, nil
	}
	change := &policy.RequestMutation{Principal: &policy.Principal{Subject: identity, Claims: c.claims()}}
	if m.header != "" {
		if !policy.ValidHeaderValue(identity) {
			return m.denied, nil
		}
		change.Headers.Set = []policy.Header{{Name: m.header, Value: identity}}
	}
	return change, nil
}

func text(req *policy.RequestContext, attribute string) string {
	v, _ := req.Attribute(attribute)
	s, _ := v.(string)
	return s
}

func (m *MTLSIdentity) identity(c certificate) string {
	for _, kind := range m.kinds {
		identity := c.subject
		switch kind {
		case "uri":
			identity = c.uri
		case "dns":
			identity = c.dns
		}
		if identity != "" {
			return identity
		}
	}
	return ""
}

func (m *MTLSIdentity) allows(identity string) bool {
	return m.any || m.exact[identity] || slices.ContainsFunc(m.prefixes, func(p string) bool {
		return len(identity) > len(p) && strings.HasPrefix(identity, p) && !climbs(identity[len(p):])
	})
}

// climbs reports whether a rest leads out of its prefix, as "../other" does for those
// who resolve it.
func climbs(rest string) bool {
	for segment := range strings.SplitSeq(rest, "/") {
		if segment == ".." || segment == "." {
			return true
		}
	}
	return false
}

func (c certificate) claims() map[string]any {
	claims := make(map[string]any, 4)
	add := func(name, v string) {
		if v != "" {
			claims[name] = v
		}
	}
	add("uri", c.uri)
	add("dns", c.dns)
	add("subject", c.subject)
	add("sha256", c.digest)
	return claims
}
