// Package cookies reads one cookie of a request and takes it out again, by RFC 6265,
// section 4.2.1. Other servers' readings are in package readings: a policy that trusts a
// cookie makes sure first that by all of them there is one only.
package cookies

import (
	"iter"
	"strings"

	"policyengine.dev/sdk/policy"
)

// Value returns the first cookie called name in the fields of Cookie headers, and whether
// there is one. A cookie without "=" is there, and empty. The quotation marks that RFC
// 6265, section 4.1.1, allows around a value are taken off.
func Value(fields iter.Seq[string], name string) (value string, ok bool) {
	for field := range fields {
		for pair := range strings.SplitSeq(field, ";") {
			found, v, _ := strings.Cut(strings.Trim(pair, " \t"), "=")
			if found == name {
				return unquote(v), true
			}
		}
	}
	return "", false
}

func unquote(v string) string {
	if len(v) >= 2 && v[0] == '"' && v[len(v)-1] == '"' {
		return v[1 : len(v)-1]
	}
	return v
}

// Without returns one Cookie field with the other cookies of fields, or "" where there
// are none.
func Without(fields iter.Seq[string], name string) string {
	var b strings.Builder
	for field := range fields {
		for pair := range strings.SplitSeq(field, ";") {
			pair = strings.Trim(pair, " \t")
			found, _, _ := strings.Cut(pair, "=")
			if pair == "" || found == name {
				continue
			}
			if b.Len() > 0 {
				b.WriteString("; ")
			}
			b.WriteString(pair)
		}
	}
	return b.String()
}

// Strip adds to m what takes the cookie called name out of req. m's slices are appended
// to.
func Strip(req *policy.RequestContext, name string, m *policy.RequestMutation) {
	m.Headers.Remove = append(m.Headers.Remove, "cookie")
	if rest := Without(req.Headers().Values("cookie"), name); rest != "" {
		m.Headers.Set = append(m.Headers.Set, policy.Header{Name: "cookie", Value: rest})
	}
}
