package ipallowdeny

import "net/netip"

// Parse parses a list and returns what it holds.
func Parse(content string) (contains func(netip.Addr) bool, err error) {
	set, err := parse([]byte(content))
	if err != nil {
		return nil, err
	}
	return set.Contains, nil
}
