package expr

import (
	"iter"
	"time"
)

// Static is an [Input] of plain values, for tests and tools. The zero value is a
// request of which nothing is known. It is safe for concurrent use as long as
// nobody changes it.
type Static struct {
	// The pseudo-headers; RequestTarget is :path, the path with the query.
	RequestMethod, RequestScheme, RequestAuthority, RequestTarget string
	// RequestFields and ResponseFields are the header fields in order.
	RequestFields, ResponseFields Fields
	// RequestTime is when the request came; the zero value is unknown.
	RequestTime time.Time
	// ResponseStatus is the status code, 0 where there is no response.
	ResponseStatus int
	// Principal is the caller, nil where it is not authenticated.
	Principal *Principal
	// RouteName is the route's name.
	RouteName string
	// Entries and EnvoyAttributes are the metadata and Envoy's attributes.
	Entries, EnvoyAttributes map[string]any
}

// Principal is the caller of a [Static], as auth.* has it.
type Principal struct {
	Subject, Issuer string
	Scopes          []string
	Claims          map[string]any
}

var _ Input = (*Static)(nil)

// Method implements [Input].
func (s *Static) Method() string { return s.RequestMethod }

// Scheme implements [Input].
func (s *Static) Scheme() string { return s.RequestScheme }

// Authority implements [Input].
func (s *Static) Authority() string { return s.RequestAuthority }

// Target implements [Input].
func (s *Static) Target() string { return s.RequestTarget }

// RequestHeaders implements [Input].
func (s *Static) RequestHeaders() Headers { return &s.RequestFields }

// Time implements [Input].
func (s *Static) Time() time.Time { return s.RequestTime }

// Status implements [Input].
func (s *Static) Status() int { return s.ResponseStatus }

// ResponseHeaders implements [Input].
func (s *Static) ResponseHeaders() Headers { return &s.ResponseFields }

// Authenticated implements [Input].
func (s *Static) Authenticated() bool { return s.Principal != nil }

// Subject implements [Input].
func (s *Static) Subject() string {
	if s.Principal == nil {
		return ""
	}
	return s.Principal.Subject
}

// Issuer implements [Input].
func (s *Static) Issuer() string {
	if s.Principal == nil {
		return ""
	}
	return s.Principal.Issuer
}

// Scopes implements [Input].
func (s *Static) Scopes() []string {
	if s.Principal == nil {
		return nil
	}
	return s.Principal.Scopes
}

// Claims implements [Input].
func (s *Static) Claims() map[string]any {
	if s.Principal == nil {
		return nil
	}
	return s.Principal.Claims
}

// Route implements [Input].
func (s *Static) Route() string { return s.RouteName }

// Metadata implements [Input].
func (s *Static) Metadata(key string) (any, bool) {
	v, ok := s.Entries[key]
	return v, ok
}

// Attribute implements [Input].
func (s *Static) Attribute(name string) (any, bool) {
	v, ok := s.EnvoyAttributes[name]
	return v, ok
}

// Field is a header field.
type Field struct{ Name, Value string }

// Fields are header fields in order. Names may have any case.
type Fields []Field

var _ Headers = (*Fields)(nil)

// Get implements [Headers].
func (f *Fields) Get(name string) (string, bool) {
	for _, field := range *f {
		if lowerASCII(field.Name) == name {
			return field.Value, true
		}
	}
	return "", false
}

// Count implements [Headers].
func (f *Fields) Count(name string) int {
	n := 0
	for _, field := range *f {
		if lowerASCII(field.Name) == name {
			n++
		}
	}
	return n
}

// Values implements [Headers].
func (f *Fields) Values(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, field := range *f {
			if lowerASCII(field.Name) == name && !yield(field.Value) {
				return
			}
		}
	}
}

// All implements [Headers].
func (f *Fields) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, field := range *f {
			if !yield(lowerASCII(field.Name), field.Value) {
				return
			}
		}
	}
}
