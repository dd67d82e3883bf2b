package input

import (
	"time"

	"policyengine.dev/sdk/expr"
	"policyengine.dev/sdk/policy"
)

// Request is what a policy's expressions read of a request. The response's
// variables are empty in it; compile such expressions with
// [expr.Deny]([expr.ScopeResponse], ...). Received is when the request came, or the
// zero value. The result is valid as long as the context.
func Request(c *policy.RequestContext, received time.Time) expr.Input {
	return &context{RequestContext: *c, received: received}
}

// Response is what a policy's expressions read of a response and of the request
// that it answers. The result is valid as long as the context.
func Response(c *policy.ResponseContext, received time.Time) expr.Input {
	return &context{RequestContext: c.Request(), response: c, received: received}
}

// context is a policy's context as expressions read it.
type context struct {
	policy.RequestContext
	response *policy.ResponseContext // nil in a request phase
	received time.Time
}

func (c *context) RequestHeaders() expr.Headers { return headers{c.Headers()} }

func (c *context) Time() time.Time { return c.received }

func (c *context) Status() int {
	if c.response == nil {
		return 0
	}
	return c.response.Status()
}

func (c *context) ResponseHeaders() expr.Headers {
	if c.response == nil {
		return new(expr.Fields)
	}
	return headers{c.response.Headers()}
}

func (c *context) Authenticated() bool { return c.Principal() != nil }

func (c *context) Subject() string { return subject(c.Principal()) }

func (c *context) Issuer() string { return issuer(c.Principal()) }

func (c *context) Scopes() []string { return scopes(c.Principal()) }

func (c *context) Claims() map[string]any { return claims(c.Principal()) }

// headers are a policy's headers as expressions read them.
type headers struct{ policy.Headers }

func (h headers) Get(name string) (string, bool) { return h.Lookup(name) }

// WithPrincipal is an input that has another caller than in has; nil is a caller
// that is not authenticated. It is for policies that decide by an expression
// whether a caller is to be accepted.
func WithPrincipal(in expr.Input, p *policy.Principal) expr.Input {
	return &withPrincipal{Input: in, principal: p}
}

type withPrincipal struct {
	expr.Input
	principal *policy.Principal
}

func (w *withPrincipal) Authenticated() bool { return w.principal != nil }

func (w *withPrincipal) Subject() string { return subject(w.principal) }

func (w *withPrincipal) Issuer() string { return issuer(w.principal) }

func (w *withPrincipal) Scopes() []string { return scopes(w.principal) }

func (w *withPrincipal) Claims() map[string]any { return claims(w.principal) }

func subject(p *policy.Principal) string {
	if p == nil {
		return ""
	}
	return p.Subject
}

func issuer(p *policy.Principal) string {
	if p == nil {
		return ""
	}
	return p.Issuer
}

func scopes(p *policy.Principal) []string {
	if p == nil {
		return nil
	}
	return p.Scopes
}

func claims(p *policy.Principal) map[string]any {
	if p == nil {
		return nil
	}
	return p.Claims
}
