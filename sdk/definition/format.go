package definition

import (
	"errors"
	"net/netip"
	"net/url"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"policyengine.dev/sdk/policy"
)

// formats are the values of the keyword `format` that a schema may use, with
// what would be right where a string is not of that form.
var formats = map[string]string{
	"uri":           "write an absolute URI, such as https://example.com/keys",
	"duration":      "write a number with a unit, such as 200ms or 1h30m",
	"hostname":      "write a host name, such as example.com",
	"regex":         "write a regular expression in RE2's syntax",
	"header-name":   "write a header name: letters, digits and !#$%&'*+-.^_`|~",
	"cidr":          "write a network with no bits set beyond its prefix, such as 10.0.0.0/8 or 2001:db8::/32",
	"ipv4":          "write an IPv4 address, such as 192.0.2.1",
	"ipv6":          "write an IPv6 address, such as 2001:db8::1",
	"uuid":          "write a UUID, such as 123e4567-e89b-12d3-a456-426614174000",
	"email":         "write an e-mail address",
	"date":          "write a date, such as 2006-01-02",
	"time":          "write a time of day with its zone, such as 15:04:05Z",
	"date-time":     "write a date and time, such as 2006-01-02T15:04:05Z",
	"uri-reference": "write a URI or a relative reference",
	"uri-template":  "write a URI template, such as /users/{id}",
	"json-pointer":  "write a JSON pointer, such as /a/0",
}

var errForm = errors.New("not of that form")

// ownFormats replace or add to those of the library.
func ownFormats() []*jsonschema.Format {
	check := func(name string, valid func(string) bool) *jsonschema.Format {
		return &jsonschema.Format{Name: name, Validate: func(v any) error {
			if s, ok := v.(string); ok && !valid(s) {
				return errForm
			}
			return nil
		}}
	}
	return []*jsonschema.Format{
		check("uri", func(s string) bool {
			u, err := url.Parse(s)
			return err == nil && u.IsAbs() && (u.Host != "" || u.Opaque != "" || u.Path != "")
		}),
		check("duration", func(s string) bool {
			_, err := time.ParseDuration(s)
			return err == nil
		}),
		check("header-name", policy.ValidHeaderName),
		check("cidr", func(s string) bool {
			prefix, err := netip.ParsePrefix(s)
			return err == nil && prefix == prefix.Masked()
		}),
	}
}
