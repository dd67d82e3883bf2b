// Package format checks strings against the values of JSON Schema's keyword format
// that parameters may use. Each follows the specification that it names, and no more:
// what a specification leaves to its readers is refused.
package format

import (
	"regexp"
	"time"

	"policyengine.dev/sdk/policy"
)

// Format is a form that a string may be asked to have.
type Format struct {
	// Name is the value of the keyword.
	Name string
	// Remedy says what to write instead of a string that is not of this form.
	Remedy string
	// Spec is the specification, and what the form leaves out of it.
	Spec string
	// Valid reports whether a string is of the form. It is safe for concurrent
	// use, and takes time in proportion to the string's length.
	Valid func(string) bool
}

// All are the formats, sorted by name. The result is the caller's.
func All() []Format {
	return []Format{
		{"backend", "write the name of a backend in engine.yaml, such as authz, or a URL such as https://authz.internal:8443/v1",
			"a name of up to 63 lower case letters, digits and hyphens, or an http or https URL without user information, query and fragment", validBackend},
		{"cidr", "write a network with no bits set beyond its prefix, such as 10.0.0.0/8 or 2001:db8::/32",
			"RFC 4632 and RFC 4291, section 2.3: an address, a slash and a length; no bit is set beyond the prefix", validCIDR},
		{"date", "write a date, such as 2006-01-02", "RFC 3339, full-date", validDate},
		{"date-time", "write a date and time, such as 2006-01-02T15:04:05Z", "RFC 3339, date-time", validDateTime},
		{"duration", "write a number with a unit, such as 200ms or 1h30m",
			"Go's [time.ParseDuration](https://pkg.go.dev/time#ParseDuration), not ISO 8601", validDuration},
		{"email", "write an e-mail address, such as someone@example.com",
			"RFC 5321, Mailbox in ASCII: at most 64 bytes before the @ and 254 in all", validEmail},
		{"header-name", "write a header name: letters, digits and !#$%&'*+-.^_`|~", "RFC 9110, field-name; no pseudo-header", policy.ValidHeaderName},
		{"hostname", "write a host name, such as example.com",
			"RFC 1123, section 2.1, in ASCII, without a dot at the end; the last label is not a number, so that it is no IPv4 address", validHostname},
		{"ipv4", "write an IPv4 address, such as 192.0.2.1", "RFC 2673, dotted-quad: four decimal numbers without leading zeros", validIPv4},
		{"ipv6", "write an IPv6 address, such as 2001:db8::1", "RFC 4291, section 2.2, without a zone", validIPv6},
		{"json-pointer", "write a JSON pointer, such as /a/0", "RFC 6901", validJSONPointer},
		{"regex", "write a regular expression in RE2's syntax", "Go's [RE2](https://github.com/google/re2/wiki/Syntax), not ECMA-262", validRegex},
		{"time", "write a time of day with its zone, such as 15:04:05Z", "RFC 3339, full-time", validTime},
		{"uri", "write an absolute URI, such as https://example.com/keys",
			"RFC 3986, URI: a scheme and something after it; a host where the scheme is http or https", validURI},
		{"uri-reference", "write a URI or a relative reference", "RFC 3986, URI-reference", validURIReference},
		{"uri-template", "write a URI template, such as /users/{id}", "RFC 6570, all four levels", validURITemplate},
		{"uuid", "write a UUID, such as 123e4567-e89b-12d3-a456-426614174000", "RFC 9562, section 4, of any version", uuid.MatchString},
	}
}

func validBackend(s string) bool {
	_, err := policy.BackendRef(s).URL()
	return err == nil
}

var uuid = regexp.MustCompile(`^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`)

// jsonPointer is RFC 6901, section 3.
var jsonPointer = regexp.MustCompile(`^(?s:/([^~/]|~[01])*)*$`)

func validJSONPointer(s string) bool { return jsonPointer.MatchString(s) }

func validRegex(s string) bool {
	_, err := regexp.Compile(s)
	return err == nil
}

func validDuration(s string) bool {
	_, err := time.ParseDuration(s)
	return err == nil
}
