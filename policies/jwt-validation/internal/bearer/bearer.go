// Package bearer finds the bearer token of a request (RFC 6750, section 2, and
// cookies), makes sure that there is one only, and takes it out again.
//
// Nothing here does I/O or has a default that belongs to a policy.
package bearer

import (
	"errors"
	"fmt"
	"strings"

	"policyengine.dev/sdk/policy"
)

// What [Find] answers where there is not exactly one token. The errors carry
// nothing of the request.
var (
	// ErrNone: no source has a token.
	ErrNone = errors.New("no token")
	// ErrSeveral: a source has more than one, or more than one source has one.
	// Which of them the upstream would believe nobody knows.
	ErrSeveral = errors.New("more than one token")
)

// Source is one place where a token may be, as parameters say it: exactly one of
// Header, Query and Cookie is set.
type Source struct {
	// Header is a header's name.
	Header policy.HeaderName `json:"header"`
	// Scheme is what the header's value begins with, such as "Bearer"; compared
	// without regard to case. Empty: the value is the token.
	Scheme string `json:"scheme"`
	// Query is a query parameter's name.
	Query string `json:"query"`
	// Cookie is a cookie's name.
	Cookie string `json:"cookie"`
}

// Check returns what is wrong with sources, each problem with the index in front.
func Check(sources []Source) []error {
	var problems []error
	for i := range sources {
		if err := sources[i].check(); err != nil {
			problems = append(problems, fmt.Errorf("[%d]%w", i, err))
		}
		for _, o := range sources[:i] {
			if o.Header == sources[i].Header && o.Query == sources[i].Query && o.Cookie == sources[i].Cookie {
				problems = append(problems, fmt.Errorf("[%d]: the same place is named already", i))
				break
			}
		}
	}
	return problems
}

func (s *Source) check() error {
	given := 0
	for _, name := range []string{string(s.Header), s.Query, s.Cookie} {
		if name != "" {
			given++
		}
	}
	if given != 1 {
		return errors.New(".header, .query, .cookie: give exactly one of them")
	}
	if s.Header != "" {
		if err := policy.CheckHeaderEdit(string(s.Header)); err != nil {
			return fmt.Errorf(".header: %q %w", s.Header, err)
		}
		if s.Header == "cookie" {
			return errors.New(".header: name the cookie in place of its header")
		}
	}
	if s.Scheme != "" && (s.Header == "" || !policy.ValidHeaderName(s.Scheme)) {
		return errors.New(".scheme: it is a word like Bearer, beside a header")
	}
	// RFC 6265, section 4.1.1: a cookie's name is a token, as a header's is.
	if s.Cookie != "" && !policy.ValidHeaderName(s.Cookie) {
		return fmt.Errorf(".cookie: %q is not a cookie's name", s.Cookie)
	}
	return nil
}

// HeaderNames are the headers that sources are in, in lower case.
func HeaderNames(sources []Source) []string {
	var names []string
	for i := range sources {
		switch s := &sources[i]; {
		case s.Header != "":
			names = append(names, string(s.Header))
		case s.Cookie != "":
			names = append(names, "cookie")
		}
	}
	return names
}

// Find returns the token, and the index of the source that has it. A header of
// another scheme, and an empty value, are no token.
func Find(req *policy.RequestContext, sources []Source) (token string, at int, err error) {
	found := false
	for i := range sources {
		t, err := sources[i].find(req)
		if err != nil {
			return "", 0, err
		}
		if t == "" {
			continue
		}
		if found {
			return "", 0, ErrSeveral
		}
		token, at, found = t, i, true
	}
	if !found {
		return "", 0, ErrNone
	}
	return token, at, nil
}

func (s *Source) find(req *policy.RequestContext) (string, error) {
	switch {
	case s.Header != "":
		return s.inHeader(req)
	case s.Query != "":
		return s.inQuery(req)
	default:
		return s.inCookie(req)
	}
}

func (s *Source) inHeader(req *policy.RequestContext) (string, error) {
	value, ok := req.Headers().Lookup(string(s.Header))
	if !ok {
		return "", nil
	}
	// Two fields are refused whatever they say: the upstream may read another
	// one than this policy.
	if req.Headers().Count(string(s.Header)) > 1 {
		return "", ErrSeveral
	}
	value = strings.Trim(value, " \t")
	if s.Scheme == "" {
		return value, nil
	}
	scheme, rest, _ := strings.Cut(value, " ")
	if !strings.EqualFold(scheme, s.Scheme) {
		return "", nil
	}
	return strings.TrimLeft(rest, " "), nil
}

func (s *Source) inQuery(req *policy.RequestContext) (string, error) {
	if req.RawQuery() == "" {
		return "", nil
	}
	if req.QueryCount(s.Query) > 1 {
		return "", ErrSeveral
	}
	token, _ := req.Query(s.Query)
	return token, nil
}

func (s *Source) inCookie(req *policy.RequestContext) (string, error) {
	token, n := "", 0
	for field := range req.Headers().Values("cookie") {
		for pair := range strings.SplitSeq(field, ";") {
			if name, value, ok := strings.Cut(strings.Trim(pair, " \t"), "="); ok && name == s.Cookie {
				token = unquote(value)
				n++
			}
		}
	}
	if n > 1 {
		return "", ErrSeveral
	}
	return token, nil
}

// unquote takes off the quotation marks that RFC 6265, section 4.1.1, allows.
func unquote(v string) string {
	if len(v) >= 2 && v[0] == '"' && v[len(v)-1] == '"' {
		return v[1 : len(v)-1]
	}
	return v
}

// Strip adds to m what takes the token of s out of the request. m's slices are
// appended to.
func (s *Source) Strip(req *policy.RequestContext, m *policy.RequestMutation) {
	switch {
	case s.Header != "":
		m.Headers.Remove = append(m.Headers.Remove, string(s.Header))
	case s.Query != "":
		m.Query.Remove = append(m.Query.Remove, s.Query)
	default:
		m.Headers.Remove = append(m.Headers.Remove, "cookie")
		if rest := s.otherCookies(req); rest != "" {
			m.Headers.Set = append(m.Headers.Set, policy.Header{Name: "cookie", Value: rest})
		}
	}
}

// Static reports whether Strip does the same for every request.
func (s *Source) Static() bool { return s.Cookie == "" }

func (s *Source) otherCookies(req *policy.RequestContext) string {
	var b strings.Builder
	for field := range req.Headers().Values("cookie") {
		for pair := range strings.SplitSeq(field, ";") {
			pair = strings.Trim(pair, " \t")
			name, _, _ := strings.Cut(pair, "=")
			if pair == "" || name == s.Cookie {
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
