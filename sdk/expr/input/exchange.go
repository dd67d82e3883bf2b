package input

import (
	"time"

	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/expr"
)

// Exchange is an exchange as expressions read it: always as it is at the moment,
// with all that policies have changed. It is as safe for concurrent use as the
// exchange is.
type Exchange struct {
	// X is the exchange; required.
	X *exchange.Exchange
	// Received is when the request came. The zero value means that it is not
	// known, and request.time an error.
	Received time.Time
}

var _ expr.Input = (*Exchange)(nil)

// Method implements [expr.Input].
func (e *Exchange) Method() string { return e.X.Request.Method }

// Scheme implements [expr.Input].
func (e *Exchange) Scheme() string { return e.X.Request.Scheme }

// Authority implements [expr.Input].
func (e *Exchange) Authority() string { return e.X.Request.Authority }

// Target implements [expr.Input].
func (e *Exchange) Target() string { return e.X.Request.Path }

// RequestHeaders implements [expr.Input].
func (e *Exchange) RequestHeaders() expr.Headers { return &e.X.Request.Headers }

// Time implements [expr.Input].
func (e *Exchange) Time() time.Time { return e.Received }

// Status implements [expr.Input].
func (e *Exchange) Status() int { return e.X.Response.Status }

// ResponseHeaders implements [expr.Input].
func (e *Exchange) ResponseHeaders() expr.Headers { return &e.X.Response.Headers }

// Authenticated implements [expr.Input].
func (e *Exchange) Authenticated() bool { return e.X.Principal != nil }

// Subject implements [expr.Input].
func (e *Exchange) Subject() string { return subject(e.X.Principal) }

// Issuer implements [expr.Input].
func (e *Exchange) Issuer() string { return issuer(e.X.Principal) }

// Scopes implements [expr.Input].
func (e *Exchange) Scopes() []string { return scopes(e.X.Principal) }

// Claims implements [expr.Input].
func (e *Exchange) Claims() map[string]any { return claims(e.X.Principal) }

// Route implements [expr.Input].
func (e *Exchange) Route() string { return e.X.Route }

// Metadata implements [expr.Input].
func (e *Exchange) Metadata(key string) (any, bool) { return e.X.Metadata.Get(key) }

// Attribute implements [expr.Input].
func (e *Exchange) Attribute(name string) (any, bool) {
	if e.X.Attributes == nil {
		return nil, false
	}
	return e.X.Attributes.Lookup(name)
}
