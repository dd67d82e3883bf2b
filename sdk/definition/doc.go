// Package definition reads policy.yaml, the description beside
// the code of every policy version, and checks parameters against it.
//
//	apiVersion: policyengine/v1
//	name: set-header                  # lower case words joined by hyphens
//	version: v1.0.0                   # as its directory is named
//	description: Sets headers.
//	phases: [request_headers]         # those that the Go type implements
//	body: decoded                     # with body phases: raw (default) or decoded
//	parameters:                       # JSON Schema 2020-12 of an object; none: no parameters
//	  type: object
//	  required: [header]
//	  additionalProperties: false
//	  properties:
//	    header: {type: string, format: header-name}
//	    value: {type: string, default: "1"}
//	    key: {type: string, x-secret: true}
//	examples:                         # each has to be valid
//	- name: one header
//	  params: {header: x-seen}
//	deprecated: use v2                # a message; empty or left out: it is not
//
// # Schemas
//
// All of JSON Schema 2020-12 that describes one value can be used, with these
// differences, which keep a definition self-contained and its cost bounded:
//
//   - a keyword that is not known is an error, and so is a format; formats are
//     asserted: uri (absolute), duration (Go's form, such as 200ms or 1h30m,
//     not ISO 8601's), hostname, regex (RE2), header-name (RFC 9110), cidr
//     (such as 10.0.0.0/8), and ipv4, ipv6, uuid, email, date, time,
//     date-time, uri-reference, uri-template, json-pointer;
//   - $ref leads to a place in the same schema (#/$defs/name), and never back
//     to where it came from; nothing is ever fetched; $id, $anchor and their
//     dynamic kin are refused;
//   - a property's default is filled in before parameters are checked and
//     decoded, so one that would not be (inside anyOf, if, ...) is refused;
//   - x-secret: true marks a value that must never be shown: a secret, or what is
//     derived from one, such as a hash. writeOnly: true means the same;
//   - x-open: true marks a value that is free-form and may be shown, with all that is
//     in it. Without it, /config_dump masks what no schema describes.
package definition
