// Package readings counts how often a request carries a credential of one name, in
// its query, its cookies or its headers, under every reading that common servers have.
//
// A policy checks one credential, by its own reading. An upstream with another reading
// must not find a second one, which nobody has checked. So the counts here are those
// of all readings together: they may be too high, and are never too low. The README of
// jwt-validation lists the readings.
//
// Counting allocates nothing. A [Name] is made once, at load.
package readings

import (
	"iter"
	"strings"

	"policyengine.dev/sdk/policy"
)

// Name is a name as every reading has it.
type Name struct{ folded string }

// NewName returns the name of a query parameter or a cookie.
func NewName(name string) Name {
	b := []byte(name)
	for i, c := range b {
		b[i] = fold(c)
	}
	return Name{string(b)}
}

// fold makes one of what some servers take for one: letters in either case (ASP.NET
// Core), and the characters that PHP writes as "_" in names.
func fold(c byte) byte {
	switch {
	case 'A' <= c && c <= 'Z':
		return c + 'a' - 'A'
	case c == '.' || c == ' ' || c == '[':
		return '_'
	}
	return c
}

// is reports whether some reading takes raw, an encoded name, for n.
func (n Name) is(raw string) bool {
	d := decoder{raw: raw}
	c, ok := d.next()
	for ok && space(c) {
		c, ok = d.next()
	}
	for i := 0; i < len(n.folded); i++ {
		if !ok || fold(c) != n.folded[i] {
			return false
		}
		c, ok = d.next()
	}
	// What may follow the name: nothing, or "[" (an element of an array in PHP, Rack
	// and Node's qs), or white space.
	for ok && c != '[' {
		if !space(c) {
			return false
		}
		c, ok = d.next()
	}
	return true
}

// space reports whether some server takes c off around a name. Bytes beyond ASCII are
// in here for Unicode's spaces.
func space(c byte) bool { return c <= ' ' || c >= 0x7f }

// decoder yields the bytes of a name that is percent-encoded, perhaps in part or not
// as it should be. A NUL ends it, as it does in PHP.
type decoder struct {
	raw string
	at  int
}

func (d *decoder) next() (byte, bool) {
	if d.at >= len(d.raw) {
		return 0, false
	}
	c := d.raw[d.at]
	d.at++
	switch c {
	case '+':
		c = ' '
	case '%':
		switch rest := d.raw[d.at:]; {
		case len(rest) >= 2 && hexadecimal(rest[:2]):
			c = value(rest[:2])
			d.at += 2
		case len(rest) >= 5 && rest[0]|0x20 == 'u' && hexadecimal(rest[1:5]):
			// %u0073, which ASP.NET decodes.
			if c = 0xff; rest[1:3] == "00" {
				c = value(rest[3:5])
			}
			d.at += 5
		}
	}
	return c, c != 0
}

func hexadecimal(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i] | 0x20; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func value(digits string) byte {
	digit := func(c byte) byte {
		if c <= '9' {
			return c - '0'
		}
		return c | 0x20 - 'a' + 10
	}
	return digit(digits[0])<<4 | digit(digits[1])
}

// InQuery is the number of parameters called n in a query. "&" and ";" separate.
func (n Name) InQuery(raw string) int {
	count := 0
	for raw != "" {
		pair := raw
		if end := strings.IndexAny(raw, "&;"); end >= 0 {
			pair, raw = raw[:end], raw[end+1:]
		} else {
			raw = ""
		}
		if name, _, _ := strings.Cut(pair, "="); n.is(name) {
			count++
		}
	}
	return count
}

// InCookies is the number of cookies called n in the fields of a Cookie header.
//
// ";" separates cookies everywhere, "," and white space do in some servers. A quoted
// value ends a cookie for some, and holds separators for others.
func (n Name) InCookies(fields iter.Seq[string]) int {
	count := 0
	for field := range fields {
		for start := 0; start < len(field); {
			end := start
			for end < len(field) && !separates(field[end]) {
				end++
			}
			first := start == 0 || field[start-1] == ';' || onlySpaceBefore(field, start)
			if n.cookie(field, start, end, first) {
				count++
			}
			start = end + 1
		}
	}
	return count
}

// separates reports whether a cookie's name may begin behind c.
func separates(c byte) bool {
	return space(c) || c == ';' || c == ',' || c == '"' || c == '\\' || c == ']'
}

// onlySpaceBefore reports whether nothing but white space is between start and the
// cookie before it.
func onlySpaceBefore(field string, start int) bool {
	i := start - 1
	for i >= 0 && space(field[i]) {
		i--
	}
	return i < 0 || field[i] == ';'
}

// cookie reports whether the piece of field from start to end begins a cookie called n.
// Behind a ";" a name without a value is one, too.
func (n Name) cookie(field string, start, end int, first bool) bool {
	name, _, hasValue := strings.Cut(field[start:end], "=")
	if !n.is(name) || name == "" {
		return false
	}
	if hasValue {
		return true
	}
	// The "=" may come behind white space.
	for end < len(field) && space(field[end]) {
		end++
	}
	return first || end < len(field) && field[end] == '='
}

// InHeaders is the number of fields that some servers take for the header name, which
// is in lower case: CGI and what follows it has one variable for x-token and x_token.
func InHeaders(h policy.Headers, name string) int {
	count := 0
	for field := range h.All() {
		if policy.AlikeHeaderNames(field, name) {
			count++
		}
	}
	return count
}
