// Package client is the parameter by which policies are told how to find the address of
// a request's client.
package client

import (
	"errors"
	"net/netip"

	"policyengine.dev/sdk/clientaddr"
	"policyengine.dev/sdk/policy"
)

// Attribute is what Envoy takes for the client's address. A policy that uses this
// package tells it as a policy.AttributeReader: see [Finder.Attributes].
const Attribute = "source.address"

// Params say who is believed about the client's address. At most one field is given;
// without any, Envoy is: see [Attribute].
type Params struct {
	// TrustedHops is the exact number of proxies between client and Envoy.
	TrustedHops *int `json:"trustedHops"`
	// TrustedNetworks are those proxies' networks.
	TrustedNetworks []netip.Prefix `json:"trustedNetworks"`
}

// Finder finds the client's address. The zero value asks Envoy. It is immutable and
// safe for concurrent use.
type Finder struct {
	forwarded bool
	trust     clientaddr.Trust
}

// Compile checks p. An error reads on after its path.
func Compile(p Params) (Finder, error) {
	switch {
	case p.TrustedHops != nil && len(p.TrustedNetworks) > 0:
		return Finder{}, errors.New("give trustedHops or trustedNetworks, not both")
	case p.TrustedHops != nil:
		return Finder{forwarded: true, trust: clientaddr.Hops(*p.TrustedHops)}, nil
	case len(p.TrustedNetworks) > 0:
		return Finder{forwarded: true, trust: clientaddr.Networks(p.TrustedNetworks...)}, nil
	}
	return Finder{}, nil
}

// Attributes are those that are read.
func (f Finder) Attributes() []string {
	if f.forwarded {
		return nil
	}
	return []string{Attribute}
}

// Find returns the client's address, an IPv4-mapped one as IPv4, and whether it is known.
func (f Finder) Find(req *policy.RequestContext) (netip.Addr, bool) {
	if f.forwarded {
		a, err := f.trust.Client(req.Headers())
		return a, err == nil
	}
	v, _ := req.Attribute(Attribute)
	text, _ := v.(string)
	return clientaddr.Parse(text)
}
