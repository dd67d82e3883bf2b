// Package clientaddr finds the address of the client of a request that has arrived
// through proxies, from the header x-forwarded-for.
//
// A client can send the header itself, so that only its end can be believed: each proxy
// appends the address that it was called from. Envoy does so before any policy sees the
// request where use_remote_address is set, as it is at the edge; the last address is then
// that of Envoy's own peer. [Hops] and [Networks] say how far to go back from there.
package clientaddr

import (
	"errors"
	"net/netip"
	"strings"

	"policyengine.dev/sdk/policy"
)

// Header is the header that has the addresses.
const Header = "x-forwarded-for"

// MaxHops is how many addresses are checked, from the end of the header.
const MaxHops = 32

// The errors of [Trust.Client]. They say nothing of the request.
var (
	// ErrMissing says that there is no x-forwarded-for.
	ErrMissing = errors.New("the request has no x-forwarded-for")
	// ErrTooFew says that there are fewer addresses than there are trusted hops.
	ErrTooFew = errors.New("x-forwarded-for has fewer addresses than there are trusted hops")
	// ErrTooMany says that the client's address is not among the last MaxHops.
	ErrTooMany = errors.New("x-forwarded-for has too many addresses of trusted hops")
	// ErrMalformed says that one of the addresses that count is none.
	ErrMalformed = errors.New("x-forwarded-for has an entry that is not an address")
)

// Trust says which proxies between the client and Envoy are believed. The zero value
// trusts none: the client is who calls Envoy. It is immutable and safe for concurrent
// use.
type Trust struct {
	hops     int
	networks []netip.Prefix
}

// Hops trusts the last n proxies before Envoy, from 0 to [MaxHops]-1, whatever their
// addresses are. It has to be their exact number: with a larger one the client chooses
// its own address.
func Hops(n int) Trust { return Trust{hops: min(max(n, 0), MaxHops-1)} }

// Networks trusts proxies with an address in one of the networks, which the function
// copies. IPv4 networks hold IPv4-mapped IPv6 addresses too.
func Networks(networks ...netip.Prefix) Trust {
	t := Trust{networks: make([]netip.Prefix, 0, len(networks))}
	for _, n := range networks {
		if n.Addr().Is4In6() && n.Bits() >= 96 {
			n = netip.PrefixFrom(n.Addr().Unmap(), n.Bits()-96)
		}
		t.networks = append(t.networks, n.Masked())
	}
	return t
}

// Client returns the client's address: with [Hops] the one before the trusted hops, and
// with [Networks] the last one that is in none of the networks, or the first of all where
// every address is trusted. IPv4-mapped addresses come as IPv4, and never with a zone.
//
// What stands before the client's address is not checked: it is the client's own
// invention. An error leaves it to the policy to deny; the header's last address is no
// substitute.
func (t Trust) Client(headers policy.Headers) (netip.Addr, error) {
	var few [8]string
	lines := few[:0]
	for line := range headers.Values(Header) {
		lines = append(lines, line)
	}
	last := netip.Addr{}
	for seen := 0; ; seen++ {
		text, ok := before(&lines)
		switch {
		case !ok && seen == 0:
			return netip.Addr{}, ErrMissing
		case !ok && len(t.networks) > 0:
			return last, nil
		case !ok:
			return netip.Addr{}, ErrTooFew
		case seen == MaxHops:
			return netip.Addr{}, ErrTooMany
		}
		addr, ok := Parse(text)
		if !ok {
			return netip.Addr{}, ErrMalformed
		}
		if !t.trusted(addr, seen) {
			return addr, nil
		}
		last = addr
	}
}

func (t Trust) trusted(addr netip.Addr, seen int) bool {
	if seen < t.hops {
		return true
	}
	for _, n := range t.networks {
		if n.Contains(addr) {
			return true
		}
	}
	return false
}

// before cuts the last element off the lines.
func before(lines *[]string) (text string, ok bool) {
	all := *lines
	if len(all) == 0 {
		return "", false
	}
	line := all[len(all)-1]
	if i := strings.LastIndexByte(line, ','); i >= 0 {
		all[len(all)-1] = line[:i]
		return line[i+1:], true
	}
	*lines = all[:len(all)-1]
	return line, true
}

// Parse reads an address as proxies and Envoy's attribute source.address write it: IPv4
// or IPv6, with a port or without, IPv6 in brackets or (without a port) bare, with spaces
// or tabs around it. An IPv4-mapped address comes as IPv4. Zones are refused.
func Parse(s string) (netip.Addr, bool) {
	s = strings.Trim(s, " \t")
	if rest, ok := strings.CutPrefix(s, "["); ok {
		inner, port, ok := strings.Cut(rest, "]")
		if !ok || port != "" && (port[0] != ':' || !validPort(port[1:])) {
			return netip.Addr{}, false
		}
		addr, ok := parse(inner)
		return addr, ok && strings.Contains(inner, ":")
	}
	if host, port, ok := strings.Cut(s, ":"); ok && !strings.Contains(port, ":") {
		if !validPort(port) {
			return netip.Addr{}, false
		}
		s = host
	}
	return parse(s)
}

func parse(s string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(s)
	if err != nil || addr.Zone() != "" {
		return netip.Addr{}, false
	}
	return addr.Unmap(), true
}

func validPort(s string) bool {
	if len(s) < 1 || len(s) > 5 {
		return false
	}
	n := 0
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
		n = 10*n + int(s[i]-'0')
	}
	return n <= 65535
}
