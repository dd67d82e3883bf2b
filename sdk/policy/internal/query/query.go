// Package query reads and changes the query of a request's target without parsing
// what it does not have to touch.
//
// A query is a list of parameters between "&", each a name and a value around the
// first "=", both percent-encoded with "+" for a space (as HTML forms write them).
// A parameter whose name cannot be decoded has no name here: it is never found and
// never changed. ";" separates nothing.
package query

import (
	"iter"
	"strings"
)

// Values yields the decoded value of every parameter called name, in order. Values
// that cannot be decoded are left out.
func Values(raw, name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for more := raw != ""; more; {
			var pair string
			pair, raw, more = strings.Cut(raw, "&")
			key, value, _ := strings.Cut(pair, "=")
			if !NameIs(key, name) {
				continue
			}
			if v, ok := Unescape(value); ok && !yield(v) {
				return
			}
		}
	}
}

// Count is the number of parameters called name, whatever their values.
func Count(raw, name string) int {
	n := 0
	for more := raw != ""; more; {
		var pair string
		pair, raw, more = strings.Cut(raw, "&")
		if key, _, _ := strings.Cut(pair, "="); NameIs(key, name) {
			n++
		}
	}
	return n
}

// NameIs reports whether raw, an encoded name, decodes to name.
func NameIs(raw, name string) bool {
	j := 0
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		switch c {
		case '+':
			c = ' '
		case '%':
			v, ok := hexByte(raw, i+1)
			if !ok {
				return false
			}
			c, i = v, i+2
		}
		if j >= len(name) || name[j] != c {
			return false
		}
		j++
	}
	return j == len(name)
}

// Unescape decodes s, and reports whether it could: it is s itself where nothing is
// encoded.
func Unescape(s string) (string, bool) {
	i := strings.IndexAny(s, "%+")
	if i < 0 {
		return s, true
	}
	b := make([]byte, i, len(s))
	copy(b, s)
	for ; i < len(s); i++ {
		switch c := s[i]; c {
		case '+':
			b = append(b, ' ')
		case '%':
			v, ok := hexByte(s, i+1)
			if !ok {
				return "", false
			}
			b, i = append(b, v), i+2
		default:
			b = append(b, c)
		}
	}
	return string(b), true
}

func hexByte(s string, i int) (byte, bool) {
	if i+1 >= len(s) {
		return 0, false
	}
	hi, lo := unhex(s[i]), unhex(s[i+1])
	return hi<<4 | lo, hi|lo < 16
}

// unhex returns 0xff for what is no hexadecimal digit.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 0xff
}

// An Edit is a query under change: begin with [Start], and read the result with
// [Edit.Query]. What is not named in a change stays byte for byte and in its place.
type Edit struct {
	raw string
	// has tells "no query" from an empty one: "/p" from "/p?".
	has bool
}

// Start begins with the query of a target: all after the first "?", and whether
// there is a "?".
func Start(raw string, has bool) Edit { return Edit{raw, has} }

// Query returns the query as it is now, and whether there is one at all.
func (e *Edit) Query() (raw string, has bool) { return e.raw, e.has }

// Remove deletes every parameter called name. A query without parameters left is
// none any more.
func (e *Edit) Remove(name string) { e.rewrite(name, "", false) }

// Set leaves one parameter called name: at the place of the first that was there,
// or at the end.
func (e *Edit) Set(name, value string) {
	if !e.rewrite(name, value, true) {
		e.Append(name, value)
	}
}

// Append adds a parameter at the end.
func (e *Edit) Append(name, value string) {
	b := make([]byte, 0, len(e.raw)+len(name)+len(value)+2)
	b = append(b, e.raw...)
	if len(b) > 0 {
		b = append(b, '&')
	}
	e.raw, e.has = string(appendParam(b, name, value)), true
}

// rewrite drops the parameters called name; with replace the first becomes value.
// It reports whether there was one. It allocates only then.
func (e *Edit) rewrite(name, value string, replace bool) (found bool) {
	var out []byte
	kept := 0
	start := 0
	for more := e.raw != ""; more; {
		var pair string
		rest := e.raw[start:]
		end := strings.IndexByte(rest, '&')
		if more = end >= 0; more {
			pair = rest[:end]
		} else {
			pair = rest
		}
		key, _, _ := strings.Cut(pair, "=")
		match := NameIs(key, name)
		if match && !found {
			found = true
			out = make([]byte, 0, len(e.raw)+len(value)+len(name))
			if start > 0 {
				out = append(out, e.raw[:start-1]...)
			}
		}
		switch {
		case !match:
			if found {
				out = appendSeparated(out, kept)
				out = append(out, pair...)
			}
			kept++
		case replace:
			replace = false
			out = appendParam(appendSeparated(out, kept), name, value)
			kept++
		}
		start += len(pair) + 1
	}
	if found {
		e.raw, e.has = string(out), kept > 0
	}
	return found
}

func appendSeparated(b []byte, before int) []byte {
	if before > 0 {
		b = append(b, '&')
	}
	return b
}

func appendParam(b []byte, name, value string) []byte {
	b = appendEscaped(b, name)
	b = append(b, '=')
	return appendEscaped(b, value)
}

// appendEscaped leaves what RFC 3986, section 2.3, calls unreserved as it is. A
// space becomes %20, which every decoder understands, and not "+".
func appendEscaped(b []byte, s string) []byte {
	const digits = "0123456789ABCDEF"
	for i := 0; i < len(s); i++ {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
			c == '-' || c == '.' || c == '_' || c == '~' {
			b = append(b, c)
			continue
		}
		b = append(b, '%', digits[c>>4], digits[c&15])
	}
	return b
}
