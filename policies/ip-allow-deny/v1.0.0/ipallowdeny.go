// Package ipallowdeny lets requests pass, or refuses them, by the client's address.
package ipallowdeny

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"go4.org/netipx"

	"policyengine.dev/policies/internal/client"
	"policyengine.dev/sdk/policy"
)

// Policy is ip-allow-deny v1.0.0.
var Policy = policy.Define(New)

// The policy's reasons.
const (
	// ReasonDenied is given for an address that may not pass.
	ReasonDenied = "ADDRESS_DENIED"
	// ReasonUnknown is given for a request whose client's address is not known.
	ReasonUnknown = "ADDRESS_UNKNOWN"
)

// maxNetworks bounds a file.
const maxNetworks = 100_000

// Params are the policy's parameters: see policy.yaml.
type Params struct {
	Allow      []string      `json:"allow"`
	AllowFiles []string      `json:"allowFiles"`
	Deny       []string      `json:"deny"`
	DenyFiles  []string      `json:"denyFiles"`
	Client     client.Params `json:"client"`
}

// AllowDeny decides by two lists.
type AllowDeny struct {
	finder          client.Finder
	allow, deny     list
	denied, unknown *policy.ImmediateResponse
}

// list is networks from the parameters and from files.
type list struct {
	fixed *netipx.IPSet // nil where there are none
	files []*policy.File[*netipx.IPSet]
}

func (l *list) empty() bool { return l.fixed == nil && len(l.files) == 0 }

// contains errs where a file has never been read.
func (l *list) contains(a netip.Addr) (bool, error) {
	if l.fixed != nil && l.fixed.Contains(a) {
		return true, nil
	}
	for _, f := range l.files {
		set, err := f.Value()
		if err != nil {
			return false, err
		}
		if set.Contains(a) {
			return true, nil
		}
	}
	return false, nil
}

// New reports every problem with its path. Files are read by Start.
func New(p Params, host policy.Host) (*AllowDeny, error) {
	d := &AllowDeny{
		denied:  policy.Reject(403, ReasonDenied, "This address is not allowed."),
		unknown: policy.Reject(403, ReasonUnknown, "The client's address is not known."),
	}
	var problems []error
	fixed := func(where string, texts []string) *netipx.IPSet {
		if len(texts) == 0 {
			return nil
		}
		var b netipx.IPSetBuilder
		for i, text := range texts {
			if err := add(&b, text); err != nil {
				problems = append(problems, fmt.Errorf("%s[%d]: %w", where, i, err))
			}
		}
		set, err := b.IPSet()
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", where, err))
		}
		return set
	}
	d.allow.fixed, d.deny.fixed = fixed("allow", p.Allow), fixed("deny", p.Deny)
	var err error
	if d.finder, err = client.Compile(p.Client); err != nil {
		problems = append(problems, fmt.Errorf("client: %w", err))
	}
	for _, path := range p.AllowFiles {
		d.allow.files = append(d.allow.files, policy.WatchFile(host, path, parse))
	}
	for _, path := range p.DenyFiles {
		d.deny.files = append(d.deny.files, policy.WatchFile(host, path, parse))
	}
	if d.allow.empty() && d.deny.empty() {
		problems = append(problems, errors.New("nothing to do: give allow, allowFiles, deny or denyFiles"))
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return d, nil
}

// parse reads a list: an address or a network on each line, and comments behind "#".
func parse(content []byte) (*netipx.IPSet, error) {
	var b netipx.IPSetBuilder
	var problems []error
	number, networks := 0, 0
	for line := range strings.Lines(string(content)) {
		number++
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if networks++; networks > maxNetworks {
			return nil, fmt.Errorf("line %d: the list has more than %d networks", number, maxNetworks)
		}
		if err := add(&b, line); err != nil && len(problems) < 20 {
			problems = append(problems, fmt.Errorf("line %d: %w", number, err))
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return b.IPSet()
}

// add adds an address or a network. IPv4-mapped ones count as IPv4, as clients' do.
func add(b *netipx.IPSetBuilder, text string) error {
	if a, err := netip.ParseAddr(text); err == nil {
		if a.Zone() != "" {
			return fmt.Errorf("%q has a zone, which no client's address has", text)
		}
		b.Add(a.Unmap())
		return nil
	}
	n, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return fmt.Errorf("%q is neither an address nor a network, such as 192.0.2.7 or 192.0.2.0/24", text)
	case n != n.Masked():
		return fmt.Errorf("%q has bits beyond its length: write %s for the network, or %s for the address", text, n.Masked(), n.Addr())
	case n.Addr().Is4In6() && n.Bits() >= 96:
		n = netip.PrefixFrom(n.Addr().Unmap(), n.Bits()-96)
	}
	b.AddPrefix(n)
	return nil
}

// Start reads the files. It errs while one cannot be read.
func (d *AllowDeny) Start(context.Context) error {
	var problems []error
	for _, files := range [][]*policy.File[*netipx.IPSet]{d.allow.files, d.deny.files} {
		for _, f := range files {
			_, err := f.Value()
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

// ReadsAttributes implements policy.AttributeReader.
func (d *AllowDeny) ReadsAttributes() (request, response []string) {
	return d.finder.Attributes(), nil
}

// OnRequestHeaders looks the client up. What is denied is refused, even if it is
// allowed too.
func (d *AllowDeny) OnRequestHeaders(_ context.Context, req *policy.RequestContext) (policy.RequestAction, error) {
	address, ok := d.finder.Find(req)
	if !ok {
		return d.unknown, nil
	}
	denied, err := d.deny.contains(address)
	if err != nil {
		return nil, err
	}
	if denied {
		return d.denied, nil
	}
	if d.allow.empty() {
		return nil, nil
	}
	allowed, err := d.allow.contains(address)
	if err != nil {
		return nil, err
	}
	if !allowed {
		return d.denied, nil
	}
	return nil, nil
}
