package format

import (
	"net/netip"
	"strings"
)

func validIPv4(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Is4()
}

func validIPv6(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Is6() && a.Zone() == ""
}

func validCIDR(s string) bool {
	prefix, err := netip.ParsePrefix(s)
	return err == nil && prefix == prefix.Masked()
}

func validHostname(s string) bool {
	if len(s) > 253 {
		return false
	}
	labels := strings.Split(s, ".")
	for _, label := range labels {
		if len(label) < 1 || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' || !only(label, func(c byte) bool { return alphanumeric(c) || c == '-' }) {
			return false
		}
	}
	return !only(labels[len(labels)-1], digit)
}

// validEmail is the Mailbox of RFC 5321, section 4.1.2, within the limits of
// section 4.5.3.1.
func validEmail(s string) bool {
	at := strings.LastIndexByte(s, '@')
	if at < 1 || at > 64 || len(s) > 254 {
		return false
	}
	local, domain := s[:at], s[at+1:]
	if local[0] == '"' {
		if !validQuoted(local) {
			return false
		}
	} else {
		for _, atom := range strings.Split(local, ".") {
			if atom == "" || !only(atom, func(c byte) bool { return alphanumeric(c) || strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0 }) {
				return false
			}
		}
	}
	literal, bracketed := strings.CutPrefix(domain, "[")
	if !bracketed {
		return validHostname(domain)
	}
	literal, closed := strings.CutSuffix(literal, "]")
	if six, ok := strings.CutPrefix(literal, "IPv6:"); ok {
		return closed && validIPv6(six)
	}
	return closed && validIPv4(literal)
}

// validQuoted is the Quoted-string of RFC 5321.
func validQuoted(s string) bool {
	if len(s) < 2 || s[len(s)-1] != '"' {
		return false
	}
	inner := s[1 : len(s)-1]
	for i := 0; i < len(inner); i++ {
		c := inner[i]
		if c == '\\' {
			i++
			if i == len(inner) {
				return false
			}
			c = inner[i]
		} else if c == '"' {
			return false
		}
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

func only(s string, allowed func(byte) bool) bool {
	for i := 0; i < len(s); i++ {
		if !allowed(s[i]) {
			return false
		}
	}
	return true
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

func letter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

func alphanumeric(c byte) bool { return digit(c) || letter(c) }

func hexadecimal(c byte) bool { return digit(c) || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F' }
