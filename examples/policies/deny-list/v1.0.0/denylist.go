// Package denylist refuses clients whose address is in a list that is read from a file.
package denylist

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"policyengine.dev/sdk/clientaddr"
	"policyengine.dev/sdk/policy"
)

// Policy is deny-list v1.0.0.
var Policy = policy.Define(New)

// ReasonDenied is the reason for a client in the list.
const ReasonDenied = "ADDRESS_DENIED"

// ReasonUnknown is the reason for a client whose address is unknown.
const ReasonUnknown = "ADDRESS_UNKNOWN"

// maxNetworks limits the list, which is searched linearly for each request.
const maxNetworks = 10_000

// Params are the policy's parameters, as policy.yaml describes them.
type Params struct {
	File    string         `json:"file"`
	Trusted []netip.Prefix `json:"trusted"`
}

// DenyList is safe for concurrent use.
type DenyList struct {
	networks        *policy.File[[]netip.Prefix]
	behindProxies   bool
	trust           clientaddr.Trust
	denied, unknown *policy.ImmediateResponse
}

// New does no I/O: Start reads the list, and it is read again when it changes.
func New(p Params, host policy.Host) (*DenyList, error) {
	d := &DenyList{
		behindProxies: len(p.Trusted) > 0,
		trust:         clientaddr.Networks(p.Trusted...),
		denied:        policy.Reject(403, ReasonDenied, "This address is not allowed."),
		unknown:       policy.Reject(400, ReasonUnknown, "The client's address is not known."),
	}
	d.networks = policy.WatchFile(host, p.File, parse)
	return d, nil
}

// parse reads a list: an address or a network on each line.
func parse(content []byte) ([]netip.Prefix, error) {
	var networks []netip.Prefix
	number := 0
	for line := range strings.Lines(string(content)) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		network, err := netip.ParsePrefix(line)
		if addr, single := netip.ParseAddr(line); single == nil {
			network, err = addr.Prefix(addr.BitLen())
		}
		if err != nil {
			return nil, fmt.Errorf("line %d is neither an address nor a network", number)
		}
		networks = append(networks, network.Masked())
	}
	if len(networks) > maxNetworks {
		return nil, errors.New("the list is too long")
	}
	return networks, nil
}

// Start reports at once that the list cannot be read.
func (d *DenyList) Start(context.Context) error {
	_, err := d.networks.Value()
	return err
}

// OnRequestHeaders looks the client up.
func (d *DenyList) OnRequestHeaders(_ context.Context, req *policy.RequestContext) (policy.RequestAction, error) {
	networks, err := d.networks.Value()
	if err != nil {
		return nil, err
	}
	client, ok := d.client(req)
	if !ok {
		return d.unknown, nil
	}
	for _, n := range networks {
		if n.Contains(client) {
			return d.denied, nil
		}
	}
	return nil, nil
}

// client returns the address of the client: Envoy's peer, or behind proxies the address
// that they report.
func (d *DenyList) client(req *policy.RequestContext) (netip.Addr, bool) {
	if !d.behindProxies {
		v, _ := req.Attribute("source.address")
		address, _ := v.(string)
		return clientaddr.Parse(address)
	}
	client, err := d.trust.Client(req.Headers())
	return client, err == nil
}
