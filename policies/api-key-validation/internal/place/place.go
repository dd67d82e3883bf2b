// Package place finds the API key of a request, and counts how many keys other servers
// would find in it.
package place

import (
	"cmp"
	"fmt"
	"strings"

	"policyengine.dev/policies/internal/cookies"
	"policyengine.dev/policies/internal/readings"
	"policyengine.dev/sdk/policy"
)

// MaxKeyLength bounds the keys that are hashed, in bytes.
const MaxKeyLength = 4096

// Params say where a key may be. Each place is used where its name is not empty.
type Params struct {
	// Header is the name of a header, in lower case. Where Scheme is not empty the
	// key follows it, in any case, and a space.
	Header, Scheme string
	Query          string
	Cookie         string
}

// Check returns what is wrong with the names, each problem with the field in front.
func (p Params) Check() (problems []error) {
	if p.Header != "" {
		if err := policy.CheckHeaderEdit(p.Header); err != nil {
			problems = append(problems, fmt.Errorf("header: %q %w", p.Header, err))
		}
	}
	token := func(field, name string) {
		// The names are in a header of the response.
		if name != "" && !policy.ValidHeaderName(name) {
			problems = append(problems, fmt.Errorf("%s: %q has other characters than letters, digits and !#$%%&'*+-.^_`|~", field, name))
		}
	}
	token("scheme", p.Scheme)
	token("query", p.Query)
	token("cookie", p.Cookie)
	return problems
}

// Challenges are the headers that RFC 9110, section 15.5.2, asks of every 401.
func (p Params) Challenges() (headers []policy.Header) {
	add := func(in, name string) {
		scheme := "ApiKey"
		if in == "header" && p.Scheme != "" {
			scheme = p.Scheme
		}
		if name != "" {
			headers = append(headers, policy.Header{Name: "www-authenticate", Value: fmt.Sprintf("%s in=%q, name=%q", scheme, in, name)})
		}
	}
	add("header", p.Header)
	add("query", p.Query)
	add("cookie", p.Cookie)
	return headers
}

// Places are the places where a key may be. Immutable.
type Places struct {
	Params
	query, cookie readings.Name
}

// New returns the places of p, which has been checked.
func New(p Params) *Places {
	return &Places{p, readings.NewName(p.Query), readings.NewName(p.Cookie)}
}

// Find returns the key, and how many keys some server finds in the request. An empty
// field is not a key, but two fields are two. Where the count is above 1 the upstream may
// read another key than this one.
func (p *Places) Find(req *policy.RequestContext) (key string, count int) {
	header, inHeader := p.inHeader(req)
	query, inQuery := p.inQuery(req)
	cookie, inCookie := p.inCookie(req)
	return cmp.Or(header, query, cookie), inHeader + inQuery + inCookie
}

func (p *Places) inHeader(req *policy.RequestContext) (key string, count int) {
	if p.Header == "" {
		return "", 0
	}
	count = readings.InHeaders(req.Headers(), p.Header)
	key, ok := req.Headers().Lookup(p.Header)
	if ok && p.Scheme != "" {
		key = afterScheme(key, p.Scheme)
	}
	if count == 1 && ok && key == "" {
		return "", 0
	}
	return key, count
}

// afterScheme is what follows the scheme in a header's value; empty where it has another.
func afterScheme(value, scheme string) string {
	word, rest, _ := strings.Cut(value, " ")
	if !strings.EqualFold(word, scheme) {
		return ""
	}
	return strings.TrimLeft(rest, " ")
}

func (p *Places) inQuery(req *policy.RequestContext) (key string, count int) {
	raw := req.RawQuery()
	if p.Query == "" || raw == "" {
		return "", 0
	}
	count = p.query.InQuery(raw)
	key, ok := req.Query(p.Query)
	if count == 1 && ok && key == "" {
		return "", 0
	}
	return key, count
}

func (p *Places) inCookie(req *policy.RequestContext) (key string, count int) {
	if p.Cookie == "" {
		return "", 0
	}
	fields := req.Headers().Values("cookie")
	count = p.cookie.InCookies(fields)
	key, ok := cookies.Value(fields, p.Cookie)
	if count == 1 && ok && key == "" {
		return "", 0
	}
	return key, count
}

// Strip adds to m what takes the key out of the request, wherever it is. m's slices are
// appended to. A header of another scheme stays. req may be nil where Static is true.
func (p *Places) Strip(req *policy.RequestContext, m *policy.RequestMutation) {
	if p.Header != "" && (p.Scheme == "" || afterScheme(req.Header(p.Header), p.Scheme) != "") {
		m.Headers.Remove = append(m.Headers.Remove, p.Header)
	}
	if p.Query != "" {
		m.Query.Remove = append(m.Query.Remove, p.Query)
	}
	if p.Cookie == "" {
		return
	}
	if _, ok := cookies.Value(req.Headers().Values("cookie"), p.Cookie); ok {
		cookies.Strip(req, p.Cookie, m)
	}
}

// Static reports whether Strip does the same for every request.
func (p *Places) Static() bool { return p.Scheme == "" && p.Cookie == "" }
