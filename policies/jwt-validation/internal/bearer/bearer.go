// Package bearer finds the bearer token of a request (RFC 6750, section 2, and
// cookies), makes sure that there is one only, and takes it out again.
//
// Nothing here does I/O or has a default that belongs to a policy.
package bearer

import (
	"errors"
	"fmt"
	"strings"

	"policyengine.dev/policies/internal/cookies"
	"policyengine.dev/policies/internal/readings"
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
			return errors.New(".header: use cookie instead of the header cookie")
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

// Place is a source, ready for requests.
type Place struct {
	Source
	name readings.Name
}

// Places are the places of sources that have been checked.
func Places(sources []Source) []Place {
	places := make([]Place, len(sources))
	for i, s := range sources {
		places[i] = Place{s, readings.NewName(s.Query + s.Cookie)}
	}
	return places
}

// found is what is at a place.
type found uint8

const (
	nothing found = iota
	token
	// unreadable is a token that another reading may find.
	unreadable
)

// Find returns the token, and the index of the place that has it. A header of
// another scheme, and an empty value, are not tokens.
//
// A place that has more than one token under any reading that common servers have
// (package readings), and two places that have one, are [ErrSeveral].
func Find(req *policy.RequestContext, places []Place) (value string, at int, err error) {
	count, readable := 0, false
	for i := range places {
		v, what, err := places[i].find(req)
		if err != nil {
			return "", 0, err
		}
		if what == nothing {
			continue
		}
		if count++; what == token {
			value, at, readable = v, i, true
		}
	}
	switch {
	case count > 1:
		return "", 0, ErrSeveral
	case !readable:
		return "", 0, ErrNone
	}
	return value, at, nil
}

// Traces reports whether a request for which [Find] has answered [ErrNone] has something
// at one of the places nevertheless: a token that only another reading finds, the scheme
// without a token, or an empty value. A policy that lets requests without a token pass
// must not take such a request for one.
func Traces(req *policy.RequestContext, places []Place) bool {
	for i := range places {
		p := &places[i]
		switch {
		case p.Header != "":
			value, ok := req.Headers().Lookup(string(p.Header))
			_, scheme := p.withoutScheme(strings.Trim(value, " \t"))
			if n := readings.InHeaders(req.Headers(), string(p.Header)); n > 0 && (!ok || p.Scheme == "" || scheme) {
				return true
			}
		case p.Query != "":
			if p.name.InQuery(req.RawQuery()) > 0 {
				return true
			}
		case p.name.InCookies(req.Headers().Values("cookie")) > 0:
			return true
		}
	}
	return false
}

func (p *Place) find(req *policy.RequestContext) (string, found, error) {
	switch {
	case p.Header != "":
		return p.inHeader(req)
	case p.Query != "":
		return p.inQuery(req)
	default:
		return p.inCookie(req)
	}
}

func (p *Place) inHeader(req *policy.RequestContext) (string, found, error) {
	count := readings.InHeaders(req.Headers(), string(p.Header))
	if count == 0 {
		return "", nothing, nil
	}
	// Two fields are refused whatever they say: the upstream may read another
	// one than this policy.
	if count > 1 {
		return "", nothing, ErrSeveral
	}
	value, ok := req.Headers().Lookup(string(p.Header))
	if !ok {
		return "", unreadable, nil // x_token instead of x-token
	}
	value = strings.Trim(value, " \t")
	if p.joined(value) {
		return "", nothing, ErrSeveral
	}
	if p.Scheme != "" {
		if value, ok = p.withoutScheme(value); !ok {
			return "", nothing, nil
		}
	}
	return whole(value)
}

// whole is a value that is the token, or empty.
func whole(value string) (string, found, error) {
	if value == "" {
		return "", nothing, nil
	}
	return value, token, nil
}

// withoutScheme is what follows the scheme in a header's value, and whether it has it.
func (p *Place) withoutScheme(value string) (string, bool) {
	scheme, rest, _ := strings.Cut(value, " ")
	return strings.TrimLeft(rest, " "), strings.EqualFold(scheme, p.Scheme)
}

// joined reports whether value is several fields, one of them a token, that a proxy has
// joined with commas (RFC 9110, section 5.3), as Envoy does. No token has a comma;
// other schemes' credentials may.
func (p *Place) joined(value string) bool {
	if strings.IndexByte(value, ',') < 0 {
		return false
	}
	if p.Scheme == "" {
		return true
	}
	for field := range strings.SplitSeq(value, ",") {
		if _, ok := p.withoutScheme(strings.Trim(field, " \t")); ok {
			return true
		}
	}
	return false
}

func (p *Place) inQuery(req *policy.RequestContext) (string, found, error) {
	raw := req.RawQuery()
	if raw == "" {
		return "", nothing, nil
	}
	switch p.name.InQuery(raw) {
	case 0:
		return "", nothing, nil
	case 1:
	default:
		return "", nothing, ErrSeveral
	}
	if req.QueryCount(p.Query) == 0 {
		return "", unreadable, nil
	}
	value, _ := req.Query(p.Query)
	return whole(value)
}

func (p *Place) inCookie(req *policy.RequestContext) (string, found, error) {
	fields := req.Headers().Values("cookie")
	switch p.name.InCookies(fields) {
	case 0:
		return "", nothing, nil
	case 1:
	default:
		return "", nothing, ErrSeveral
	}
	value, ok := cookies.Value(fields, p.Cookie)
	if !ok {
		return "", unreadable, nil
	}
	return whole(value)
}

// Strip adds to m what takes the token of p out of the request. m's slices are
// appended to.
func (p *Place) Strip(req *policy.RequestContext, m *policy.RequestMutation) {
	switch {
	case p.Header != "":
		m.Headers.Remove = append(m.Headers.Remove, string(p.Header))
	case p.Query != "":
		m.Query.Remove = append(m.Query.Remove, p.Query)
	default:
		cookies.Strip(req, p.Cookie, m)
	}
}

// Static reports whether Strip does the same for every request.
func (p *Place) Static() bool { return p.Cookie == "" }
