package format

import (
	"regexp"
	"strings"
)

func validURI(s string) bool {
	scheme, rest, ok := cutScheme(s)
	return ok && rest != "" && rest[0] != '?' && rest[0] != '#' && validHierarchy(scheme, rest)
}

func validURIReference(s string) bool {
	if scheme, rest, ok := cutScheme(s); ok {
		return validHierarchy(scheme, rest)
	}
	// RFC 3986, section 4.2: the first segment of a relative path has no colon.
	first, _, _ := strings.Cut(s, "/")
	first, _, _ = strings.Cut(first, "?")
	first, _, _ = strings.Cut(first, "#")
	return !strings.Contains(first, ":") && validHierarchy("", s)
}

// cutScheme cuts the scheme of a URI off (RFC 3986, section 3.1).
func cutScheme(s string) (scheme, rest string, ok bool) {
	scheme, rest, ok = strings.Cut(s, ":")
	if !ok || scheme == "" || !letter(scheme[0]) || !only(scheme, func(c byte) bool { return alphanumeric(c) || strings.IndexByte("+-.", c) >= 0 }) {
		return "", "", false
	}
	return strings.ToLower(scheme), rest, true
}

// validHierarchy checks what follows a scheme, or a relative reference: authority,
// path, query and fragment.
func validHierarchy(scheme, s string) bool {
	s, fragment, _ := strings.Cut(s, "#")
	s, query, _ := strings.Cut(s, "?")
	if !chars(fragment, ":@/?") || !chars(query, ":@/?") {
		return false
	}
	web := scheme == "http" || scheme == "https"
	rest, ok := strings.CutPrefix(s, "//")
	if !ok {
		return !web && chars(s, ":@/")
	}
	authority, path := rest, ""
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	host, ok := validAuthority(authority)
	return ok && (host != "" || !web) && chars(path, ":@/")
}

// validAuthority is RFC 3986, section 3.2.
func validAuthority(s string) (host string, ok bool) {
	user, rest, found := strings.Cut(s, "@")
	if !found {
		user, rest = "", s
	}
	if !chars(user, ":") {
		return "", false
	}
	host, port := rest, ""
	if strings.HasPrefix(rest, "[") {
		end := strings.IndexByte(rest, ']')
		if end < 0 || !validIPv6(rest[1:end]) && !ipFuture.MatchString(rest[1:end]) {
			return "", false
		}
		host, port = rest[:end+1], rest[end+1:]
		if port != "" && port[0] != ':' {
			return "", false
		}
		port = strings.TrimPrefix(port, ":")
	} else {
		host, port, _ = strings.Cut(rest, ":")
		if !chars(host, "") {
			return "", false
		}
	}
	return host, only(port, digit)
}

// ipFuture is the IPvFuture of RFC 3986.
var ipFuture = regexp.MustCompile(`^[vV][0-9A-Fa-f]+\.[A-Za-z0-9._~!$&'()*+,;=:-]+$`)

// chars reports whether s consists of unreserved characters, percent-encoded bytes,
// sub-delims, and those of also (RFC 3986, section 2).
func chars(s, also string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '%':
			if !encoded(s[i:]) {
				return false
			}
			i += 2
		case alphanumeric(c), strings.IndexByte("-._~!$&'()*+,;=", c) >= 0, strings.IndexByte(also, c) >= 0:
		default:
			return false
		}
	}
	return true
}

// encoded reports whether s begins with a percent-encoded byte.
func encoded(s string) bool {
	return len(s) > 2 && s[0] == '%' && hexadecimal(s[1]) && hexadecimal(s[2])
}

// expression is what stands in the braces of a URI template (RFC 6570, section 2.2
// to 2.4). Operators that are reserved for later are refused.
var expression = regexp.MustCompile(`^[+#./;?&]?` + varSpec + `(,` + varSpec + `)*$`)

const (
	varChar = `([A-Za-z0-9_]|%[0-9A-Fa-f]{2})`
	varSpec = varChar + `(\.?` + varChar + `)*(:[1-9][0-9]{0,3}|\*)?`
)

func validURITemplate(s string) bool {
	for {
		literal, rest, found := strings.Cut(s, "{")
		if !validLiteral(literal) {
			return false
		}
		if !found {
			return true
		}
		inner, after, closed := strings.Cut(rest, "}")
		if !closed || !expression.MatchString(inner) {
			return false
		}
		s = after
	}
}

// validLiteral is RFC 6570, section 2.1.
func validLiteral(s string) bool {
	for i, r := range s {
		switch {
		case r == '%':
			if !encoded(s[i:]) {
				return false
			}
		case r <= ' ' || 0x7f <= r && r < 0xa0 || 0xfff0 <= r && r <= 0xffff || strings.ContainsRune("\"'<>\\^`{|}", r):
			return false
		}
	}
	return true
}
