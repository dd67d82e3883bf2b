package expr

import (
	"iter"
	"time"
)

// Input is what expressions read: one HTTP request, its response, and what is
// known about them. A runtime implements it over the message in hand; [Static]
// implements it over plain fields, for tests and tools.
//
// Only the getters that an expression needs are called, and only where
// evaluation gets to them. They are called on the goroutine of the evaluation,
// have to be cheap, and must not change what they answer for. Strings have to
// stay as they are forever.
type Input interface {
	// Method, Scheme, Authority and Target are the pseudo-headers :method,
	// :scheme, :authority and :path (path and query), "" where unknown.
	Method() string
	Scheme() string
	Authority() string
	Target() string
	// RequestHeaders are the request's header fields; never nil.
	RequestHeaders() Headers
	// Time is when the request came. The zero value means that it is not
	// known; reading request.time is an error then.
	Time() time.Time

	// Status is the response's status code, 0 where there is no response yet.
	Status() int
	// ResponseHeaders are the response's header fields; never nil, and empty
	// where there is no response yet.
	ResponseHeaders() Headers

	// Authenticated reports whether the caller is known: whether a policy has
	// set a principal. Where it is false the next four give zero values.
	Authenticated() bool
	// Subject names the caller, Issuer who vouches for it.
	Subject() string
	Issuer() string
	// Scopes are what the caller may do. They are not modified.
	Scopes() []string
	// Claims are further statements about the caller, in JSON's Go types. The
	// map is not modified; it may be nil.
	Claims() map[string]any

	// Route is the route's name, as Envoy names it.
	Route() string
	// Metadata looks up what policies have told each other about this request
	// and response, in JSON's Go types.
	Metadata(key string) (value any, ok bool)
	// Attribute looks up one of Envoy's attributes by its flat name, such as
	// "source.address".
	Attribute(name string) (value any, ok bool)
}

// Headers are the header fields of a message. Names given to it are in lower
// case; pseudo-headers (names that begin with a colon) are not looked up.
type Headers interface {
	// Get returns the first value of name, and whether there is one.
	Get(name string) (string, bool)
	// Count is the number of fields called name.
	Count(name string) int
	// Values yields every value of name in order.
	Values(name string) iter.Seq[string]
	// All yields every field in order as name, in lower case, and value.
	All() iter.Seq2[string, string]
}
